package deployed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// Errors about a stack. Other errors of Find are AWS's.
var (
	// ErrInvalidName: no stack can be called so.
	ErrInvalidName = errors.New(
		"invalid stack name: allowed are a letter and up to 127 of A-Z, a-z, 0-9 and -, or a stack's ARN")

	// ErrNotFound: the account has no such stack in this region.
	ErrNotFound = errors.New("no such stack")

	// ErrNotOurs: the stack was made by something else.
	ErrNotOurs = errors.New("not a stack of soci-index-builder")

	// ErrNotReady: the stack is being made or removed, or making it failed.
	ErrNotReady = errors.New("the stack is not in use")
)

// Stack is one that runs. Parameters, Outputs and Tags are as CloudFormation
// has them, the outputs that this package names all there but for OutDashboardURL,
// the TailLogs commands and OutVersion.
type Stack struct {
	Name, ID                   string // ID is the ARN
	Region, Account, Partition string
	Status                     string // CREATE_COMPLETE
	CreatedAt                  time.Time
	Parameters, Outputs, Tags  map[string]string

	// Filters are those of ParamFilters.
	Filters filters.Filters

	values values
}

var stackARN = lazyregexp.New(`^arn:` + names.Partition + `:cloudformation:` + names.Region + `:` + names.Account +
	`:stack/` + names.Stack + `/[a-zA-Z0-9-]{1,64}$`)

// CheckName reports whether a stack can have this name or ARN. Its error
// matches ErrInvalidName.
func CheckName(stack string) error {
	if !names.IsStack(stack) && !stackARN.MatchString(stack) {
		return fmt.Errorf("%.200q: %w", stack, ErrInvalidName)
	}
	return nil
}

// Find asks CloudFormation for a stack, by its name or its ARN, in cfg's
// account and region. The caller needs cloudformation:DescribeStacks.
func Find(ctx context.Context, cfg aws.Config, stack string) (*Stack, error) {
	if err := CheckName(stack); err != nil {
		return nil, err
	}
	out, err := cloudformation.NewFromConfig(cfg).DescribeStacks(ctx,
		&cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil {
		// CloudFormation has no error code of its own for a name that it does
		// not know; the name's form was checked above.
		if awscode.Of(err) == "ValidationError" {
			return nil, NotFound(ctx, cfg, stack)
		}
		return nil, fmt.Errorf("describing stack %s: %w", stack, err)
	}
	if len(out.Stacks) == 0 || out.Stacks[0].StackStatus == types.StackStatusDeleteComplete {
		return nil, NotFound(ctx, cfg, stack)
	}
	s, err := read(out.Stacks[0])
	if err != nil {
		return nil, fmt.Errorf("stack %s: %w", stack, err)
	}
	return s, nil
}

// NotFound returns the ErrNotFound of a stack in cfg's account and region.
func NotFound(ctx context.Context, cfg aws.Config, stack string) error {
	return fmt.Errorf("stack %s: %w in region %s%s", stack, ErrNotFound, cfg.Region, ofAccount(ctx, cfg))
}

// ofAccount names the account for a message, when it can be known.
func ofAccount(ctx context.Context, cfg aws.Config) string {
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return ""
	}
	return " of account " + aws.ToString(who.Account)
}

// required are the outputs that the verbs depend on.
var required = []string{
	OutFilterFunctionName, OutFilterFunctionARN, OutGeneratorFunctionName, OutGeneratorFunctionARN,
	OutRepositoryFunctionName, OutFilterLogGroup, OutGeneratorLogGroup, OutRepositoryLogGroup,
	OutFailureQueueURL, OutFailureQueueARN, OutRuleName, OutGeneratorRoleName,
}

// Values returns the parameters, outputs and tags of a stack that CloudFormation
// describes, by their names. None of the maps is nil.
func Values(in types.Stack) (parameters, outputs, tags map[string]string) {
	parameters, outputs, tags = map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range in.Parameters {
		parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	for _, o := range in.Outputs {
		outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	for _, t := range in.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return parameters, outputs, tags
}

func read(in types.Stack) (*Stack, error) {
	s := &Stack{
		Name: aws.ToString(in.StackName), ID: aws.ToString(in.StackId), Status: string(in.StackStatus),
		CreatedAt: aws.ToTime(in.CreationTime),
	}
	s.Parameters, s.Outputs, s.Tags = Values(in)
	if _, ok := s.Parameters[ParamFilters]; !ok {
		return nil, fmt.Errorf("%w: it has no parameter %s", ErrNotOurs, ParamFilters)
	}
	if !inUse(in.StackStatus) {
		reason := ""
		if r := aws.ToString(in.StackStatusReason); r != "" {
			reason = ", " + r
		}
		return nil, fmt.Errorf("%w: its status is %s%s", ErrNotReady, s.Status, reason)
	}
	missing := slices.DeleteFunc(slices.Clone(required), func(out string) bool { return s.Outputs[out] != "" })
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: it has no output %s", ErrNotOurs, strings.Join(missing, ", "))
	}
	where, err := arn.Parse(s.ID)
	if err != nil {
		return nil, fmt.Errorf("its id %q: %w", s.ID, err)
	}
	s.Region, s.Account, s.Partition = where.Region, where.AccountID, where.Partition
	if s.Filters, err = filters.Parse(s.Parameters[ParamFilters]); err != nil {
		return nil, fmt.Errorf("parameter %s: %w", ParamFilters, err)
	}
	if s.values, err = parseValues(s.Parameters); err != nil {
		return nil, err
	}
	return s, nil
}

// inUse reports whether the functions of a stack with this status answer
// events: from its creation on, whatever became of later updates, until it is
// deleted.
func inUse(status types.StackStatus) bool {
	switch status {
	case types.StackStatusCreateInProgress, types.StackStatusCreateFailed, types.StackStatusReviewInProgress,
		types.StackStatusRollbackInProgress, types.StackStatusRollbackFailed, types.StackStatusRollbackComplete,
		types.StackStatusDeleteInProgress, types.StackStatusDeleteFailed, types.StackStatusDeleteComplete:
		return false
	}
	return true
}

package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
)

// InPlace are [Artifacts] whose code Lambda can take without CloudFormation.
type InPlace interface {
	// Sums are what Lambda says of the code, by the functions' logical ids:
	// CodeSha256 of a zip file, the digest of an image. A function of which that is
	// not known is not among them.
	Sums() map[string]string

	// Source writes where Lambda takes the code of a function from.
	Source(function string, in *lambda.UpdateFunctionCodeInput)
}

// codeSet is a function whose code is changed in place.
type codeSet struct {
	function, name string // logical id, and the name that Lambda knows
	code           string // logical id of the function whose code it has
	want           string // what Lambda is to say of its code
}

// inPlace changes the code of functions without CloudFormation: with --code-only,
// and where it is not what the stack names, since it was changed so before.
// CloudFormation does not see that, and would leave it.
type inPlace struct{}

func (*inPlace) Name() string { return "code in place" }

// nameOutputs are the outputs with the functions' names or ARNs, by logical ids.
var nameOutputs = map[string]string{
	deployed.FilterID: deployed.OutFilterFunctionName, deployed.GeneratorID: deployed.OutGeneratorFunctionName,
	deployed.RepositoryNameID: deployed.OutRepositoryFunctionName, deployed.StepsID: deployed.OutStepsFunctionARN,
}

func (p *inPlace) Plan(ctx context.Context, d *Deploy) (lines []string, err error) {
	d.sets = nil
	code, ok := d.Artifacts.(InPlace)
	s := d.stack()
	if !ok || s == nil || s.Condition() != target.Ready {
		return nil, nil
	}
	client := lambda.NewFromConfig(d.AWS)
	for _, set := range codeSets(code, s) {
		function := set.function
		if !d.Mode.CodeOnly && d.codeChanges(set.code) {
			continue // CloudFormation changes it
		}
		has, err := d.codeOfFunction(ctx, client, set.name)
		if e := awserror.Explain(err); !d.Mode.CodeOnly && (errors.Is(e, awserror.ErrDenied) || isNotFound(err)) {
			continue // CloudFormation and doctor say more of it
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the code of the function %s: %w", set.name, err)
		}
		if has.sum == set.want || has.sum == "" && !d.Mode.CodeOnly {
			continue
		}
		d.sets = append(d.sets, set)
		changed := "the code of " + function + " (" + set.name + ") was changed in place since the last deploy: "
		switch {
		case d.Mode.CodeOnly:
			lines = append(lines, "change the code of "+function+" ("+set.name+")")
		case d.Mode.Detach && !d.unchanged() && !d.same(): // then CloudFormation is at work
			lines = append(lines, changed+"it is left because of --detach")
		default:
			lines = append(lines, changed+"put back what the stack names")
		}
	}
	return lines, nil
}

// codeSets are the functions of a stack whose names and code are known.
func codeSets(code InPlace, s *target.Stack) (sets []codeSet) {
	sums := code.Sums()
	for _, function := range slices.Sorted(maps.Keys(nameOutputs)) {
		set := codeSet{function: function, name: s.Outputs[nameOutputs[function]], code: function}
		set.name = set.name[strings.LastIndexByte(set.name, ':')+1:]
		if function == deployed.StepsID {
			set.code = deployed.GeneratorID
		}
		set.want = sums[set.code]
		if set.name != "" && set.want != "" {
			sets = append(sets, set)
		}
	}
	return sets
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}

// codeChanges reports whether the stack gets other code for a function.
func (d *Deploy) codeChanges(function string) bool {
	return slices.ContainsFunc(d.Choices, func(c parameters.Choice) bool {
		return c.Changed() && (c.Name == deployed.ParamCodeBucket || c.Name == deployed.ParamCodeKeyPrefix ||
			c.Name == function+deployed.ImageSuffix)
	})
}

func (p *inPlace) Do(ctx context.Context, d *Deploy) error {
	if len(d.sets) == 0 {
		return nil
	}
	if !d.Mode.CodeOnly && d.asks() {
		names := d.setFunctions()
		yes, err := d.Screen.Ask(ctx, fmt.Sprintf(
			"The code of %s was changed in place since the last deploy. Put back what the stack names?", names))
		if err == nil && !yes {
			err = fmt.Errorf("the code of %s stays as it is: %w", names, ErrDeclined)
		}
		if err != nil {
			return err
		}
	}
	if err := d.Artifacts.Check(ctx, d); err != nil {
		return err
	}
	d.records.begun = true
	for _, set := range d.sets {
		if err := p.set(ctx, d, set); err != nil {
			return err
		}
		d.Screen.Tell("changed        the code of " + set.function + " (" + set.name + ")")
	}
	return nil
}

// setFunctions are the functions whose code is changed in place, as a text.
func (d *Deploy) setFunctions() string {
	var names []string
	for _, set := range d.sets {
		names = append(names, set.function)
	}
	return strings.Join(names, ", ")
}

// maxUpdate bounds how long Lambda may take for new code.
const maxUpdate = 10 * time.Minute

// set changes the code of a function, and waits until Lambda runs it.
func (*inPlace) set(ctx context.Context, d *Deploy, set codeSet) error {
	client := lambda.NewFromConfig(d.AWS)
	in := &lambda.UpdateFunctionCodeInput{FunctionName: &set.name}
	if a := architectures[d.Settings.Architecture]; a != "" {
		in.Architectures = []types.Architecture{a}
	}
	d.Artifacts.(InPlace).Source(set.code, in)
	p := d.Mode.Patience
	p.Limit = maxUpdate
	err := p.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := client.UpdateFunctionCode(ctx, in)
		if _, ok := errors.AsType[*types.ResourceConflictException](err); ok {
			return false, nil // another change goes on
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("changing the code of the function %s: %w", set.name, err)
	}
	var has functionCode
	err = p.Until(ctx, func(ctx context.Context) (done bool, err error) {
		has, err = d.codeOfFunction(ctx, client, set.name)
		return err == nil && has.update != types.LastUpdateStatusInProgress && has.state != types.StatePending, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the code of the function %s: %w", set.name, err)
	case has.update == types.LastUpdateStatusFailed:
		return fmt.Errorf("changing the code of the function %s %w: %s", set.name, ErrFailed, has.reason)
	case has.sum != set.want:
		return fmt.Errorf("changing the code of the function %s %w: it has %s, not %s: somebody else changed it",
			set.name,
			ErrFailed, has.sum, set.want)
	}
	return nil
}

// functionCode is what Lambda says of a function's code.
type functionCode struct {
	sum    string // as [InPlace.Sums] has it; empty: Lambda does not say
	state  types.State
	update types.LastUpdateStatus
	reason string // why the last update failed
}

// codeOfFunction asks Lambda for a function's code. Of an image it is the digest that
// Lambda resolved, which only GetFunction returns.
func (d *Deploy) codeOfFunction(ctx context.Context, client *lambda.Client, name string) (functionCode, error) {
	if d.Settings.Package == embedded.Image {
		out, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
		if err != nil {
			return functionCode{}, err
		}
		c, code := cmp.Or(out.Configuration, &types.FunctionConfiguration{}),
			cmp.Or(out.Code, &types.FunctionCodeLocation{})
		_, sum, _ := strings.Cut(aws.ToString(code.ResolvedImageUri), "@")
		return functionCode{sum, c.State, c.LastUpdateStatus,
			fmt.Sprintf("%s: %s", c.LastUpdateStatusReasonCode, aws.ToString(c.LastUpdateStatusReason))}, nil
	}
	c, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if err != nil {
		return functionCode{}, err
	}
	return functionCode{aws.ToString(c.CodeSha256), c.State, c.LastUpdateStatus,
		fmt.Sprintf("%s: %s", c.LastUpdateStatusReasonCode, aws.ToString(c.LastUpdateStatusReason))}, nil
}

// architectures are Lambda's words, by Go's.
var architectures = map[string]types.Architecture{
	"arm64": types.ArchitectureArm64, "amd64": types.ArchitectureX8664,
}

// codeOnly finds out whether the code is all that differs.
type codeOnly struct{}

func (*codeOnly) Name() string { return "code only" }

func (c *codeOnly) Plan(_ context.Context, d *Deploy) ([]string, error) {
	s := d.stack()
	if s == nil {
		if d.Offline() {
			return nil, settingf("--code-only needs a stack that is there, and AWS cannot be asked: %w", d.Mode.Offline)
		}
		return nil, fmt.Errorf("--code-only: stack %s: %w in region %s: deploy it first", d.Settings.Stack,
			deployed.ErrNotFound, d.AWS.Region)
	}
	if _, err := d.choose(); err != nil {
		return nil, err
	}
	differences, err := d.differences(s)
	if err != nil {
		return nil, err
	}
	if len(differences) > 0 {
		return nil, fmt.Errorf("%w by --code-only: more than the code differs: %s; deploy without it", ErrState,
			strings.Join(differences, ", "))
	}
	return []string{"template, parameters and tags are what stack " + s.Name + " has"}, nil
}

// differences are what would change beside the code.
func (d *Deploy) differences(s *target.Stack) ([]string, error) {
	var all []string
	next := changeset.Side{Template: d.Template, Parameters: map[string]string{}, Stack: s.Name}
	managed, _ := d.Artifacts.Parameters()
	for _, choice := range d.Choices {
		next.Parameters[choice.Name] = choice.Value
		if _, ok := managed[choice.Name]; ok {
			next.Parameters[choice.Name] = s.Parameters[choice.Name]
			continue
		}
		if old, value := choice.Shown(); choice.Changed() {
			all = append(all, "parameter "+choice.Name+" "+d.difference(old, value))
		}
	}
	all = append(all, d.movedCode(s, managed)...)
	for _, tag := range d.TagChanges() {
		all = append(all, "tag "+tag)
	}
	if string(d.Template) == string(s.Template) {
		return all, nil
	}
	all = append(all, "the template")
	// The parameters have been shown.
	for name, value := range s.Parameters {
		if _, ok := next.Parameters[name]; ok {
			next.Parameters[name] = value
		}
	}
	changes, err := changeset.Expect(&changeset.Side{Template: s.Template, Parameters: s.Parameters, Stack: s.Name},
		next)
	if err != nil {
		return all, nil // the stack has a template that this program cannot work out
	}
	for _, one := range changes {
		all = append(all, fmt.Sprintf("%s (%s)", one.LogicalID, one.Action))
	}
	return all, nil
}

// movedCode are the places of code that the stack does not have it in. Records of
// code that is put there would not be found: the stack does not name the place.
func (d *Deploy) movedCode(s *target.Stack, managed map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(managed)) {
		had, value := s.Parameters[name], managed[name]
		switch {
		case had == "": // the template differs
		case name == deployed.ParamCodeBucket && had != value:
			all = append(all, "the bucket "+d.difference(had, value))
		case strings.HasSuffix(name, deployed.ImageSuffix) && repositoryOf(had) != repositoryOf(value):
			all = append(all, "the repository "+d.difference(repositoryOf(had), repositoryOf(value)))
		}
	}
	return all
}

func (*codeOnly) Do(ctx context.Context, d *Deploy) error {
	if len(d.sets) == 0 {
		d.Screen.Tell("the functions have this code already")
		if d.Settings.FailOnEmpty {
			return fmt.Errorf("stack %s: %w", d.Settings.Stack, ErrEmpty)
		}
		return nil
	}
	if !d.asks() {
		return nil
	}
	yes, err := d.Screen.Ask(ctx, "Change the code of "+d.setFunctions()+" in place?")
	if err == nil && !yes {
		err = ErrDeclined
	}
	return err
}

// idle reports whether nothing was to be done.
func (d *Deploy) idle() bool { return (d.unchanged() || d.Mode.CodeOnly) && len(d.sets) == 0 }

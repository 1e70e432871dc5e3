// Package target finds out what a deploy works on: the account, the region, the
// caller, and the state of the stack, if there is one.
//
// Start with [Look].
package target

import (
	"context"
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
	"soci-index-builder/internal/deployed"
)

// Target is what a deploy works on.
type Target struct {
	Account, Region, Partition, Caller string

	Stack *Stack // nil when there is none
}

// Stack is one that the account has, in whatever state.
type Stack struct {
	Name, ID, Status, Reason  string // ID is the ARN
	Parameters, Outputs, Tags map[string]string
	NotificationARNs          []string
	RoleARN, ParentID         string
	Protected                 bool   // from termination
	Template                  []byte // nil for one that was never deployed
	ChangeSets                []ChangeSet
}

// ChangeSet is one of a stack that was never deployed.
type ChangeSet struct {
	Name     string
	Made     time.Time
	Template []byte
}

// Look asks who the caller is, and for the stack. The errors are AWS's.
func Look(ctx context.Context, cfg aws.Config, name string) (*Target, error) {
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("asking who the caller is: %w", err)
	}
	t := &Target{Account: aws.ToString(who.Account), Region: cfg.Region, Caller: aws.ToString(who.Arn)}
	where, err := arn.Parse(t.Caller)
	if err != nil {
		return nil, fmt.Errorf("the caller's ARN %q: %w", t.Caller, err)
	}
	t.Partition = where.Partition
	t.Stack, err = Find(ctx, cloudformation.NewFromConfig(cfg), name)
	return t, err
}

// Missing reports whether an error says that there is no such stack.
func Missing(err error) bool { return awscode.Says(err, "ValidationError", "does not exist") }

// Find returns a stack by its name or ARN; nil when there is none, or it was
// deleted.
func Find(ctx context.Context, client *cloudformation.Client, name string) (*Stack, error) {
	s, err := Status(ctx, client, name)
	if err != nil || s == nil {
		return nil, err
	}
	if s.Status == string(types.StackStatusReviewInProgress) {
		return s, s.addChangeSets(ctx, client)
	}
	s.Template, err = template(ctx, client, s.ID, nil)
	return s, err
}

// Status is as Find, without what was deployed.
func Status(ctx context.Context, client *cloudformation.Client, name string) (*Stack, error) {
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describing stack %s: %w", name, err)
	}
	if len(out.Stacks) == 0 || out.Stacks[0].StackStatus == types.StackStatusDeleteComplete {
		return nil, nil
	}
	in := out.Stacks[0]
	s := &Stack{
		Name: aws.ToString(in.StackName), ID: aws.ToString(in.StackId), Status: string(in.StackStatus),
		Reason: aws.ToString(in.StackStatusReason), RoleARN: aws.ToString(in.RoleARN),
		ParentID:         aws.ToString(in.ParentId),
		NotificationARNs: in.NotificationARNs, Protected: aws.ToBool(in.EnableTerminationProtection),
	}
	s.Parameters, s.Outputs, s.Tags = deployed.Values(in)
	return s, nil
}

func template(ctx context.Context, client *cloudformation.Client, stack string, changeSet *string) ([]byte, error) {
	out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &stack, ChangeSetName: changeSet,
		TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return nil, fmt.Errorf("reading the template of stack %s: %w", stack, err)
	}
	return []byte(aws.ToString(out.TemplateBody)), nil
}

// addChangeSets is for a stack that has nothing else.
func (s *Stack) addChangeSets(ctx context.Context, client *cloudformation.Client) error {
	pages := cloudformation.NewListChangeSetsPaginator(client, &cloudformation.ListChangeSetsInput{StackName: &s.ID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing the change sets of stack %s: %w", s.Name, err)
		}
		for _, set := range page.Summaries {
			body, err := template(ctx, client, s.ID, set.ChangeSetId)
			if err != nil {
				return err
			}
			s.ChangeSets = append(s.ChangeSets,
				ChangeSet{aws.ToString(set.ChangeSetName), aws.ToTime(set.CreationTime), body})
		}
	}
	return nil
}

// Condition is what can be done with a stack.
type Condition string

// The conditions.
const (
	Absent         Condition = "absent"          // it can be created
	Ready          Condition = "ready"           // it can be updated
	Leftover       Condition = "leftover"        // it was never in use, or is half deleted: only deletion helps
	RollbackFailed Condition = "rollback failed" // the rollback must be continued first
	InProgress     Condition = "in progress"
)

// Condition returns what can be done; s may be nil.
func (s *Stack) Condition() Condition {
	if s == nil {
		return Absent
	}
	switch types.StackStatus(s.Status) {
	case types.StackStatusReviewInProgress, types.StackStatusRollbackComplete, types.StackStatusRollbackFailed,
		types.StackStatusCreateFailed, types.StackStatusDeleteFailed:
		return Leftover
	case types.StackStatusUpdateRollbackFailed:
		return RollbackFailed
	}
	if strings.HasSuffix(s.Status, "_IN_PROGRESS") {
		return InProgress
	}
	return Ready
}

// Settled reports whether no operation is running on a stack of this status.
func Settled(status string) bool {
	return !strings.HasSuffix(status, "_IN_PROGRESS") ||
		status == string(types.StackStatusReviewInProgress)
}

// Succeeded reports whether an operation that ended in this status did what it
// was to do.
func Succeeded(status string) bool {
	return slices.Contains([]types.StackStatus{types.StackStatusCreateComplete, types.StackStatusUpdateComplete,
		types.StackStatusDeleteComplete, types.StackStatusImportComplete}, types.StackStatus(status))
}

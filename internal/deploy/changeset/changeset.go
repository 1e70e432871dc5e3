// Package changeset makes a change set of CloudFormation, waits for it, and
// reads from it what would be added, changed, replaced and removed.
//
// Start with [Make], then [ChangeSet.Write].
package changeset

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/target"
)

// Errors beside those of awserror.
var (
	// ErrFailed: CloudFormation could not make the change set.
	ErrFailed = errors.New("CloudFormation refuses the change")

	// ErrTooLarge: the template does not travel in the request.
	ErrTooLarge = errors.New("the template is too large")
)

// maxTemplate is what CloudFormation takes in a request, in bytes:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const maxTemplate = 51200

// maxChanges bounds what is read of a change set. A stack has at most 500
// resources.
const maxChanges = 2000

// Request is what a change set is made for.
type Request struct {
	Stack  string // name of a new stack, or ARN
	Create bool   // there is no such stack

	Template         []byte
	Parameters       []types.Parameter
	Tags             map[string]string
	Capabilities     []string
	RoleARN          string
	NotificationARNs []string

	Secrets []string // values that are never shown
}

// ChangeSet is one that can be executed, or that has no changes.
type ChangeSet struct {
	ID, StackID string // ARNs
	Empty       bool
	Changes     []Change
}

// prefix begins the names of our change sets.
const prefix = "soci-index-builder-"

// Token returns a text that no other request has.
func Token() string { return prefix + strings.ToLower(rand.Text()) }

// Make makes the change set and waits until it can be executed. Asking twice
// after a lost answer makes one. If Make fails, it deletes the change set and the
// empty stack that a first change set creates.
func Make(ctx context.Context, client *cloudformation.Client, r Request, p patience.Patience) (*ChangeSet, error) {
	if len(r.Template) > maxTemplate {
		return nil, fmt.Errorf("%w: it has %d bytes, CloudFormation takes %d in a request", ErrTooLarge,
			len(r.Template),
			maxTemplate)
	}
	name := Token()
	in := &cloudformation.CreateChangeSetInput{
		StackName: &r.Stack, ChangeSetName: &name, ClientToken: &name, ChangeSetType: types.ChangeSetTypeUpdate,
		TemplateBody: aws.String(string(r.Template)), Parameters: r.Parameters, NotificationARNs: r.NotificationARNs,
		Description: aws.String("made by soci-index-builder deploy"),
	}
	if r.Create {
		in.ChangeSetType = types.ChangeSetTypeCreate
	}
	if r.RoleARN != "" {
		in.RoleARN = &r.RoleARN
	}
	for _, c := range r.Capabilities {
		in.Capabilities = append(in.Capabilities, types.Capability(c))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(r.Tags[key])})
	}
	var out *cloudformation.CreateChangeSetOutput
	err := p.Until(ctx, func(ctx context.Context) (done bool, err error) {
		out, err = client.CreateChangeSet(ctx, in)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("making the change set of stack %s: %w", r.Stack, err)
	}
	set := &ChangeSet{ID: aws.ToString(out.Id), StackID: aws.ToString(out.StackId)}
	if err := set.read(ctx, client, r, p); err != nil {
		return nil, errors.Join(err, set.Discard(context.WithoutCancel(ctx), client, r.Create))
	}
	return set, nil
}

// empty are the ways in which CloudFormation says that nothing changes.
func empty(reason string) bool {
	return strings.Contains(reason, "didn't contain changes") ||
		strings.Contains(reason, "No updates are to be performed")
}

// read waits for the change set and reads all of its pages.
func (c *ChangeSet) read(ctx context.Context, client *cloudformation.Client, r Request, p patience.Patience) error {
	in := &cloudformation.DescribeChangeSetInput{ChangeSetName: &c.ID, StackName: &c.StackID,
		IncludePropertyValues: aws.Bool(true)}
	var first *cloudformation.DescribeChangeSetOutput
	p.Limit = 20 * time.Minute
	describe := func(ctx context.Context) (*cloudformation.DescribeChangeSetOutput, error) {
		out, err := client.DescribeChangeSet(ctx, in)
		// Older partitions do not know that the values can be asked for.
		if in.IncludePropertyValues != nil && awscode.Says(err, "ValidationError", "IncludePropertyValues") {
			in.IncludePropertyValues = nil
			out, err = client.DescribeChangeSet(ctx, in)
		}
		return out, err
	}
	err := p.Until(ctx, func(ctx context.Context) (done bool, err error) {
		if first, err = describe(ctx); err != nil {
			return false, err
		}
		return first.Status != types.ChangeSetStatusCreatePending &&
				first.Status != types.ChangeSetStatusCreateInProgress,
			nil
	})
	if err != nil {
		return fmt.Errorf("reading the change set of stack %s: %w", r.Stack, err)
	}
	if first.Status == types.ChangeSetStatusFailed {
		reason := aws.ToString(first.StatusReason)
		if c.Empty = empty(reason); c.Empty {
			return nil
		}
		return fmt.Errorf("stack %s: %w: %s%s", r.Stack, ErrFailed, reason, c.validation(ctx, client))
	}
	for page := first; ; {
		for _, one := range page.Changes {
			if one.ResourceChange != nil {
				c.Changes = append(c.Changes, readChange(one.ResourceChange, r.Secrets))
			}
		}
		if page.NextToken == nil || len(c.Changes) > maxChanges {
			break
		}
		in.NextToken = page.NextToken
		err := p.Until(ctx, func(ctx context.Context) (done bool, err error) {
			page, err = describe(ctx)
			return true, err
		})
		if err != nil {
			return fmt.Errorf("reading the change set of stack %s: %w", r.Stack, err)
		}
	}
	slices.SortStableFunc(c.Changes, func(a, b Change) int { return a.order() - b.order() })
	return nil
}

// validation returns what early validation or a hook says of a change set that
// failed, which adds to the reason; empty if CloudFormation does not say.
func (c *ChangeSet) validation(ctx context.Context, client *cloudformation.Client) string {
	out, err := client.DescribeEvents(ctx, &cloudformation.DescribeEventsInput{ChangeSetName: &c.ID,
		StackName: &c.StackID, Filters: &types.EventFilter{FailedEvents: aws.Bool(true)}})
	if err != nil {
		return ""
	}
	var all []string
	for _, e := range out.OperationEvents {
		for _, reason := range []*string{e.ValidationStatusReason, e.HookStatusReason} {
			if text := aws.ToString(reason); text != "" {
				all = append(all, fmt.Sprintf("; %s: %s", aws.ToString(e.LogicalResourceId), text))
			}
		}
	}
	return strings.Join(all, "")
}

// Discard deletes the change set. With created it also deletes the stack that
// the change set was to create, unless another deploy is about to create it too, or
// has done so: two first deploys share one stack. Change sets that are left
// count against a quota of the account.
func (c *ChangeSet) Discard(ctx context.Context, client *cloudformation.Client, created bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := client.DeleteChangeSet(ctx,
		&cloudformation.DeleteChangeSetInput{ChangeSetName: &c.ID, StackName: &c.StackID})
	// The execution of another one has it deleted.
	if err != nil && awscode.Of(err) != "ChangeSetNotFound" {
		return fmt.Errorf("deleting the change set %s: %w", c.ID, awserror.Explain(err))
	}
	if !created {
		return nil
	}
	unused, err := c.unused(ctx, client)
	if err != nil {
		return fmt.Errorf("the stack %s stays: whether somebody else uses it is not known: %w", c.StackID,
			awserror.Explain(err))
	}
	if !unused {
		return nil
	}
	_, err = client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &c.StackID,
		ClientRequestToken: aws.String(Token())})
	if err != nil {
		return fmt.Errorf("deleting the stack %s, which has no resources: %w", c.StackID, awserror.Explain(err))
	}
	return nil
}

// unused reports whether a stack has no change set, and none was executed. The order
// counts: an execution removes the change set and changes the status at once, so that
// one of the two answers shows it.
func (c *ChangeSet) unused(ctx context.Context, client *cloudformation.Client) (bool, error) {
	pages := cloudformation.NewListChangeSetsPaginator(client,
		&cloudformation.ListChangeSetsInput{StackName: &c.StackID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if target.Missing(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for _, set := range page.Summaries {
			if aws.ToString(set.ChangeSetId) != c.ID { // which may be listed for a while
				return false, nil
			}
		}
	}
	s, err := target.Status(ctx, client, c.StackID)
	return s != nil && s.Status == string(types.StackStatusReviewInProgress), err
}

// Execute has the changes made; the token marks the events. A second request
// after a lost answer makes them once.
func (c *ChangeSet) Execute(ctx context.Context, client *cloudformation.Client, token string, disableRollback bool,
	p patience.Patience) error {
	in := &cloudformation.ExecuteChangeSetInput{ChangeSetName: &c.ID, StackName: &c.StackID, ClientRequestToken: &token}
	if disableRollback {
		in.DisableRollback = aws.Bool(true)
	}
	err := p.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := client.ExecuteChangeSet(ctx, in)
		return true, err
	})
	switch awscode.Of(err) {
	case "InvalidChangeSetStatus", "ChangeSetNotFound":
		return fmt.Errorf("executing the change set: somebody else has changed the stack since it was made, so "+
			"deploy again: %w", err)
	}
	if err != nil {
		return fmt.Errorf("executing the change set: %w", err)
	}
	return nil
}

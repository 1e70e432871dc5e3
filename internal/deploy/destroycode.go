package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
)

// settling is how long code may be in the bucket that no stack names yet, since
// another deploy has just put it there.
const settling = time.Hour

// storedCode is the bucket with the stack's code.
type storedCode struct {
	bucket  *codebucket.Bucket
	managed *codebucket.Managed // nil: the bucket is the user's own
	mine    []string            // keys, as far as they are known, that no other stack needs
	records []string            // keys of the stack's records
	keep    []string            // what other stacks need, as codebucket.Pruning has it
	unread  []string            // what stays of them in a bucket of the user's own, and why
	users   []string            // other stacks
}

// otherStacks are all others of the account in the region: any of them may name
// code or images.
func (x *Destroy) otherStacks(ctx context.Context) ([]*target.Stack, error) {
	all, err := x.stacks(ctx)
	return slices.DeleteFunc(all, func(s *target.Stack) bool { return s.Name == x.options.Stack }), err
}

// stacks are all of the account in the region, with their parameters.
func (x *Destroy) stacks(ctx context.Context) ([]*target.Stack, error) {
	var all []*target.Stack
	pages := cloudformation.NewDescribeStacksPaginator(x.d.cloudFormation(), &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awserror.Explain(fmt.Errorf("looking for other stacks that use the code: %w", err))
		}
		for _, in := range page.Stacks {
			s := &target.Stack{Name: aws.ToString(in.StackName), Parameters: map[string]string{}}
			for _, p := range in.Parameters {
				s.Parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
			}
			if in.StackStatus != types.StackStatusDeleteComplete {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// events says how many events wait in the failure queue; empty for none.
func (x *Destroy) events(ctx context.Context) string {
	url := x.main.Outputs[deployed.OutFailureQueueURL]
	if url == "" {
		return ""
	}
	waiting := sqstypes.QueueAttributeNameApproximateNumberOfMessages
	out, err := sqs.NewFromConfig(x.d.AWS).GetQueueAttributes(ctx,
		&sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{waiting}})
	if err != nil {
		return fmt.Sprintf("what waits in the failure queue, which could not be looked at: %v", awserror.Explain(err))
	}
	n, err := strconv.Atoi(out.Attributes[string(waiting)])
	if err != nil || n == 0 {
		return ""
	}
	return fmt.Sprintf("%s in the failure queue: to send them again before: soci-index-builder redrive --stack %s "+
		"--region %s",
		number(n, "event", "events"), x.main.Name, x.d.AWS.Region)
}

// ownRepository returns the repository that an image is in, unless it is one of
// the companion stack's.
func ownRepository(uri string, managed []companion.Repository) string {
	image, err := names.ParseHosted(uri)
	if err != nil || slices.ContainsFunc(managed,
		func(r companion.Repository) bool { return r.Name == image.Repository }) {
		return ""
	}
	return image.Repository
}

// codeBucket returns the name of the bucket with the stack's code, if the stack or the
// user names one.
func (x *Destroy) codeBucket() (string, error) {
	if x.main == nil {
		return x.options.Bucket, nil
	}
	named := x.main.Parameters[deployed.ParamCodeBucket]
	if given := x.options.Bucket; given != "" && given != named {
		has := "in no bucket"
		if named != "" {
			has = "in the bucket " + named
		}
		return "", settingf("--bucket %s: stack %s is there, and has its code %s: leave --bucket out, and give it to "+
			"another destroy, once the stack is gone", given, x.main.Name, has)
	}
	return named, nil
}

// lookAtCode finds the bucket with the stack's code and records, and who else
// uses it.
func (x *Destroy) lookAtCode(ctx context.Context, others []*target.Stack) error {
	named, err := x.codeBucket()
	if err != nil {
		return err
	}
	c := &storedCode{}
	if named != "" && !names.IsManagedBucket(named, x.d.Target.Account, x.d.Target.Region) {
		c.bucket, err = codebucket.OpenOwn(ctx, x.d.AWS, named, x.d.Target.Account)
		if errors.Is(err, codebucket.ErrNoBucket) {
			if x.main != nil {
				return nil
			}
			return fmt.Errorf("--bucket: the bucket %s %w: give the name of the bucket that has the stack's code",
				named, codebucket.ErrNoBucket)
		}
	} else {
		err = x.findManaged(ctx, c, named)
	}
	if err != nil || c.bucket == nil {
		return err
	}
	if x.options.KeepCode {
		line := fmt.Sprintf("the code in the bucket %s (--keep-code)", c.bucket.Name)
		if c.managed == nil {
			line += ": to delete it later: " + x.again(c.bucket.Name)
		}
		x.stays = append(x.stays, line)
		return nil
	}
	if err := c.look(ctx, x.options.Stack, others); err != nil {
		return err
	}
	if err := c.list(ctx, x); err != nil {
		return err
	}
	x.code = c
	return nil
}

// again is the command that deletes what is in a bucket of the user's own once
// the stack is gone, which had its name.
func (x *Destroy) again(bucket string) string {
	return fmt.Sprintf("soci-index-builder destroy --stack %s --bucket %s --region %s", x.options.Stack, bucket,
		x.d.AWS.Region)
}

// findManaged opens the managed bucket, if there is one; named is that which the
// stack has, empty if it has none.
func (x *Destroy) findManaged(ctx context.Context, c *storedCode, named string) error {
	managed := codebucket.NewManaged(x.d.AWS,
		codebucket.ManagedOptions{Account: x.d.Target.Account, Partition: x.d.Target.Partition})
	name, err := managed.Find(ctx, named)
	switch {
	case err != nil && named == "" && (errors.Is(err, codebucket.ErrOwner) || errors.Is(err, awserror.ErrDenied)):
		x.stays = append(x.stays, fmt.Sprintf("code of earlier zip files, if there is any: %v", err))
		return nil
	case errors.Is(err, codebucket.ErrForeign):
		x.stays = append(x.stays, err.Error())
		name = ""
	case err != nil:
		return err
	}
	if name != "" && (named == "" || named == name) {
		c.managed = managed
		c.bucket, err = managed.Open(ctx, name)
		return err
	}
	if named == "" {
		return nil
	}
	c.bucket, err = codebucket.OpenOwn(ctx, x.d.AWS, named, x.d.Target.Account)
	if errors.Is(err, codebucket.ErrNoBucket) {
		return nil
	}
	return err
}

// look finds out what in the bucket is whose.
func (c *storedCode) look(ctx context.Context, stack string, others []*target.Stack) error {
	living := map[string]bool{}
	for _, s := range others {
		living[s.Name] = true
		if s.Parameters[deployed.ParamCodeBucket] == c.bucket.Name {
			c.users = append(c.users, s.Name)
			c.keep = append(c.keep, s.Parameters[deployed.ParamCodeKeyPrefix])
		}
	}
	recorded, err := record.StacksInBucket(ctx, c.bucket)
	if err != nil {
		return err
	}
	for _, other := range recorded {
		// Of a stack that is gone nothing can be rolled back.
		if other == stack || !living[other] {
			continue
		}
		all, err := record.InBucket(c.bucket, other).List(ctx)
		if err != nil {
			return fmt.Errorf("looking for the code that stack %s needs: %w", other, err)
		}
		keys, _ := record.Needed(all)
		c.users = append(c.users, other)
		c.keep = append(c.keep, keys[c.bucket.Name]...)
	}
	slices.Sort(c.users)
	c.users = slices.Compact(c.users)
	stored, err := record.AllInBucket(ctx, c.bucket, stack)
	if err != nil {
		return err
	}
	keys, _ := record.Needed(stored.Records)
	c.mine, c.records = keys[c.bucket.Name], stored.Keys
	if c.managed != nil { // where all is the program's
		c.records, err = c.bucket.Keys(ctx, c.folder(stack))
		return err
	}
	for _, why := range stored.Unread {
		c.unread = append(c.unread,
			fmt.Sprintf("a record that cannot be read, and the zip files that it names: %v", why))
	}
	if n := len(stored.Others); n > 0 {
		c.unread = append(c.unread, fmt.Sprintf("%s among the records in the bucket %s that soci-index-builder did "+
			"not write, such as %s", number(n, "object", "objects"), c.bucket.Name, stored.Others[0]))
	}
	return nil
}

// folder is where the records of a stack are.
func (c *storedCode) folder(stack string) string {
	return c.bucket.Prefix() + codebucket.RecordsFolder + stack + "/"
}

// list adds to the lists what is deleted from the bucket and what stays.
func (c *storedCode) list(ctx context.Context, x *Destroy) error {
	where := "the bucket " + c.bucket.Name
	if c.managed != nil && x.main != nil {
		// In a managed bucket also what no record names is the stack's.
		if prefix := x.main.Parameters[deployed.ParamCodeKeyPrefix]; prefix != "" {
			keys, err := c.bucket.Keys(ctx, prefix)
			if err != nil {
				return err
			}
			c.mine = append(c.mine, keys...)
		}
	}
	slices.Sort(c.mine)
	c.mine = slices.Compact(c.mine)
	c.leaveKept()
	last := c.managed != nil && len(c.users) == 0
	switch {
	case last:
		x.goes = append(x.goes, fmt.Sprintf("%s, with all code and records: no other stack uses it", where))
		foreign, err := c.bucket.Foreign(ctx)
		if err != nil {
			return err
		}
		if n := len(foreign); n > 0 {
			x.goes = append(x.goes, fmt.Sprintf("%s in %s that soci-index-builder did not write, such as %s",
				number(n, "object", "objects"), where, foreign[0]))
			if x.foreign == nil {
				x.foreign = fmt.Errorf("%s %w: %d, such as %q", where, codebucket.ErrForeignObjects, n, foreign[0])
			}
		}
		return nil
	case c.managed != nil:
		x.stays = append(x.stays, fmt.Sprintf("%s: it has code of %s", where, strings.Join(c.users, ", ")))
	default:
		x.stays = append(append(x.stays, where+", which is yours"), c.unread...)
	}
	if n := len(c.mine) + len(c.records); n > 0 {
		x.goes = append(x.goes, fmt.Sprintf("%s and %s in %s", number(len(c.mine), "zip file", "zip files"),
			number(len(c.records), "object of records", "objects of records"), where))
	}
	return nil
}

// leaveKept takes out of what is deleted what other stacks need.
func (c *storedCode) leaveKept() {
	folder := c.bucket.Prefix() + codebucket.CodeFolder
	c.mine = slices.DeleteFunc(c.mine, func(key string) bool {
		return !strings.HasPrefix(key, folder) || slices.ContainsFunc(c.keep, func(k string) bool {
			return k == key || strings.HasSuffix(k, "/") && strings.HasPrefix(key, k)
		})
	})
}

// lookAgain finds stacks that began to use the code while the user was asked and the
// stacks were deleted.
func (c *storedCode) lookAgain(ctx context.Context, x *Destroy) error {
	if s, err := target.Status(ctx, x.d.cloudFormation(), x.options.Stack); err != nil {
		return err
	} else if s != nil {
		return fmt.Errorf("%w: stack %s is there again, so that its code and records in the bucket %s stay", ErrState,
			s.Name, c.bucket.Name)
	}
	others, err := x.otherStacks(ctx)
	if err != nil {
		return err
	}
	now := &storedCode{bucket: c.bucket, managed: c.managed}
	if err := now.look(ctx, x.options.Stack, others); err != nil {
		return err
	}
	c.keep, c.users = now.keep, now.users
	c.leaveKept()
	return nil
}

// remove deletes the code, then the records, which name it, then the bucket.
func (c *storedCode) remove(ctx context.Context, x *Destroy) error {
	if err := c.lookAgain(ctx, x); err != nil {
		return err
	}
	if err := c.bucket.Remove(ctx, c.mine...); err != nil {
		return err
	}
	gone := len(c.mine)
	if c.managed != nil {
		old, err := c.bucket.Prune(ctx, codebucket.Pruning{Keep: c.keep, Before: x.d.Mode.Now().Add(-settling)})
		if err != nil {
			return err
		}
		gone += len(old)
	}
	if err := c.bucket.Remove(ctx, c.records...); err != nil {
		return err
	}
	x.d.Screen.Say(fmt.Sprintf("deleted %s and %s in s3://%s", number(gone, "zip file", "zip files"),
		number(len(c.records), "object of records", "objects of records"), c.bucket.Name))
	if c.managed == nil || len(c.users) > 0 {
		return nil
	}
	left, err := c.bucket.Keys(ctx, codebucket.CodeFolder)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		x.d.Screen.Tell(fmt.Sprintf(
			"the bucket %s stays: in the last hour somebody has put code there that no stack names yet, "+
				"such as %s", c.bucket.Name, left[0]))
		return nil
	}
	// Another deploy may have begun to use it.
	all, err := x.stacks(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Parameters[deployed.ParamCodeBucket] == c.bucket.Name {
			x.d.Screen.Tell(fmt.Sprintf("the bucket %s stays: stack %s uses it now", c.bucket.Name, s.Name))
			return nil
		}
	}
	if err := c.managed.Delete(ctx, c.bucket.Name, x.options.DeleteForeign); err != nil {
		return err
	}
	x.d.Screen.Say("deleted the bucket " + c.bucket.Name)
	return nil
}

package codebucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithytime "github.com/aws/smithy-go/time"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/names"
)

// unknownNamespace are the codes with which S3, or a substitute, refuses the
// account-regional namespace; a missing permission is none of them.
var unknownNamespace = []string{"InvalidBucketNamespace", "InvalidNamespaceHeader", "InvalidArgument", "InvalidRequest",
	"NotImplemented", "UnsupportedArgument", "UnsupportedOperation", "MethodNotAllowed"}

// ManagedOptions of [NewManaged].
type ManagedOptions struct {
	Account   string // 12 digits: who owns the bucket
	Partition string // "aws"

	// Random returns 12 hexadecimal digits, other ones each time.
	Random func() string

	// Sleep waits between two attempts. The default is to sleep.
	Sleep func(context.Context, time.Duration) error
}

// Managed is the bucket that the program makes for its code where the user
// names none: one for all stacks of an account in a region. Nothing is known of
// it before [Managed.Look].
type Managed struct {
	ManagedOptions
	client *s3.Client
	region string
}

// NewManaged makes no call.
func NewManaged(cfg aws.Config, o ManagedOptions) *Managed {
	if o.Sleep == nil {
		o.Sleep = smithytime.SleepWithContext
	}
	return &Managed{o, s3.NewFromConfig(cfg), cfg.Region}
}

// Plan is what [Managed.Look] saw.
type Plan struct {
	Name   string // empty: it will be random
	Exists bool

	// Changes are what Ensure would make or put right, one line each, in the
	// order in which it does; none when all is as it should be.
	Changes []string
}

// RegionalName is the name of the managed bucket in the account's own
// namespace.
func (m *Managed) RegionalName() string {
	return names.ManagedBucket(m.Account, m.region)
}

// Look finds the managed bucket and compares its settings, and writes nothing.
// known is the bucket that the stack names, if any; it is taken when it is a
// managed one. A bucket that has such a name without the tag is ErrForeign;
// other errors are ErrWrongRegion or one of awserror.
func (m *Managed) Look(ctx context.Context, known string) (*Plan, error) {
	name, err := m.find(ctx, known)
	if err != nil {
		return nil, err
	}
	if name == "" {
		p := &Plan{Changes: []string{"make the bucket"}}
		if names.HasBucketNamespaces(m.region) {
			p.Name = m.RegionalName()
		}
		for _, s := range m.settings(p.Name) {
			p.Changes = append(p.Changes, s.change)
		}
		return p, nil
	}
	p := &Plan{Name: name, Exists: true}
	for _, s := range m.settings(name) {
		right, err := s.right(ctx)
		if err != nil {
			return nil, err
		}
		if !right {
			p.Changes = append(p.Changes, s.change)
		}
	}
	return p, nil
}

// find returns the name of the managed bucket, empty if there is none.
func (m *Managed) find(ctx context.Context, known string) (string, error) {
	var candidates []string
	if names.IsRandomBucket(known) {
		candidates = append(candidates, known)
	}
	regional := names.HasBucketNamespaces(m.region)
	if regional {
		candidates = append(candidates, m.RegionalName())
	}
	for _, name := range candidates {
		there, err := m.exists(ctx, name)
		if err != nil {
			return "", err
		}
		if !there {
			continue
		}
		return name, m.checkOurs(ctx, name)
	}
	pages := s3.NewListBucketsPaginator(m.client, &s3.ListBucketsInput{Prefix: aws.String(names.ManagedBucketPrefix),
		BucketRegion: &m.region, MaxBuckets: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if regional && awscode.Of(err) == "AccessDenied" {
			// Few may list the account's buckets, and there is hardly one to be found.
			return "", nil
		}
		if err != nil {
			return "", explain(fmt.Errorf("looking for a bucket with the tag %s=%s: %w", ours.TagKey, ours.TagValue,
				err))
		}
		for _, b := range page.Buckets {
			// A stand-in for S3 may ignore prefix and region.
			name := aws.ToString(b.Name)
			if !names.IsRandomBucket(name) || b.BucketRegion != nil && *b.BucketRegion != m.region {
				continue
			}
			ours, err := m.ours(ctx, name)
			if errors.Is(err, ErrNoBucket) || errors.Is(err, ErrWrongRegion) {
				continue
			}
			if ours || err != nil {
				return name, err
			}
		}
	}
	return "", nil
}

// exists asks for a bucket of the account.
func (m *Managed) exists(ctx context.Context, name string) (bool, error) {
	err := m.bucket(name).CheckOwner(ctx)
	if errors.Is(err, ErrNoBucket) {
		return false, nil
	}
	return err == nil, err
}

// ours reports whether a bucket has the tag.
func (m *Managed) ours(ctx context.Context, name string) (bool, error) {
	tags, err := m.tags(ctx, name)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(tags, isOurTag), nil
}

func isOurTag(t types.Tag) bool {
	return aws.ToString(t.Key) == ours.TagKey && aws.ToString(t.Value) == ours.TagValue
}

// Open returns a managed bucket as it is, without a look at its settings, to
// read what is in it. Errors are ErrNoBucket, ErrForeign, ErrOwner,
// ErrWrongRegion or one of awserror.
func (m *Managed) Open(ctx context.Context, name string) (*Bucket, error) {
	b := m.bucket(name)
	if err := b.CheckOwner(ctx); err != nil {
		return nil, err
	}
	if err := m.checkOurs(ctx, name); err != nil {
		return nil, err
	}
	return b, nil
}

// bucket returns a bucket that exists; it makes no call.
func (m *Managed) bucket(name string) *Bucket {
	return &Bucket{Name: name, client: m.client, owner: m.Account, region: m.region}
}

// checkOurs refuses a bucket without the tag.
func (m *Managed) checkOurs(ctx context.Context, name string) error {
	ours, err := m.ours(ctx, name)
	if err == nil && !ours {
		err = fmt.Errorf("the bucket %s %w", name, ErrForeign)
	}
	return err
}

// Times and pauses of attempts at making the bucket. S3 keeps a name that was
// just deleted for a while.
const (
	makeAttempts = 20
	makePause    = 3 * time.Second
)

// Ensure makes the bucket that Look planned, or puts its settings right, which
// it does also when another deploy has changed them since. A bucket that came
// up in the meantime is taken when it has the tag. Errors are ErrForeign, or
// one of awserror.
func (m *Managed) Ensure(ctx context.Context, p *Plan) (*Bucket, error) {
	if p.Exists {
		return m.ensure(ctx, p.Name)
	}
	name, err := m.make(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	b, err := m.ensure(ctx, name)
	if err != nil && !errors.Is(err, ErrForeign) {
		err = fmt.Errorf("the bucket %s was made and stays, for the next deploy: %w", name, err)
	}
	return b, err
}

// ensure puts the settings of a bucket right.
func (m *Managed) ensure(ctx context.Context, name string) (*Bucket, error) {
	// A bucket that is not ours stays as it is, whatever happened since Look.
	if err := m.checkOurs(ctx, name); err != nil {
		return nil, err
	}
	for _, s := range m.settings(name) {
		right, err := s.right(ctx)
		if err == nil && !right {
			err = s.set(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return m.bucket(name), nil
}

// make creates the bucket, tag included, and returns its name.
func (m *Managed) make(ctx context.Context, name string) (string, error) {
	for attempt := 1; ; attempt++ {
		in := &s3.CreateBucketInput{Bucket: aws.String(name),
			CreateBucketConfiguration: &types.CreateBucketConfiguration{
				Tags: []types.Tag{{Key: aws.String(ours.TagKey), Value: aws.String(ours.TagValue)}},
			}}
		regional := name == m.RegionalName()
		if regional {
			in.BucketNamespace = types.BucketNamespaceAccountRegional
		} else if name == "" {
			*in.Bucket = names.ManagedBucketPrefix + m.Random()
		}
		if m.region != "us-east-1" { // which is no constraint
			in.CreateBucketConfiguration.LocationConstraint = types.BucketLocationConstraint(m.region)
		}
		_, err := m.client.CreateBucket(ctx, in)
		code := awscode.Of(err)
		switch {
		case err == nil:
			if err := m.tagMade(ctx, *in.Bucket); err != nil {
				return "", fmt.Errorf("the bucket %s was made and stays, for the next deploy: %w", *in.Bucket, err)
			}
			return *in.Bucket, nil
		case code == "BucketAlreadyOwnedByYou":
			// Another deploy was faster, or the answer to an attempt was lost.
			return *in.Bucket, nil
		case regional && slices.Contains(unknownNamespace, code):
			name = ""
		case code == "BucketAlreadyExists" && name == "" && attempt < makeAttempts:
		case code == "OperationAborted" && attempt < makeAttempts:
			name = *in.Bucket
			if err := m.Sleep(ctx, makePause); err != nil {
				return "", err
			}
		case code == "BucketAlreadyExists":
			return "", fmt.Errorf("the bucket %s %w", *in.Bucket, ErrForeign)
		default:
			return "", explain(fmt.Errorf("making the bucket %s: %w", *in.Bucket, err))
		}
	}
}

// tagMade tags a bucket that was just created, if it has no tags: a substitute of S3
// may ignore them in the request. A bucket with tags or objects is older: in us-east-1
// S3 accepts a request to create a bucket that the account has already.
func (m *Managed) tagMade(ctx context.Context, name string) error {
	tags, err := m.tags(ctx, name)
	if err != nil || len(tags) > 0 {
		return err
	}
	if keys, err := m.bucket(name).Keys(ctx, ""); err != nil || len(keys) > 0 {
		return err
	}
	_, err = m.client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &name, ExpectedBucketOwner: &m.Account,
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String(ours.TagKey), Value: aws.String(ours.TagValue)}}}})
	if err != nil {
		return explain(fmt.Errorf("tagging the bucket %s: %w", name, err))
	}
	return nil
}

// tags returns those of a bucket.
func (m *Managed) tags(ctx context.Context, name string) ([]types.Tag, error) {
	out, err := m.client.GetBucketTagging(ctx,
		&s3.GetBucketTaggingInput{Bucket: &name, ExpectedBucketOwner: &m.Account})
	if awscode.Of(err) == "NoSuchTagSet" {
		return nil, nil
	}
	if err != nil {
		return nil, explain(fmt.Errorf("reading the tags of the bucket %s: %w", name, err))
	}
	return out.TagSet, nil
}

package codebucket

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"soci-index-builder/internal/awsconfig/awscode"
)

// incompleteDays is how long the parts of an upload that never ended are kept.
const incompleteDays = 1

// setting is one thing that a managed bucket must have.
type setting struct {
	change string // what set does, in words
	right  func(context.Context) (bool, error)
	set    func(context.Context) error
}

// settings are all of them, in the order in which they are set: first what
// keeps others out.
func (m *Managed) settings(name string) []setting {
	bucket, owner := aws.String(name), aws.String(m.Account)
	all := []setting{m.blockPublic(bucket, owner), m.onlyTLS(name, bucket, owner), m.encrypted(bucket, owner),
		m.versioned(bucket, owner), m.expiring(bucket, owner)}
	for i, s := range all {
		all[i].right = func(ctx context.Context) (bool, error) {
			right, err := s.right(ctx)
			if err != nil {
				err = explain(fmt.Errorf("reading whether the bucket %s is set to %s: %w", name, s.change, err))
			}
			return right, err
		}
		all[i].set = func(ctx context.Context) error {
			err := s.set(ctx)
			if err != nil {
				err = explain(fmt.Errorf("setting the bucket %s to %s: %w", name, s.change, err))
			}
			return err
		}
	}
	return all
}

func (m *Managed) blockPublic(bucket, owner *string) setting {
	return setting{"block public access", func(ctx context.Context) (bool, error) {
		out, err := m.client.GetPublicAccessBlock(ctx,
			&s3.GetPublicAccessBlockInput{Bucket: bucket, ExpectedBucketOwner: owner})
		if err != nil {
			return none(err, "NoSuchPublicAccessBlockConfiguration")
		}
		return reflect.DeepEqual(out.PublicAccessBlockConfiguration, private()), nil
	}, func(ctx context.Context) error {
		_, err := m.client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: bucket,
			ExpectedBucketOwner: owner, PublicAccessBlockConfiguration: private()})
		return err
	}}
}

func (m *Managed) onlyTLS(name string, bucket, owner *string) setting {
	return setting{"refuse requests without TLS", func(ctx context.Context) (bool, error) {
		out, err := m.client.GetBucketPolicy(ctx,
			&s3.GetBucketPolicyInput{Bucket: bucket, ExpectedBucketOwner: owner})
		if err != nil {
			return none(err, "NoSuchBucketPolicy")
		}
		return sameJSON(aws.ToString(out.Policy), m.policy(name)), nil
	}, func(ctx context.Context) error {
		_, err := m.client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, ExpectedBucketOwner: owner,
			Policy: aws.String(m.policy(name))})
		return err
	}}
}

// encrypted leaves a key of the account's own alone. S3 encrypts every bucket by
// itself, so that hardly anybody needs permission to set it.
func (m *Managed) encrypted(bucket, owner *string) setting {
	return setting{"encrypt its objects", func(ctx context.Context) (bool, error) {
		out, err := m.client.GetBucketEncryption(ctx,
			&s3.GetBucketEncryptionInput{Bucket: bucket, ExpectedBucketOwner: owner})
		if err != nil {
			return none(err, "ServerSideEncryptionConfigurationNotFoundError")
		}
		c := out.ServerSideEncryptionConfiguration
		return c != nil && len(c.Rules) > 0 && c.Rules[0].ApplyServerSideEncryptionByDefault != nil, nil
	}, func(ctx context.Context) error {
		byS3 := &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}
		_, err := m.client.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
			Bucket: bucket, ExpectedBucketOwner: owner,
			ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
				Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: byS3}}},
		})
		return err
	}}
}

func (m *Managed) versioned(bucket, owner *string) setting {
	return setting{"keep versions", func(ctx context.Context) (bool, error) {
		out, err := m.client.GetBucketVersioning(ctx,
			&s3.GetBucketVersioningInput{Bucket: bucket, ExpectedBucketOwner: owner})
		return err == nil && out.Status == types.BucketVersioningStatusEnabled, err
	}, func(ctx context.Context) error {
		on := &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}
		_, err := m.client.PutBucketVersioning(ctx,
			&s3.PutBucketVersioningInput{Bucket: bucket, ExpectedBucketOwner: owner, VersioningConfiguration: on})
		return err
	}}
}

func (m *Managed) expiring(bucket, owner *string) setting {
	return setting{"let incomplete uploads, and nothing else, expire", func(ctx context.Context) (bool, error) {
		out, err := m.client.GetBucketLifecycleConfiguration(ctx,
			&s3.GetBucketLifecycleConfigurationInput{Bucket: bucket, ExpectedBucketOwner: owner})
		if err != nil {
			return none(err, "NoSuchLifecycleConfiguration")
		}
		return onlyIncomplete(out.Rules), nil
	}, func(ctx context.Context) error {
		_, err := m.client.PutBucketLifecycleConfiguration(ctx,
			&s3.PutBucketLifecycleConfigurationInput{Bucket: bucket,
				ExpectedBucketOwner:    owner,
				LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: lifecycle()}})
		return err
	}}
}

// none treats an answer that there is no such setting as a setting that is not right.
func none(err error, code string) (bool, error) {
	if awscode.Of(err) == code {
		return false, nil
	}
	return false, err
}

func private() *types.PublicAccessBlockConfiguration {
	return &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
		IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)}
}

// policy refuses requests without TLS, and allows nothing.
func (m *Managed) policy(name string) string {
	arn := "arn:" + m.Partition + ":s3:::" + name
	return `{"Version":"2012-10-17","Statement":[{"Sid":"TLSOnly","Effect":"Deny","Principal":"*","Action":"s3:*",` +
		`"Resource":["` + arn + `","` + arn + `/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// lifecycle has no rule about objects: none can know what a stack names.
func lifecycle() []types.LifecycleRule {
	return []types.LifecycleRule{{
		ID:     aws.String("IncompleteUploads"),
		Status: types.ExpirationStatusEnabled,
		Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{
			DaysAfterInitiation: aws.Int32(incompleteDays)},
	}}
}

// onlyIncomplete reports whether the rules end incomplete uploads and touch no
// object. A rule that is switched off may be switched on.
func onlyIncomplete(rules []types.LifecycleRule) bool {
	ends := false
	for _, r := range rules {
		if r.Expiration != nil || r.NoncurrentVersionExpiration != nil || len(r.Transitions) > 0 ||
			len(r.NoncurrentVersionTransitions) > 0 {
			return false
		}
		whole := r.Filter == nil || reflect.DeepEqual(r.Filter, lifecycle()[0].Filter) ||
			reflect.DeepEqual(r.Filter, &types.LifecycleRuleFilter{})
		ends = ends || whole && r.Status == types.ExpirationStatusEnabled && r.AbortIncompleteMultipartUpload != nil
	}
	return ends
}

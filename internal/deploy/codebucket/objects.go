package codebucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/names"
)

// The folders of a bucket in which the program keeps things, in a managed bucket at
// its root, in a user's own below [OwnPrefix].
const (
	OwnPrefix     = names.BucketFolder
	CodeFolder    = "code/"
	RecordsFolder = "records/"
)

// PackContents is [Pack] for files that are in memory, by the ends of their
// keys. The keys are prefix, CodeFolder and the digest of all names and
// contents: the same files have the same keys, other ones have others.
func PackContents(prefix string, files map[string][]byte) *Package {
	p := &Package{}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		o := Object{name, files[name], sha256.Sum256(files[name])}
		fmt.Fprintf(all, "%x  %s\n", o.sum, o.Key)
		p.Objects = append(p.Objects, o)
	}
	p.Prefix = fmt.Sprintf("%s%s%x/", prefix, CodeFolder, all.Sum(nil))
	for i := range p.Objects {
		p.Objects[i].Key = p.Prefix + p.Objects[i].Key
	}
	return p
}

// OpenOwn finds a user's own bucket, which must belong to the account. Errors
// are as those of [Open]; later calls match ErrOwner where another account may
// be the owner.
func OpenOwn(ctx context.Context, cfg aws.Config, name, account string) (*Bucket, error) {
	b, err := open(ctx, cfg, name, account)
	if err == nil {
		b.prefix = OwnPrefix
	}
	return b, err
}

// Prefix is what all keys of the program in the bucket begin with, empty in a
// managed bucket.
func (b *Bucket) Prefix() string { return b.prefix }

// expected is the account that must own the bucket, nil for any.
func (b *Bucket) expected() *string {
	if b.owner == "" {
		return nil
	}
	return &b.owner
}

// CheckOwner asks once more whether the bucket belongs to the account, by
// objects that must be in it, or by itself if none are named. CloudFormation,
// which reads the code, does not check that: call it right before an execution. Errors
// match ErrOwner, ErrNoBucket, ErrNoObject or one of awserror.
func (b *Bucket) CheckOwner(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		_, err := b.client.HeadObject(ctx,
			&s3.HeadObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: b.expected()})
		region := regionOf(err)
		switch status := statusOf(err); {
		case region != "" && region != b.region:
			return b.elsewhere(region)
		case status == http.StatusNotFound:
			return fmt.Errorf("s3://%s/%s %w", b.Name, key, ErrNoObject)
		case status == http.StatusForbidden:
			return b.notOwner("s3:GetObject")
		case err != nil:
			return explain(fmt.Errorf("looking for s3://%s/%s: %w", b.Name, key, err))
		}
	}
	if len(keys) > 0 {
		return nil
	}
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name, ExpectedBucketOwner: b.expected()})
	region := regionOf(err)
	switch status := statusOf(err); {
	case region != "" && region != b.region:
		return b.elsewhere(region)
	case status == http.StatusNotFound:
		return fmt.Errorf("the bucket %s %w", b.Name, ErrNoBucket)
	case status == http.StatusForbidden:
		return b.notOwner("s3:ListBucket")
	case err != nil:
		return explain(fmt.Errorf("looking for the bucket %s: %w", b.Name, err))
	}
	return nil
}

func (b *Bucket) elsewhere(region string) error {
	return fmt.Errorf("the bucket %s is in %s, not in %s, and %w", b.Name, region, b.region, ErrWrongRegion)
}

// notOwner is what a 403 means with an expected owner: S3 does not tell a
// missing permission from another owner.
func (b *Bucket) notOwner(action string) error {
	return fmt.Errorf("the bucket %s %w %s, or the right %s is missing", b.Name, ErrOwner, b.owner, action)
}

// statusOf returns the status of the answer that an error is, 0 for another.
func statusOf(err error) int {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.HTTPStatusCode()
	}
	return 0
}

// regionOf returns the bucket's region, which S3 puts into some of its errors.
func regionOf(err error) string {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// Get reads an object of at most limit bytes. Errors match ErrNoObject,
// ErrTooLarge or one of awserror.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	out, err := b.client.GetObject(ctx,
		&s3.GetObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: b.expected()})
	if statusOf(err) == http.StatusNotFound && awscode.Of(err) != "NoSuchBucket" {
		return nil, fmt.Errorf("s3://%s/%s %w", b.Name, key, ErrNoObject)
	}
	if err != nil {
		return nil, explain(fmt.Errorf("reading s3://%s/%s: %w", b.Name, key, err))
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading s3://%s/%s: %w", b.Name, key, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("s3://%s/%s %w %d bytes", b.Name, key, ErrTooLarge, limit)
	}
	return content, nil
}

// Put writes an object whatever is there. The error matches one of awserror.
func (b *Bucket) Put(ctx context.Context, key, contentType string, content []byte) error {
	sum := sha256.Sum256(content)
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: b.expected(),
		Body: bytes.NewReader(content), ContentType: &contentType,
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:]))})
	if err != nil {
		return explain(fmt.Errorf("writing s3://%s/%s: %w", b.Name, key, err))
	}
	return nil
}

// maxKeys bounds what a list of keys or versions may be.
const maxKeys = 1_000_000

// Keys lists the keys that begin with prefix, sorted. The error matches one of
// awserror.
func (b *Bucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(b.client,
		&s3.ListObjectsV2Input{Bucket: &b.Name, Prefix: &prefix, ExpectedBucketOwner: b.expected()})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(fmt.Errorf("listing s3://%s/%s: %w", b.Name, prefix, err))
		}
		for _, o := range page.Contents {
			if key := aws.ToString(o.Key); strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		if len(keys) > maxKeys {
			return nil, fmt.Errorf("s3://%s/%s has more than %d objects", b.Name, prefix, maxKeys)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// version is one of an object, or a mark that it was deleted.
type version struct {
	key, id  string
	modified time.Time
}

// versions lists what a bucket keeps under a prefix, deleted or not.
func (b *Bucket) versions(ctx context.Context, prefix string) ([]version, error) {
	var all []version
	pages := s3.NewListObjectVersionsPaginator(b.client,
		&s3.ListObjectVersionsInput{Bucket: &b.Name, Prefix: &prefix, ExpectedBucketOwner: b.expected()})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(fmt.Errorf("listing the versions of s3://%s/%s: %w", b.Name, prefix, err))
		}
		for _, v := range page.Versions {
			all = append(all, version{aws.ToString(v.Key), aws.ToString(v.VersionId), aws.ToTime(v.LastModified)})
		}
		for _, v := range page.DeleteMarkers {
			all = append(all, version{aws.ToString(v.Key), aws.ToString(v.VersionId), aws.ToTime(v.LastModified)})
		}
		if len(all) > maxKeys {
			return nil, fmt.Errorf("s3://%s/%s has more than %d versions", b.Name, prefix, maxKeys)
		}
	}
	return all, nil
}

// maxBatch is how many versions one call deletes at most.
const maxBatch = 1000

// remove deletes versions for good, and returns the keys of those that are
// gone, sorted.
func (b *Bucket) remove(ctx context.Context, versions []version) ([]string, error) {
	var gone []string
	var failed error
	for batch := range slices.Chunk(versions, maxBatch) {
		var objects []types.ObjectIdentifier
		for _, v := range batch {
			objects = append(objects, types.ObjectIdentifier{Key: aws.String(v.key), VersionId: aws.String(v.id)})
		}
		out, err := b.client.DeleteObjects(ctx,
			&s3.DeleteObjectsInput{Bucket: &b.Name, ExpectedBucketOwner: b.expected(),
				Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)}})
		if err != nil {
			failed = explain(fmt.Errorf("deleting %d versions in s3://%s: %w", len(batch), b.Name, err))
			break
		}
		left := map[string]bool{}
		for _, e := range out.Errors {
			left[aws.ToString(e.Key)] = true
			if failed == nil {
				failed = fmt.Errorf("deleting s3://%s/%s: %s: %s", b.Name, aws.ToString(e.Key), aws.ToString(e.Code),
					aws.ToString(e.Message))
			}
		}
		for _, v := range batch {
			if !left[v.key] {
				gone = append(gone, v.key)
			}
		}
	}
	slices.Sort(gone)
	return slices.Compact(gone), failed
}

// maxSum bounds an object that is read for its digest: Lambda takes no larger
// code.
const maxSum = 300 << 20 // 300 MiB

// Sum returns the SHA-256 of an object in base64, as S3 keeps it, or as its
// content has it where S3 keeps none. Errors match ErrNoObject, ErrTooLarge,
// ErrOwner or one of awserror.
func (b *Bucket) Sum(ctx context.Context, key string) (string, error) {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key,
		ChecksumMode: types.ChecksumModeEnabled, ExpectedBucketOwner: b.expected()})
	if err != nil {
		if wrong := b.CheckOwner(ctx, key); wrong != nil { // which says what is wrong
			return "", wrong
		}
		return "", explain(fmt.Errorf("looking for s3://%s/%s: %w", b.Name, key, err))
	}
	if sum := aws.ToString(head.ChecksumSHA256); sum != "" && !strings.Contains(sum, "-") { // - is of several parts
		return sum, nil
	}
	content, err := b.Get(ctx, key, maxSum)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// Package codebucket puts the functions' code where CloudFormation takes it
// from: into an S3 bucket, under keys that no other code has.
//
// [Pack] and [PackContents] tell what to put and under which prefix. [Open] and
// [OpenOwn] find a user's own bucket, [Managed] is the one that the program
// makes and keeps for itself. [Bucket.Upload] puts the code there, and
// [Bucket.Prune] deletes what nothing names any more.
package codebucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// Errors about a bucket or its name, beside those of awserror. Every one says
// what to do.
var (
	ErrBucketName = errors.New(
		"is not the name of a bucket: allowed are 3 to 63 of a-z, 0-9, . and -, at both ends a letter or digit")
	ErrPrefix = errors.New(
		"is not a prefix for keys: allowed are at most 200 of A-Z, a-z, 0-9, . _ - and /, not at its beginning, " +
			"with a / " +
			"at its end")
	ErrNoBucket    = errors.New("does not exist")
	ErrWrongRegion = errors.New("is in another region: Lambda takes code only from a bucket in its own region")

	// ErrOwner: the bucket may belong to another account.
	ErrOwner = errors.New("does not belong to the account")

	// ErrForeign: the program did not make the bucket.
	ErrForeign = errors.New(
		"was not made by soci-index-builder (it lacks the tag " + ours.TagKey + "=" + ours.TagValue +
			"): name another one with --bucket")

	// ErrForeignObjects: in a managed bucket there is what the program did not
	// write.
	ErrForeignObjects = errors.New("has objects that soci-index-builder did not write")

	ErrNoObject = errors.New("does not exist")
	ErrTooLarge = errors.New("has more than")

	// ErrNotOurs: a key is not one of the program's.
	ErrNotOurs = errors.New("is not deleted: its key does not begin with")
)

// keyPrefix leaves room for the version and the digest that follow it: the
// template's CodeS3KeyPrefix takes 302 characters.
var keyPrefix = lazyregexp.New(`^(?:[A-Za-z0-9._-][A-Za-z0-9._/-]{0,198}/)?$`)

// CheckBucketName and CheckPrefix report whether a name can be used, without
// asking AWS. Their errors name the value and match ErrBucketName, ErrPrefix.
func CheckBucketName(name string) error {
	if !names.IsBucket(name) {
		return fmt.Errorf("%q %w", name, ErrBucketName)
	}
	return nil
}

// CheckPrefix: see CheckBucketName. The empty prefix is allowed.
func CheckPrefix(prefix string) error {
	if !keyPrefix.MatchString(prefix) || strings.Contains(prefix, "//") {
		return fmt.Errorf("%q %w", prefix, ErrPrefix)
	}
	return nil
}

// Package is code to upload.
type Package struct {
	Prefix  string // of all keys; ends with a slash
	Objects []Object
}

// Object is one file of a Package.
type Object struct {
	Key     string
	Content []byte
	sum     [sha256.Size]byte
}

// Pack reads the files, whose names become the ends of their keys. All keys
// begin with prefix, then version and a hash of every name and content: the
// same files always have the same keys, other files other ones.
func Pack(prefix, version string, files []string) (*Package, error) {
	p := &Package{}
	all := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the code: %w", err)
		}
		o := Object{filepath.Base(file), content, sha256.Sum256(content)}
		fmt.Fprintf(all, "%x  %s\n", o.sum, o.Key)
		p.Objects = append(p.Objects, o)
	}
	p.Prefix = fmt.Sprintf("%s%s-%x/", prefix, version, all.Sum(nil)[:8])
	for i := range p.Objects {
		p.Objects[i].Key = p.Prefix + p.Objects[i].Key
	}
	return p, nil
}

// Bucket is one that exists.
type Bucket struct {
	Name   string
	client *s3.Client
	owner  string // the account that must own it, empty for any
	region string
	prefix string // of all keys of the program's
}

// Open finds the bucket, in any account. The error matches ErrNoBucket,
// ErrWrongRegion or one of awserror where it is one of these.
func Open(ctx context.Context, cfg aws.Config, name string) (*Bucket, error) {
	return open(ctx, cfg, name, "")
}

func open(ctx context.Context, cfg aws.Config, name, owner string) (*Bucket, error) {
	b := &Bucket{Name: name, client: s3.NewFromConfig(cfg), owner: owner, region: cfg.Region}
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name, ExpectedBucketOwner: b.expected()})
	if err == nil {
		return b, nil
	}
	// A HEAD's answer has no body that would say more than its status.
	region := regionOf(err)
	switch status := statusOf(err); {
	case region != "" && region != cfg.Region:
		return nil, b.elsewhere(region)
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("the bucket %s %w: make it with  aws s3 mb s3://%s --region %s", name, ErrNoBucket, name,
			cfg.Region)
	case status == http.StatusForbidden:
		// Perhaps only s3:ListBucket is missing, without which one can upload.
		return b, nil
	}
	return nil, explain(fmt.Errorf("looking for the bucket %s: %w", name, err))
}

// Upload puts the object into the bucket, unless the same content is there
// under its key already; sent reports whether it was sent. The error matches ErrNoBucket or one
// of awserror where it is one of these.
func (b *Bucket) Upload(ctx context.Context, o Object) (sent bool, err error) {
	sum := base64.StdEncoding.EncodeToString(o.sum[:])
	head, err := b.client.HeadObject(ctx,
		&s3.HeadObjectInput{Bucket: &b.Name, Key: &o.Key, ChecksumMode: types.ChecksumModeEnabled,
			ExpectedBucketOwner: b.expected()})
	if err == nil && aws.ToString(head.ChecksumSHA256) == sum &&
		aws.ToInt64(head.ContentLength) == int64(len(o.Content)) {
		return false, nil
	}
	if err != nil && statusOf(err) == 0 {
		return false, explain(fmt.Errorf("looking for s3://%s/%s: %w", b.Name, o.Key, err))
	}
	// The upload has the better error: to a caller who may not list the bucket,
	// a missing object is a forbidden one.
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:              &b.Name,
		Key:                 &o.Key,
		Body:                bytes.NewReader(o.Content),
		ContentType:         aws.String("application/zip"),
		ChecksumSHA256:      &sum,
		ExpectedBucketOwner: b.expected(),
	})
	if statusOf(err) == http.StatusForbidden && b.owner != "" {
		return false, b.notOwner("s3:PutObject")
	}
	if err != nil {
		return false, explain(fmt.Errorf("uploading s3://%s/%s: %w", b.Name, o.Key, err))
	}
	return true, nil
}

// explain says what is to be done about an answer of S3.
func explain(err error) error {
	switch awscode.Of(err) {
	case "NoSuchBucket":
		return fmt.Errorf("%w: the bucket %w", err, ErrNoBucket)
	case "PermanentRedirect":
		return fmt.Errorf("%w: the bucket %w", err, ErrWrongRegion)
	}
	return awserror.Explain(err)
}

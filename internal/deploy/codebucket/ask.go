package codebucket

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// At returns the managed bucket of a name that Look has found, without a call.
func (m *Managed) At(name string) *Bucket { return m.bucket(name) }

// AskToWrite finds out whether the caller may write an object, and writes none:
// it completes an upload that was never begun, for which S3 wants the same right
// (s3:PutObject). The request is sent once. The error is always AWS's: S3 refuses
// the caller, or does not know the upload.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func (b *Bucket) AskToWrite(ctx context.Context, key string) error {
	_, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.Name, Key: &key, ExpectedBucketOwner: b.expected(), UploadId: aws.String("none"),
		MultipartUpload: &types.CompletedMultipartUpload{
			Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: aws.String("none")}}},
	}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	return err
}

// AskToRead finds out whether the caller may read an object, by one that does not
// exist. The request is sent once. The error is AWS's.
func (b *Bucket) AskToRead(ctx context.Context, key string) error {
	out, err := b.client.GetObject(ctx,
		&s3.GetObjectInput{Bucket: &b.Name, Key: &key, ExpectedBucketOwner: b.expected()},
		func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	if err == nil {
		err = out.Body.Close()
	}
	return err
}

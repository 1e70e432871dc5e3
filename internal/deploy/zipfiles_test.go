package deploy

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/deploy/codebucket"
)

// Lambda takes a zip file within a request up to a limit, and a larger one from
// the bucket.
func TestSourceOfZipFile(t *testing.T) {
	for _, tt := range []struct {
		size   int
		direct bool
	}{{1, true}, {50 << 20, true}, {50<<20 + 1, false}} {
		z := &zipFiles{name: "b", packed: &codebucket.Package{Objects: []codebucket.Object{
			{Key: "code/x/filter.zip"}, {Key: "code/x/indexgen.zip", Content: make([]byte, tt.size)}}}}
		in := &lambda.UpdateFunctionCodeInput{}
		z.Source("GeneratorFunction", in)
		bucket, key := aws.ToString(in.S3Bucket), aws.ToString(in.S3Key)
		if tt.direct && (len(in.ZipFile) != tt.size || bucket != "" || key != "") ||
			!tt.direct && (in.ZipFile != nil || bucket != "b" || key != "code/x/indexgen.zip") {
			t.Errorf("%d bytes: %d in the request, s3://%s/%s", tt.size, len(in.ZipFile), bucket, key)
		}
	}
}

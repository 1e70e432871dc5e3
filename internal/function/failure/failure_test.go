package failure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func TestOfSentinels(t *testing.T) {
	tests := []struct {
		err    error
		class  Class
		reason Reason
	}{
		{ErrOutOfTime, Permanent, OutOfTime},
		{ecrevent.ErrInvalid, Permanent, InvalidEvent},
		{soci.ErrTruncated, Permanent, Truncated},
		{soci.ErrCorrupt, Permanent, Corrupt},
		{soci.ErrUnsupported, Permanent, Unsupported},
		{soci.ErrLimit, Permanent, LimitExceeded},
		{soci.ErrTagImmutable, Permanent, ImmutableTag},
		{soci.ErrTagTaken, Permanent, TagTaken},
		{soci.ErrTagMoving, Transient, TagMoving},
		{soci.ErrInvalidOption, Permanent, InvalidOption},
		{ecrclient.ErrManifestTooLarge, Permanent, LimitExceeded},
		{ecrclient.ErrInvalidReference, Permanent, InvalidReference},
		{soci.ErrDigestMismatch, Transient, DigestMismatch},
		{ecrclient.ErrDigestMismatch, Transient, DigestMismatch},
		{ecrclient.ErrNotFound, Transient, NotFound},
		{ecrclient.ErrDenied, Transient, AccessDenied},
		{ecrclient.ErrThrottled, Transient, Throttled},
		{ecrclient.ErrUnavailable, Transient, Unavailable},
		{context.DeadlineExceeded, Transient, Unavailable},
		{errors.New("nobody foresaw this"), Transient, Unexpected},
		// The error that no second attempt can fix decides.
		{errors.Join(ecrclient.ErrThrottled, soci.ErrCorrupt), Permanent, Corrupt},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			f := Of(fmt.Errorf("layer 1: %w", tt.err))
			if f.Class != tt.class || f.Reason != tt.reason || f.Permission != "" {
				t.Errorf("Of = %+v, want %s, %s", f, tt.class, tt.reason)
			}
			if !errors.Is(f, tt.err) || f.Error() != "layer 1: "+tt.err.Error() {
				t.Errorf("the error is %q and leads to %v", f, f.Err)
			}
			again := Of(fmt.Errorf("image 2: %w", f))
			if again.Class != tt.class || again.Reason != tt.reason ||
				!strings.HasPrefix(again.Error(), "image 2: layer 1: ") {
				t.Errorf("classified again it is %+v", again)
			}
		})
	}
	for _, s := range sentinels {
		if !covered(s.err, func(i int) error {
			if i < len(tests) {
				return tests[i].err
			}
			return nil
		}) {
			t.Errorf("%q has no row", s.err)
		}
	}
}

func covered(want error, row func(i int) error) bool {
	for i := 0; row(i) != nil; i++ {
		if row(i) == want {
			return true
		}
	}
	return false
}

// Each operation that a registry denies names what the role lacks.
func TestOfDeniedByRegistry(t *testing.T) {
	blob := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString("x"), Size: 1}
	manifest := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("{}"), Size: 2}
	tests := []struct {
		name string
		call func(context.Context, *ecrclient.Repository) error
		want string

		method string // that is denied; "" is every one
	}{
		{"resolve", func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Resolve(ctx, "v1")
			return err
		}, "ecr:BatchGetImage", ""},
		{"manifest", func(ctx context.Context, r *ecrclient.Repository) error {
			return read(r.Fetch(ctx, manifest))
		}, "ecr:BatchGetImage", ""},
		{"manifest exists", func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Exists(ctx, manifest)
			return err
		}, "ecr:BatchGetImage", ""},
		{"blob", func(ctx context.Context, r *ecrclient.Repository) error {
			return read(r.Fetch(ctx, blob))
		}, "ecr:GetDownloadUrlForLayer", ""},
		{"blob exists", func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Exists(ctx, blob)
			return err
		}, "ecr:BatchCheckLayerAvailability", ""},
		{"referrers", func(ctx context.Context, r *ecrclient.Repository) error {
			_, err := r.Referrers(ctx, manifest, soci.ArtifactTypeV1)
			return err
		}, "ecr:BatchGetImage", ""},
		{"push blob", func(ctx context.Context, r *ecrclient.Repository) error {
			return r.Push(ctx, blob, bytes.NewReader([]byte("x")))
		}, "ecr:InitiateLayerUpload, ecr:UploadLayerPart and ecr:CompleteLayerUpload", http.MethodPost},
		{"push manifest", func(ctx context.Context, r *ecrclient.Repository) error {
			return r.Push(ctx, manifest, bytes.NewReader([]byte("{}")))
		}, "ecr:PutImage", http.MethodPut},
	}
	for _, tt := range tests {
		for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
			t.Run(fmt.Sprintf("%s: %d", tt.name, status), func(t *testing.T) {
				s := registrytest.Start(t)
				s.Add(registrytest.Rule{Method: tt.method, Fault: registrytest.Status(status, "DENIED", "no")})
				r, err := ecrclient.New(s.Host()+"/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
				if err != nil {
					t.Fatal(err)
				}
				err = tt.call(t.Context(), r)
				if !errors.Is(err, ecrclient.ErrDenied) {
					t.Fatalf("the error is %v, want ErrDenied", err)
				}
				want := tt.want
				if status == http.StatusUnauthorized {
					want = "" // it is the credentials
				}
				f := Of(err)
				if f.Class != Transient || f.Reason != AccessDenied || f.Permission != want {
					t.Errorf("Of(%v) = %+v, want permission %q", err, f, want)
				}
				if want != "" && !strings.HasSuffix(f.Error(), "the function's role needs "+want) {
					t.Errorf("the text does not name the permission: %v", f)
				}
			})
		}
	}
}

func read(rc io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.ReadAll(rc)
	return err
}

// answer is a service of AWS that answers everything with one error.
func answer(t *testing.T, status int, code string) aws.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":"why"}`, code)
	}))
	t.Cleanup(s.Close)
	return aws.Config{
		Region: "us-west-2", BaseEndpoint: aws.String(s.URL),
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "example", ""),
		RetryMaxAttempts: 1,
	}
}

func TestOfAWS(t *testing.T) {
	answers := []struct {
		name   string
		status int
		code   string
		want   Reason
	}{
		{"denied", 400, "AccessDeniedException", AccessDenied},
		{"denied in other words", 400, "NotAuthorized", AccessDenied},
		{"denied by KMS", 400, "KMSAccessDeniedException", AccessDenied},
		{"credentials expired", 403, "ExpiredTokenException", AccessDenied},
		{"credentials unknown", 400, "UnrecognizedClientException", AccessDenied},
		{"throttled", 400, "ThrottlingException", Throttled},
		{"too many", 429, "TooManyRequestsException", Throttled},
		{"not there", 404, "ResourceNotFoundException", NotFound},
		{"no queue", 400, "QueueDoesNotExist", NotFound},
		{"internal", 500, "InternalFailure", Unavailable},
		{"unavailable", 503, "ServiceUnavailable", Unavailable},
		{"reset", 0, "", Unavailable},
		{"else", 400, "ValidationException", Unexpected},
	}
	calls := []struct {
		permission string
		call       func(context.Context, aws.Config) error
	}{
		{"lambda:InvokeFunction", func(ctx context.Context, c aws.Config) error {
			_, err := lambda.NewFromConfig(c).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("f")})
			return err
		}},
		{"sqs:SendMessage", func(ctx context.Context, c aws.Config) error {
			_, err := sqs.NewFromConfig(c).SendMessage(ctx,
				&sqs.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("m")})
			return err
		}},
		{"events:PutEvents", func(ctx context.Context, c aws.Config) error {
			_, err := eventbridge.NewFromConfig(c).PutEvents(ctx,
				&eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{Detail: aws.String("{}")}}})
			return err
		}},
		{"ecr:DescribeRegistry", func(ctx context.Context, c aws.Config) error {
			_, err := ecr.NewFromConfig(c).DescribeRegistry(ctx, nil)
			return err
		}},
	}
	for _, a := range answers {
		for _, c := range calls {
			t.Run(a.name+" "+c.permission, func(t *testing.T) {
				err := c.call(t.Context(), answer(t, a.status, a.code))
				f := Of(fmt.Errorf("doing it: %w", err))
				want := ""
				if awscode.IsDenied(a.code) {
					want = c.permission
				}
				if f.Class != Transient || f.Reason != a.want || f.Permission != want {
					t.Errorf("Of(%v) = %s, %s, permission %q, want %s, %q", err, f.Class, f.Reason, f.Permission,
						a.want, want)
				}
			})
		}
	}
}

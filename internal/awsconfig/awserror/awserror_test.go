package awserror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/testkit/awstest"
)

func TestExplain(t *testing.T) {
	tests := []struct {
		name   string
		answer *awstest.Error
		kind   error
		text   []string
	}{
		{"denied", &awstest.Error{Status: 400, Code: "AccessDeniedException",
			Message: "User: me is not authorized to perform: ecr:DescribeRepositories."}, awserror.ErrDenied,
			[]string{"access denied: User: me is not authorized", "it needs the action ecr:DescribeRepositories"}},
		{"denied without a message", &awstest.Error{Status: 403, Code: "SomethingOfTheService"}, awserror.ErrDenied,
			[]string{"ecr:DescribeRepositories"}},
		{"expired", &awstest.Error{Status: 403, Code: "ExpiredTokenException",
			Message: "The security token included in the request is expired"}, awserror.ErrCredentials,
			[]string{"have expired", "aws sso login"}},
		{"unknown key", &awstest.Error{Status: 400, Code: "UnrecognizedClientException",
			Message: "The security token included in the request is invalid."}, awserror.ErrCredentials,
			[]string{"UnrecognizedClientException", "--profile"}},
		{"unknown access key", &awstest.Error{Status: 400, Code: "InvalidAccessKeyId", Message: "It does not exist."},
			awserror.ErrCredentials, []string{"InvalidAccessKeyId", "--profile"}},
		{"unknown session", &awstest.Error{Status: 400, Code: "InvalidToken", Message: "It is malformed."},
			awserror.ErrCredentials, []string{"InvalidToken", "--profile"}},
		{"no credentials of AWS", &awstest.Error{Status: 400, Code: "AuthFailure", Message: "They are not valid."},
			awserror.ErrCredentials, []string{"AuthFailure", "--profile"}},
		{"clock", &awstest.Error{Status: 403, Code: "RequestTimeTooSkewed", Message: "The difference is too large."},
			awserror.ErrCredentials,
			[]string{"the time of the request (RequestTimeTooSkewed): set this machine's clock, ", "UTC"}},
		{"signature of the past", &awstest.Error{Status: 403, Code: "SignatureDoesNotMatch",
			Message: "Signature expired: 20260102T030405Z is now earlier than 20260102T040405Z"},
			awserror.ErrCredentials, []string{"(SignatureDoesNotMatch): set this machine's clock"}},
		{"signature of the future", &awstest.Error{Status: 403, Code: "InvalidSignatureException",
			Message: "Signature not yet current: 20260102T030405Z is still later than 20260102T020405Z"},
			awserror.ErrCredentials, []string{"(InvalidSignatureException): set this machine's clock"}},
		{"wrong signature",
			&awstest.Error{Status: 403, Code: "SignatureDoesNotMatch", Message: "The request signature we " +
				"calculated does not match the signature you provided."},
			awserror.ErrCredentials, []string{"(SignatureDoesNotMatch): check --profile"}},
		{"throttled", awstest.Throttled, awserror.ErrThrottled,
			[]string{"ECR DescribeRepositories", "asked too often", "ThrottlingException"}},
		{"anything else", &awstest.Error{Status: 400, Code: "RepositoryNotFoundException", Message: "no repository x"},
			nil, []string{"ECR DescribeRepositories: RepositoryNotFoundException: no repository x"}},
		{"a proxy's page", &awstest.Error{Status: 403, Page: true}, awserror.ErrNotAWS,
			[]string{"ECR DescribeRepositories: the answer is not from AWS: http://127.0.0.1:",
				" answered 403 Forbidden with a web page", "HTTPS_PROXY"}},
		{"a proxy's page in place of the result", &awstest.Error{Status: 200, Page: true}, awserror.ErrNotAWS,
			[]string{" answered 200 OK with a web page"}},
		{"the connection ends", &awstest.Error{}, awserror.ErrUnreachable,
			[]string{"ECR DescribeRepositories", "HTTPS_PROXY"}},
	}
	kinds := []error{awserror.ErrDenied, awserror.ErrCredentials, awserror.ErrThrottled, awserror.ErrUnreachable,
		awserror.ErrNotAWS}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := awstest.Start(t)
			server.Fail("ecr", "*", 1, tt.answer)
			_, raw := ecr.NewFromConfig(server.Config()).DescribeRepositories(t.Context(),
				&ecr.DescribeRepositoriesInput{})
			if raw == nil {
				t.Fatal("no error")
			}
			raw = fmt.Errorf("registry 1: %w", raw)
			err := awserror.Explain(raw)
			for _, kind := range kinds {
				if errors.Is(err, kind) != (kind == tt.kind) {
					t.Errorf("errors.Is(%v, %v) is %t", err, kind, kind != tt.kind)
				}
			}
			for _, text := range append(tt.text, "registry 1: ") {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not have %q", err, text)
				}
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "RequestID") ||
				len(err.Error()) > 300 {
				t.Errorf("not one short line: %q", err)
			}
			if !errors.Is(err, raw) || awserror.Explain(err) != err {
				t.Errorf("the cause of %v is lost, or it is explained twice", err)
			}
		})
	}
}

func TestExplainLeavesAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, canceled := ecr.NewFromConfig(awstest.Start(t).Config()).DescribeRepositories(ctx,
		&ecr.DescribeRepositoriesInput{})
	for _, err := range []error{nil, errors.New("our own"), canceled} {
		if got := awserror.Explain(err); got != err {
			t.Errorf("Explain(%v) = %v", err, got)
		}
	}
}

func TestAction(t *testing.T) {
	calls := []struct {
		want string
		call func(context.Context, aws.Config) error
	}{
		{"cloudformation:DescribeStacks", func(ctx context.Context, cfg aws.Config) error {
			_, err := cloudformation.NewFromConfig(cfg).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{})
			return err
		}},
		{"cloudwatch:DescribeAlarms", func(ctx context.Context, cfg aws.Config) error {
			_, err := cloudwatch.NewFromConfig(cfg).DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{})
			return err
		}},
		{"logs:DescribeLogGroups", func(ctx context.Context, cfg aws.Config) error {
			_, err := cloudwatchlogs.NewFromConfig(cfg).DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
			return err
		}},
		{"ecr:BatchGetImage", func(ctx context.Context, cfg aws.Config) error {
			_, err := ecr.NewFromConfig(cfg).ListImageReferrers(ctx, &ecr.ListImageReferrersInput{
				RepositoryName: aws.String("app"),
				SubjectId:      &ecrtypes.SubjectIdentifier{ImageDigest: aws.String("sha256:0")}})
			return err
		}},
		{"events:ListRules", func(ctx context.Context, cfg aws.Config) error {
			_, err := eventbridge.NewFromConfig(cfg).ListRules(ctx, &eventbridge.ListRulesInput{})
			return err
		}},
		{"iam:GetRole", func(ctx context.Context, cfg aws.Config) error {
			_, err := iam.NewFromConfig(cfg).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("r")})
			return err
		}},
		{"lambda:InvokeFunction", func(ctx context.Context, cfg aws.Config) error {
			_, err := lambda.NewFromConfig(cfg).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("f")})
			return err
		}},
		{"lambda:GetFunctionConfiguration", func(ctx context.Context, cfg aws.Config) error {
			_, err := lambda.NewFromConfig(cfg).GetFunctionConfiguration(ctx,
				&lambda.GetFunctionConfigurationInput{FunctionName: aws.String("f")})
			return err
		}},
		{"s3:ListBucket", func(ctx context.Context, cfg aws.Config) error {
			_, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).HeadBucket(ctx,
				&s3.HeadBucketInput{Bucket: aws.String("bucket")})
			return err
		}},
		{"sqs:GetQueueAttributes", func(ctx context.Context, cfg aws.Config) error {
			_, err := sqs.NewFromConfig(cfg).GetQueueAttributes(ctx,
				&sqs.GetQueueAttributesInput{QueueUrl: aws.String("q")})
			return err
		}},
		{"sts:GetCallerIdentity", func(ctx context.Context, cfg aws.Config) error {
			_, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		}},
	}
	for _, c := range calls {
		server := awstest.Start(t)
		for _, service := range []string{"cloudformation", "monitoring", "logs", "ecr", "events", "iam", "lambda", "s3",
			"sqs", "sts"} {
			server.Fail(service, "*", 1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		}
		err := c.call(t.Context(), server.Config())
		if got := awserror.Action(err); got != c.want || err == nil {
			t.Errorf("Action(%v) = %q, want %q", err, got, c.want)
		}
	}
	if got := awserror.Action(errors.New("our own")); got != "" {
		t.Errorf("%q for an error that is not AWS's", got)
	}
}

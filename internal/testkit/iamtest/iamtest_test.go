package iamtest

import (
	"slices"
	"testing"

	"soci-index-builder/internal/permission/deployer"
	"soci-index-builder/internal/testkit/awstest"
)

const ecrARN, sqsARN = "arn:aws:ecr:eu-west-1:123456789012:", "arn:aws:sqs:eu-west-1:123456789012:"

func TestOfRequest(t *testing.T) {
	const stackARN = "arn:aws:cloudformation:eu-west-1:123456789012:stack/"
	tests := []struct {
		service, operation, query, body string
		want                            []Need
	}{
		{"sts", "GetCallerIdentity", "", "", nil},
		{"cloudformation", "DescribeStacks", "", "Action=DescribeStacks&StackName=s",
			[]Need{{"cloudformation:DescribeStacks", stackARN + "s/*"}}},
		{"cloudformation", "DescribeStacks", "", "Action=DescribeStacks",
			[]Need{{"cloudformation:DescribeStacks", stackARN + "*/*"}}},
		{"cloudformation", "DeleteStack", "", "StackName=arn%3Aaws%3Acloudformation%3Aeu-west-1%3A1%3Astack%2Fs%2F1f2e",
			[]Need{{"cloudformation:DeleteStack", stackARN + "s/*"}}},
		{"s3", "GET /", "", "", []Need{{"s3:ListAllMyBuckets", "*"}}},
		{"s3", "PUT /b", "", "", []Need{{"s3:CreateBucket", "arn:aws:s3:::b"}}},
		{"s3", "PUT /b/", "versioning", "", []Need{{"s3:PutBucketVersioning", "arn:aws:s3:::b"}}},
		{"s3", "HEAD /b/k/l", "", "", []Need{{"s3:GetObject", "arn:aws:s3:::b/k/l"}}},
		{"s3", "GET /b", "list-type=2&prefix=k", "", []Need{{"s3:ListBucket", "arn:aws:s3:::b"}}},
		{"s3", "POST /b", "delete", "<Delete><Object><Key>k/1</Key></Object><Object><Key>k/2</Key></Object></Delete>",
			[]Need{{"s3:DeleteObjectVersion", "arn:aws:s3:::b/k/1"}, {"s3:DeleteObjectVersion", "arn:aws:s3:::b/k/2"}}},
		{"lambda", "PUT /2015-03-31/functions/f/code", "", "",
			[]Need{{"lambda:UpdateFunctionCode", "arn:aws:lambda:eu-west-1:123456789012:function:f"}}},
		{"lambda", "GET /2015-03-31/functions/f", "", "",
			[]Need{{"lambda:GetFunction", "arn:aws:lambda:eu-west-1:123456789012:function:f"}}},
		{"lambda", "GET /2019-09-30/functions/f/concurrency", "", "",
			[]Need{{"lambda:GetFunctionConcurrency", "arn:aws:lambda:eu-west-1:123456789012:function:f"}}},
		{"ecr", "GetAuthorizationToken", "", "{}", []Need{{"ecr:GetAuthorizationToken", "*"}}},
		{"ecr", "DescribeRepositories", "", "{}", []Need{{"ecr:DescribeRepositories", ecrARN + "repository/*"}}},
		{"ecr", "DescribeRepositories", "", `{"repositoryNames":["a/b","c"]}`,
			[]Need{{"ecr:DescribeRepositories", ecrARN + "repository/a/b"},
				{"ecr:DescribeRepositories", ecrARN + "repository/c"}}},
		{"ecr", "BatchDeleteImage", "", `{"repositoryName":"a"}`,
			[]Need{{"ecr:BatchDeleteImage", ecrARN + "repository/a"}}},
		{"sqs", "GetQueueAttributes", "", `{"QueueUrl":"http://x/123456789012/q"}`,
			[]Need{{"sqs:GetQueueAttributes", sqsARN + "q"}}},
		{"logs", "FilterLogEvents", "", `{"logGroupName":"/aws/lambda/f"}`,
			[]Need{{"logs:FilterLogEvents", "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/f:*"}}},
		{"iam", "GetRole", "", "Action=GetRole&RoleName=r",
			[]Need{{"iam:GetRole", "arn:aws:iam::123456789012:role/r"}}},
		{"events", "DescribeRule", "", `{"Name":"r"}`,
			[]Need{{"events:DescribeRule", "arn:aws:events:eu-west-1:123456789012:rule/r"}}},
		{"states", "DescribeStateMachine", "",
			`{"stateMachineArn":"arn:aws:states:eu-west-1:123456789012:stateMachine:m"}`,
			[]Need{{"states:DescribeStateMachine", "arn:aws:states:eu-west-1:123456789012:stateMachine:m"}}},
		{"monitoring", "GetMetricData", "", "", []Need{{"cloudwatch:GetMetricData", "*"}}},
	}
	for _, tt := range tests {
		t.Run(tt.service+" "+tt.operation+"?"+tt.query, func(t *testing.T) {
			got, err := OfRequest(awstest.Request{Service: tt.service, Operation: tt.operation, Query: tt.query,
				Body: []byte(tt.body)})
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	for _, r := range []awstest.Request{
		{Service: "braket", Operation: "CreateJob"},
		{Service: "lambda", Operation: "GET /2015-03-31/layers"},
		{Service: "s3", Operation: "PATCH /b/k"},
		{Service: "cloudformation", Operation: "DeleteStack"},
		{Service: "ecr", Operation: "DescribeImages", Body: []byte("{}")},
		{Service: "sqs", Operation: "SendMessage", Body: []byte("[")},
	} {
		if got, err := OfRequest(r); err == nil {
			t.Errorf("%s %s: %v, want an error", r.Service, r.Operation, got)
		}
	}
}

func TestOfRegistry(t *testing.T) {
	got, err := OfRegistry("PUT", "/v2/a/b/blobs/uploads/1")
	if want := []Need{{"ecr:UploadLayerPart", ecrARN + "repository/a/b"},
		{"ecr:CompleteLayerUpload", ecrARN + "repository/a/b"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, err := OfRegistry("GET", "/v2/"); len(got) > 0 || err != nil {
		t.Errorf("%v, %v, want nothing", got, err)
	}
	if got, err := OfRegistry("GET", "/v2/_catalog"); err == nil {
		t.Errorf("%v, want an error", got)
	}
}

func TestAllow(t *testing.T) {
	statement := func(action, arn string, condition map[string]map[string]string) deployer.Document {
		return deployer.Document{Statement: []deployer.Statement{{Action: []string{action}, Resource: []string{arn},
			Condition: condition}}}
	}
	p := Policies{
		statement("sqs:A", "arn:aws:sqs:eu-west-1:123456789012:${Stack}-*", nil),
		statement("sqs:B", "arn:aws:sqs:*:b-??", nil),
		statement("sqs:C", "*", map[string]map[string]string{"StringLike": {"aws:RequestedRegion": "eu-*"}}),
		statement("sqs:D", "*", map[string]map[string]string{"StringLike": {"aws:RequestedRegion": "me-*"}}),
		statement("sqs:E", "*", map[string]map[string]string{"StringEquals": {"iam:PassedToService": "x"}}),
	}
	for _, tt := range []struct {
		action, resource string
		values           map[string]string
		want             bool
	}{
		{"sqs:A", sqsARN + "s-q", map[string]string{"Stack": "s"}, true},
		{"sqs:A", sqsARN + "s-q", map[string]string{"Stack": "t"}, false},
		{"sqs:A", sqsARN + "s-q", nil, false},
		{"sqs:B", "arn:aws:sqs:eu-west-1:1:b-12", nil, true},
		{"sqs:B", "arn:aws:sqs:eu-west-1:1:b-123", nil, false},
		{"sqs:B", "arn:aws:sqs:eu-west-1:1:*", nil, false},
		{"sqs:C", "anything", nil, true},
		{"sqs:D", "anything", nil, false},
		{"sqs:E", "anything", nil, false},
		{"sqs:F", "anything", nil, false},
	} {
		if got := p.Allow(Need{tt.action, tt.resource}, tt.values); got != tt.want {
			t.Errorf("%s on %s with %v: %v", tt.action, tt.resource, tt.values, got)
		}
	}
}

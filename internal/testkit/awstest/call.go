package awstest

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// sdkNames are the SDK's names of the services, by the names in signatures.
var sdkNames = map[string]string{
	"cloudformation": "CloudFormation", "ec2": "EC2", "ecr": "ECR", "events": "EventBridge", "iam": "IAM",
	"lambda": "Lambda",
	"logs":   "CloudWatch Logs", "monitoring": "CloudWatch", "s3": "S3", "sqs": "SQS", "states": "SFN", "sts": "STS",
}

// lambdaCalls are Lambda's operations by method and the path behind the
// function.
// https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
var lambdaCalls = map[string]string{
	"GET ":                    "GetFunction",
	"GET configuration":       "GetFunctionConfiguration",
	"GET concurrency":         "GetFunctionConcurrency",
	"GET event-invoke-config": "GetFunctionEventInvokeConfig",
	"GET policy":              "GetPolicy",
	"POST invocations":        "Invoke",
	"PUT code":                "UpdateFunctionCode",
}

var lambdaPath = regexp.MustCompile(`^/20\d\d-\d\d-\d\d/functions/([^/]+)/?([^/]*)$`)

// Call returns the SDK's names of the service and the operation; they are empty
// where they are not known.
func (r Request) Call() (service, operation string) {
	service, operation = sdkNames[r.Service], r.Operation
	method, path, rest := strings.Cut(r.Operation, " ")
	switch {
	case !rest:
	case r.Service == "s3":
		name, key := r.Object()
		operation = s3Operation(&http.Request{Method: method, URL: &url.URL{RawQuery: r.Query}}, name, key)
	case r.Service == "lambda":
		operation = ""
		if m := lambdaPath.FindStringSubmatch(path); m != nil {
			operation = lambdaCalls[method+" "+m[2]]
		}
	default:
		operation = ""
	}
	return service, operation
}

// Object returns the bucket and the key of a request to S3.
func (r Request) Object() (bucket, key string) {
	_, path, _ := strings.Cut(r.Operation, " ")
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return bucket, key
}

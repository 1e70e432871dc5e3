// Package permission knows which IAM actions each request to AWS needs, and
// which of them each function's role has.
//
// Start with [OfRequest] for requests to a registry, [OfCall] for calls of
// AWS's APIs, [Functions] for the roles.
package permission

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"soci-index-builder/pkg/ecrclient"
)

// The kinds of things that a registry's HTTP API has below /v2/<name>/.
const (
	manifests = "manifests"
	blobs     = "blobs"
	uploads   = "blobs/uploads"
	tags      = "tags"
	referrers = "referrers"
)

// request is a kind of request to a registry.
type request struct{ method, kind string }

// requests returns what ECR wants for each, as AWS's policies for pulling and
// pushing have it:
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
//
// A blob goes up with a POST that opens the upload and one PUT with all bytes,
// which is part and completion at once. ECR lists referrers for anyone who may
// read the image: ListImageReferrers needs ecr:BatchGetImage as well.
var requests = map[request][]string{
	{http.MethodHead, manifests}:   {"ecr:BatchGetImage"},
	{http.MethodGet, manifests}:    {"ecr:BatchGetImage"},
	{http.MethodPut, manifests}:    {"ecr:PutImage"},
	{http.MethodDelete, manifests}: {"ecr:BatchDeleteImage"},
	{http.MethodHead, blobs}:       {"ecr:BatchCheckLayerAvailability"},
	{http.MethodGet, blobs}:        {"ecr:GetDownloadUrlForLayer"},
	{http.MethodPost, uploads}:     {"ecr:InitiateLayerUpload"},
	{http.MethodGet, uploads}:      {"ecr:UploadLayerPart"}, // how far an upload is
	{http.MethodPatch, uploads}:    {"ecr:UploadLayerPart"},
	{http.MethodPut, uploads}:      {"ecr:UploadLayerPart", "ecr:CompleteLayerUpload"},
	{http.MethodGet, tags}:         {"ecr:ListImages"},
	{http.MethodGet, referrers}:    {"ecr:BatchGetImage"},
}

// OfRequest returns the actions of IAM that a request to ECR's registry needs;
// path is that of its URL. It returns none for /v2/ itself, which only asks
// whether the token is good. A request that is not known is an error.
func OfRequest(method, path string) ([]string, error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if ok && rest == "" || path == "/v2" {
		return nil, nil
	}
	if actions, known := requests[request{method, kindOf(rest)}]; ok && known {
		return slices.Clone(actions), nil
	}
	return nil, fmt.Errorf("no action of IAM is known for %s %s", method, path)
}

// kindOf takes "<name>/<kind>/<reference>" apart from its end, since the name
// may have slashes and any of the kinds as a part.
func kindOf(rest string) string {
	parts := strings.Split(rest, "/")
	n := len(parts)
	switch {
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return uploads
	case n >= 3 && parts[n-2] == tags && parts[n-1] == "list":
		return tags
	case n >= 3 && (parts[n-2] == manifests || parts[n-2] == blobs || parts[n-2] == referrers):
		return parts[n-2]
	}
	return ""
}

// operations returns the requests behind each operation that an error of
// ecrclient names.
var operations = map[string][]request{
	"resolve":           {{http.MethodHead, manifests}},
	"fetch manifest":    {{http.MethodGet, manifests}},
	"look for manifest": {{http.MethodHead, manifests}},
	"list referrers":    {{http.MethodGet, referrers}},
	"list tags":         {{http.MethodGet, tags}},
	"fetch blob":        {{http.MethodGet, blobs}},
	"fetch blob range":  {{http.MethodGet, blobs}},
	"look for blob":     {{http.MethodHead, blobs}},
	"push manifest":     {{http.MethodPut, manifests}},
	"push blob":         {{http.MethodPost, uploads}, {http.MethodPut, uploads}},
}

// ofOperation returns the actions that an operation of ecrclient needs, by the
// name that its errors give it, none for one that is not known.
func ofOperation(op string) []string {
	switch op {
	case "authenticate":
		return []string{OfCall("ECR", "GetAuthorizationToken")}
	case "list images":
		return []string{OfCall("ECR", "DescribeImages")}
	}
	var actions []string
	for _, r := range operations[op] {
		actions = append(actions, requests[r]...)
	}
	return actions
}

// List is "a, b and c".
func List(actions []string) string {
	last := len(actions) - 1
	if last < 1 {
		return strings.Join(actions, "")
	}
	return strings.Join(actions[:last], ", ") + " and " + actions[last]
}

// OfRefusal returns the actions that a caller lacks after the registry refused
// an operation, none if they are not known or the refusal is not about
// permissions. 401 tells of credentials; but of those that ECR let read until
// then it shows a missing permission to push.
func OfRefusal(err error) []string {
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok || errors.Is(err, ecrclient.ErrNotRegistry) {
		return nil
	}
	if inner, ok := errors.AsType[*ecrclient.Error](e.Err); ok && inner.Op == "authenticate" {
		return ofOperation(inner.Op)
	}
	_, ofECR := e.ECRHost()
	push := ofECR && (e.Op == "push blob" || e.Op == "push manifest")
	if e.Op == "authenticate" || e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized && push {
		return ofOperation(e.Op)
	}
	return nil
}

// prefixes returns IAM's name of each service by the SDK's.
var prefixes = map[string]string{
	"CloudFormation":  "cloudformation",
	"CloudWatch":      "cloudwatch",
	"CloudWatch Logs": "logs",
	"EC2":             "ec2",
	"ECR":             "ecr",
	"EventBridge":     "events",
	"IAM":             "iam",
	"Lambda":          "lambda",
	"S3":              "s3",
	"SFN":             "states",
	"SQS":             "sqs",
	"STS":             "sts",
}

// others are the calls whose action has another name than their own.
// https://docs.aws.amazon.com/service-authorization/latest/reference/
var others = map[string]string{
	"ECR.ListImageReferrers":             "ecr:BatchGetImage",
	"Lambda.Invoke":                      "lambda:InvokeFunction",
	"S3.DeleteObjects":                   "s3:DeleteObjectVersion", // the program names the versions
	"S3.GetBucketEncryption":             "s3:GetEncryptionConfiguration",
	"S3.GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
	"S3.GetPublicAccessBlock":            "s3:GetBucketPublicAccessBlock",
	"S3.HeadBucket":                      "s3:ListBucket",
	"S3.HeadObject":                      "s3:GetObject",
	"S3.ListBuckets":                     "s3:ListAllMyBuckets",
	"S3.ListObjectVersions":              "s3:ListBucketVersions",
	"S3.ListObjectsV2":                   "s3:ListBucket",
	"S3.PutBucketEncryption":             "s3:PutEncryptionConfiguration",
	"S3.PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
	"S3.PutPublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
	"S3.CreateMultipartUpload":           "s3:PutObject",
	"S3.UploadPart":                      "s3:PutObject",
	"S3.CompleteMultipartUpload":         "s3:PutObject",
	"SQS.DeleteMessageBatch":             "sqs:DeleteMessage",
	"SQS.SendMessageBatch":               "sqs:SendMessage",
	"SQS.ChangeMessageVisibilityBatch":   "sqs:ChangeMessageVisibility",
}

// OfCall returns the action of a call by the SDK's names of service ("ECR") and
// operation ("DescribeImages"); it is empty for a service that is not known.
func OfCall(service, operation string) string {
	if action, ok := others[service+"."+operation]; ok {
		return action
	}
	if prefix, ok := prefixes[service]; ok && operation != "" {
		return prefix + ":" + operation
	}
	return ""
}

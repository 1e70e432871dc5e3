// Package iamtest tells what permissions requests to AWS need, action and
// resource, and whether policies grant them.
//
// Start with [OfRequest] and [Policies.Allow].
package iamtest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/permission/deployer"
	"soci-index-builder/internal/testkit/awstest"
)

// Need is an action on a resource, "*" for an action without resources.
type Need struct{ Action, Resource string }

func (n Need) String() string { return n.Action + " on " + n.Resource }

// OfRequest returns the permissions that a request needs; GetCallerIdentity needs
// none. An unknown request is an error.
func OfRequest(r awstest.Request) ([]Need, error) {
	service, operation := r.Call()
	if service == "STS" && operation == "GetCallerIdentity" {
		return nil, nil
	}
	action := permission.OfCall(service, operation)
	if action == "" {
		return nil, fmt.Errorf("no action of IAM is known for %s %s?%s", r.Service, r.Operation, r.Query)
	}
	resource, ok := resources[service]
	if !ok {
		return nil, fmt.Errorf("nothing is known of the resources of %s", service)
	}
	var needs []Need
	for _, arn := range resource(r, operation) {
		needs = append(needs, Need{action, arn})
	}
	if len(needs) == 0 {
		return nil, fmt.Errorf("no resource of %s %s is known: %.500s", r.Service, r.Operation, r.Body)
	}
	return needs, nil
}

// OfRegistry returns what a request to ECR's registry needs; path is that of
// its URL.
func OfRegistry(method, path string) ([]Need, error) {
	actions, err := permission.OfRequest(method, path)
	if err != nil || len(actions) == 0 {
		return nil, err
	}
	m := repositoryPath.FindStringSubmatch(path)
	if m == nil {
		return nil, fmt.Errorf("%s %s names no repository", method, path)
	}
	var needs []Need
	for _, a := range actions {
		needs = append(needs, Need{a, regional("ecr", "repository/"+m[1])})
	}
	return needs, nil
}

var repositoryPath = regexp.MustCompile(`^/v2/(.+)/(?:manifests|blobs|tags|referrers)/`)

// regional is the ARN of a resource of the account in the region.
func regional(service, resource string) string {
	return "arn:aws:" + service + ":" + awstest.Region + ":" + awstest.Account + ":" + resource
}

// resources returns for each service, by the SDK's name, the ARNs that a request
// is about.
var resources = map[string]func(r awstest.Request, operation string) []string{
	"CloudFormation":  stack,
	"CloudWatch":      alarms,
	"CloudWatch Logs": logGroup,
	"EC2":             func(awstest.Request, string) []string { return []string{"*"} }, // it is only read
	"ECR":             repository,
	"EventBridge": func(r awstest.Request, _ string) []string {
		return named(r, func(name string) string { return regional("events", "rule/"+name) }, "Name", "Rule")
	},
	"IAM": func(r awstest.Request, _ string) []string {
		if name := form(r).Get("RoleName"); name != "" {
			return []string{"arn:aws:iam::" + awstest.Account + ":role/" + name}
		}
		return nil
	},
	"Lambda": function,
	"S3":     bucket,
	"SFN": func(r awstest.Request, _ string) []string {
		return named(r, func(arn string) string { return arn }, "stateMachineArn", "executionArn")
	},
	"SQS": func(r awstest.Request, _ string) []string {
		return named(r, func(queue string) string {
			return regional("sqs", queue[strings.LastIndexByte(queue, '/')+1:])
		}, "QueueUrl")
	},
}

func form(r awstest.Request) url.Values {
	values, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil
	}
	return values
}

// named returns the ARN of what one of the fields of a JSON body names.
func named(r awstest.Request, arn func(string) string, fields ...string) []string {
	var body map[string]any
	if json.Unmarshal(r.Body, &body) != nil {
		return nil
	}
	for _, f := range fields {
		if name, ok := body[f].(string); ok && name != "" {
			return []string{arn(name)}
		}
	}
	return nil
}

// StackName returns the name of the stack that a request to CloudFormation is
// about, empty for all stacks.
func StackName(r awstest.Request) string {
	name := form(r).Get("StackName")
	if _, path, isARN := strings.Cut(name, ":stack/"); isARN {
		name, _, _ = strings.Cut(path, "/")
	}
	return name
}

func stack(r awstest.Request, operation string) []string {
	name := StackName(r)
	if name == "" && operation != "DescribeStacks" && operation != "ListStacks" {
		return nil
	}
	if name == "" {
		name = "*"
	}
	return []string{regional("cloudformation", "stack/"+name+"/*")}
}

func alarms(_ awstest.Request, operation string) []string {
	if operation == "DescribeAlarms" {
		return []string{regional("cloudwatch", "alarm:*")}
	}
	return []string{"*"}
}

func logGroup(r awstest.Request, operation string) []string {
	if operation == "DescribeLogGroups" {
		return []string{"*"}
	}
	return named(r, func(name string) string { return regional("logs", "log-group:"+name+":*") }, "logGroupName")
}

// withoutRepository are ECR's operations that know no resource.
var withoutRepository = map[string]bool{"GetAuthorizationToken": true, "GetAccountSetting": true,
	"GetSigningConfiguration": true, "ListPullTimeUpdateExclusions": true}

func repository(r awstest.Request, operation string) []string {
	if withoutRepository[operation] {
		return []string{"*"}
	}
	var body struct {
		RepositoryName  string   `json:"repositoryName"`
		RepositoryNames []string `json:"repositoryNames"`
		ResourceARN     string   `json:"resourceArn"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return nil
	}
	names := body.RepositoryNames
	switch {
	case body.ResourceARN != "":
		return []string{body.ResourceARN}
	case body.RepositoryName != "":
		names = []string{body.RepositoryName}
	case len(names) == 0 && operation == "DescribeRepositories":
		names = []string{"*"}
	}
	var arns []string
	for _, name := range names {
		arns = append(arns, regional("ecr", "repository/"+name))
	}
	return arns
}

func function(r awstest.Request, _ string) []string {
	_, rest, ok := strings.Cut(r.Operation, "/functions/")
	if !ok {
		return nil
	}
	name, _, _ := strings.Cut(rest, "/")
	if _, bare, isARN := strings.Cut(name, ":function:"); isARN {
		name = bare
	}
	return []string{regional("lambda", "function:"+name)}
}

func bucket(r awstest.Request, operation string) []string {
	name, key := r.Object()
	switch {
	case operation == "ListBuckets":
		return []string{"*"}
	case name == "":
		return nil
	case operation == "DeleteObjects":
		return deleted(name, r.Body)
	case key != "":
		return []string{"arn:aws:s3:::" + name + "/" + key}
	}
	return []string{"arn:aws:s3:::" + name}
}

var deletedKey = regexp.MustCompile(`<Key>([^<]+)</Key>`)

// deleted returns the objects that a request to delete several names.
func deleted(bucket string, body []byte) []string {
	var arns []string
	for _, m := range deletedKey.FindAllSubmatch(body, -1) {
		arns = append(arns, "arn:aws:s3:::"+bucket+"/"+string(m[1]))
	}
	return arns
}

// Policies are attached together.
type Policies []deployer.Document

// Allow reports whether one of the statements allows what is needed, once the
// placeholders have their values. Conditions hold in awstest's region; those on
// anything else do not.
func (p Policies) Allow(n Need, values map[string]string) bool {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "${"+name+"}", value)
	}
	fill := strings.NewReplacer(pairs...)
	for _, d := range p {
		for _, s := range d.Statement {
			if !slices.Contains(s.Action, n.Action) || !holds(s.Condition) {
				continue
			}
			for _, arn := range s.Resource {
				if match(fill.Replace(arn), n.Resource) {
					return true
				}
			}
		}
	}
	return false
}

func holds(conditions map[string]map[string]string) bool {
	for operator, keys := range conditions {
		for key, value := range keys {
			if key != "aws:RequestedRegion" || operator != "StringLike" || !match(value, awstest.Region) {
				return false
			}
		}
	}
	return true
}

// match compares as IAM does: * stands for any characters, ? for one.
func match(pattern, s string) bool {
	if strings.Contains(pattern, "${") {
		return false // a placeholder without a value
	}
	expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^(?s:" + expression + ")$").MatchString(s)
}

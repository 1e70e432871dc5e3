package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/permission"
)

// right is one action that a policy of the template allows or denies.
type right struct {
	who      string // logical id of the role, or the principal
	effect   string
	action   string
	resource string
	when     string // condition of the statement, within IAM and of the template
}

// statements takes the statements of a policy apart.
func statements(t *testing.T, who string, document any) []right {
	t.Helper()
	doc, _ := document.(map[string]any)
	if doc["Version"] != "2012-10-17" || len(doc) != 2 {
		t.Errorf("%s: the policy has %s", who, textOf(document))
	}
	list, ok := doc["Statement"].([]any)
	if !ok {
		t.Fatalf("%s: the policy has no list of statements: %s", who, textOf(document))
	}
	var rights []right
	for _, one := range list {
		statement, _ := one.(map[string]any)
		when := ""
		if branches, ok := statement["Fn::If"].([]any); ok {
			if len(branches) != 3 || textOf(branches[2]) != "nothing" {
				t.Fatalf("%s: %s is not a statement that may be left out", who, textOf(one))
			}
			when = textOf(branches[0])
			statement = branches[1].(map[string]any)
		}
		subject := who
		var actions, resources []string
		for name, value := range statement {
			switch name {
			case "Sid", "Effect":
			case "Principal":
				subject = textOf(value)
			case "Action":
				actions = listOf(value)
			case "Resource":
				resources = listOf(value)
			case "Condition":
				when = strings.Trim(when+" "+textOf(value), " ")
			default:
				t.Errorf("%s: a statement has %s: %s", who, name, textOf(value))
			}
		}
		if len(actions) == 0 {
			t.Errorf("%s: a statement without actions: %s", who, textOf(statement))
		}
		if resources == nil {
			resources = []string{""}
		}
		for _, action := range actions {
			for _, resource := range resources {
				rights = append(rights, right{subject, textOf(statement["Effect"]), action, resource, when})
			}
		}
	}
	return rights
}

// listOf is one text or a list of them.
func listOf(v any) []string {
	if list, ok := v.([]any); ok {
		return each(list)
	}
	return []string{textOf(v)}
}

// The permissions of each role. Nothing may be in the template that is not here.
var rolesRights = []struct {
	role, action, resource, when, why string
}{
	{"FilterRole", "lambda:InvokeFunction", "${GeneratorFunction.Arn}", "",
		"it passes on events to the generator, and to nothing else"},
	{"FilterRole", "sqs:SendMessage", "${FailureQueue.Arn}", "", "events that failed for good"},
	{"FilterRole", "logs:CreateLogStream", "${FilterLogGroup.Arn}", "",
		"its log; the ARN of a log group ends with :*, which is its streams"},
	{"FilterRole", "logs:PutLogEvents", "${FilterLogGroup.Arn}", "", "its log"},

	{"GeneratorRole", "ecr:GetAuthorizationToken", "*", "", "the action knows no resource"},
	{"GeneratorRole", "ecr:BatchGetImage", "${Repositories.RepositoryArns}", "", "reads manifests and referrers"},
	{"GeneratorRole", "ecr:GetDownloadUrlForLayer", "${Repositories.RepositoryArns}", "", "reads layers"},
	{"GeneratorRole", "ecr:BatchCheckLayerAvailability", "${Repositories.RepositoryArns}", "",
		"looks whether a blob is there"},
	{"GeneratorRole", "ecr:InitiateLayerUpload", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"GeneratorRole", "ecr:UploadLayerPart", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"GeneratorRole", "ecr:CompleteLayerUpload", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"GeneratorRole", "ecr:PutImage", "${Repositories.RepositoryArns}", "",
		"pushes SOCI indexes and SOCI-enabled images"},
	{"GeneratorRole", "ecr:DescribeImages", "${Repositories.RepositoryArns}", "", "finds earlier zTOCs"},
	{"GeneratorRole", "events:PutEvents",
		"arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBusName}", "EventBus",
		"announces SOCI indexes"},
	{"GeneratorRole", "sqs:SendMessage", "${FailureQueue.Arn}", "", "events that failed for good"},
	{"GeneratorRole", "logs:CreateLogStream", "${GeneratorLogGroup.Arn}", "", "its log"},
	{"GeneratorRole", "logs:PutLogEvents", "${GeneratorLogGroup.Arn}", "", "its log"},

	{"GeneratorRole", "states:StartExecution", "${SociLargeImages}", "", "hands large images over"},
	{"GeneratorRole", "states:DescribeExecution",
		"arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${SociLargeImages.Name}:*", "",
		"finds out whether an execution works on the same event"},

	{"StepsRole", "ecr:GetAuthorizationToken", "*", "", "the action knows no resource"},
	{"StepsRole", "ecr:BatchGetImage", "${Repositories.RepositoryArns}", "", "reads manifests and referrers"},
	{"StepsRole", "ecr:GetDownloadUrlForLayer", "${Repositories.RepositoryArns}", "", "reads layers"},
	{"StepsRole", "ecr:BatchCheckLayerAvailability", "${Repositories.RepositoryArns}", "",
		"looks whether a blob is there"},
	{"StepsRole", "ecr:InitiateLayerUpload", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"StepsRole", "ecr:UploadLayerPart", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"StepsRole", "ecr:CompleteLayerUpload", "${Repositories.RepositoryArns}", "", "pushes zTOCs"},
	{"StepsRole", "ecr:PutImage", "${Repositories.RepositoryArns}", "", "pushes SOCI indexes and SOCI-enabled images"},
	{"StepsRole", "ecr:DescribeImages", "${Repositories.RepositoryArns}", "", "finds earlier zTOCs"},
	{"StepsRole", "events:PutEvents",
		"arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBusName}", "EventBus",
		"announces SOCI indexes"},
	{"StepsRole", "sqs:SendMessage", "${FailureQueue.Arn}", "", "events that failed for good"},
	{"StepsRole", "logs:CreateLogStream", "${StepsLogGroup.Arn}", "", "its log"},
	{"StepsRole", "logs:PutLogEvents", "${StepsLogGroup.Arn}", "", "its log"},

	{"GeneratorRole", "signer:SignPayload", "split([,, ${SigningProfileArns}])", "Signing",
		"ECR signs what it pushes, on exactly these"},
	{"StepsRole", "signer:SignPayload", "split([,, ${SigningProfileArns}])", "Signing", "the same"},

	{"MachineRole", "lambda:InvokeFunction", "${StepsFunction.Arn}", "", "does its steps, and invokes nothing else"},

	{"RepositoryNameRole", "logs:CreateLogStream", "${RepositoryNameLogGroup.Arn}", "", "its log"},
	{"RepositoryNameRole", "logs:PutLogEvents", "${RepositoryNameLogGroup.Arn}", "", "its log"},
}

// functionOf is whose role it is, as package permission names it.
var functionOf = map[string]string{"FilterRole": "filter", "GeneratorRole": "indexgen", "StepsRole": "steps",
	"RepositoryNameRole": "reponame"}

// networkActions are what Lambda needs to connect a function to subnets: each of
// these roles has them only with subnets, and the function's code cannot use
// them.
var (
	networkActions = []string{"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
		"ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"}
	inNetwork = []string{"FilterRole", "GeneratorRole", "StepsRole"}
)

const networkWhen = "VPC {Null: {lambda:SourceFunctionArn: true}}"

// Each role has exactly the permissions of the list, action by action and resource
// by resource.
func TestRolesRights(t *testing.T) {
	tmpl := synth(t)
	var got []right
	for id, r := range tmpl.Resources {
		switch r.Type {
		case "AWS::IAM::Role":
			service := "lambda.amazonaws.com"
			if id == "MachineRole" {
				service = "states.amazonaws.com"
			} else if functionOf[id] == "" {
				t.Errorf("the role %s is not known", id)
			}
			if _, ok := r.Properties["ManagedPolicyArns"]; ok {
				t.Errorf("%s: a policy that others manage", id)
			}
			for _, p := range r.Properties["Policies"].([]any) {
				got = append(got, statements(t, id, p.(map[string]any)["PolicyDocument"])...)
			}
			trust := statements(t, id, r.Properties["AssumeRolePolicyDocument"])
			if want := (right{"{Service: " + service + "}", "Allow", "sts:AssumeRole", "", ""}); len(trust) != 1 ||
				trust[0] != want {
				t.Errorf("%s is assumed by %+v, want %+v", id, trust, want)
			}
		case "AWS::IAM::RolePolicy":
			role := strings.Trim(textOf(r.Properties["RoleName"]), "${}")
			got = append(got, statements(t, role, r.Properties["PolicyDocument"])...)
		default:
			if strings.HasPrefix(r.Type, "AWS::IAM::") {
				t.Errorf("%s: a %s is not looked into", id, r.Type)
			}
		}
	}
	var want []right
	for _, row := range rolesRights {
		want = append(want, right{row.role, "Allow", row.action, row.resource, row.when})
		if row.why == "" {
			t.Errorf("%s: nobody knows why it has %s", row.role, row.action)
		}
		if row.resource == "*" && row.action != "ecr:GetAuthorizationToken" {
			t.Errorf("%s has %s on everything", row.role, row.action)
		}
	}
	for _, role := range inNetwork {
		for _, action := range networkActions {
			want = append(want, right{role, "Allow", action, "*", networkWhen})
		}
	}
	compareRights(t, got, want)
}

// Where the functions are images, the generator and the steps must not write
// where these are, and nothing else is denied.
func TestDenied(t *testing.T) {
	var got, want []right
	for id, r := range synthImages(t).Resources {
		if r.Type == "AWS::IAM::RolePolicy" {
			got = append(got, statements(t, strings.Trim(textOf(r.Properties["RoleName"]), "${}"),
				r.Properties["PolicyDocument"])...)
		}
		if r.Type == "AWS::IAM::Role" {
			for _, p := range r.Properties["Policies"].([]any) {
				got = append(got, statements(t, id, p.(map[string]any)["PolicyDocument"])...)
			}
		}
	}
	got = slices.DeleteFunc(got, func(r right) bool { return r.effect == "Allow" })
	for role, function := range functionOf {
		for _, need := range permission.Denied[function] {
			want = append(want, right{role, "Deny", need.Action, "${ImageRepositories.OwnArns}", ""})
		}
	}
	if len(want) != 4 {
		t.Errorf("denied are %v", want)
	}
	compareRights(t, got, want)
}

func compareRights(t *testing.T, got, want []right) {
	t.Helper()
	for _, r := range got {
		if !slices.Contains(want, r) {
			t.Errorf("not on the list: %+v", r)
		}
	}
	for _, r := range want {
		if !slices.Contains(got, r) {
			t.Errorf("not in the template: %+v", r)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the template has %d rights, the list %d", len(got), len(want))
	}
}

// The list has just what the functions use: package lambdas holds
// permission.Functions against all that their code asks for.
func TestRolesRightsAreUsed(t *testing.T) {
	for role, function := range functionOf {
		var listed, used []string
		for _, row := range rolesRights {
			if row.role == role {
				listed = append(listed, row.action)
			}
		}
		if slices.Contains(inNetwork, role) {
			listed = append(listed, networkActions...)
		}
		for _, need := range permission.Functions[function] {
			used = append(used, need.Action)
		}
		slices.Sort(listed)
		slices.Sort(used)
		if !slices.Equal(listed, used) {
			t.Errorf("%s has %q, the function %s uses %q", role, listed, function, used)
		}
	}
	if len(functionOf) != len(permission.Functions) {
		t.Errorf("%d roles for %d functions", len(functionOf), len(permission.Functions))
	}
}

// The resource policies grant others exactly these permissions.
func TestResourcePolicies(t *testing.T) {
	tmpl := synth(t)
	var got []right
	for id, r := range tmpl.Resources {
		switch r.Type {
		case "AWS::SQS::QueuePolicy":
			if queues := textOf(r.Properties["Queues"]); queues != "[${FailureQueue}]" {
				t.Errorf("%s is of %s", id, queues)
			}
			got = append(got, statements(t, id, r.Properties["PolicyDocument"])...)
		case "AWS::Lambda::Permission":
			if len(r.Properties) != 4 {
				t.Errorf("%s: %s", id, textOf(r.Properties))
			}
			got = append(got, right{r.at("Principal"), "Allow", r.at("Action"), r.at("FunctionName"),
				strings.Trim(r.Condition+" "+r.at("SourceArn"), " ")})
		}
	}
	rules := "[${PushRule.Arn}, if(Replicated, ${ReplicationRule.Arn}, nothing), if(Cached, " +
		"${PullThroughCacheRule.Arn}, nothing), ${ExecutionRule.Arn}]"
	compareRights(t, got, []right{
		{"*", "Deny", "sqs:*", "${FailureQueue.Arn}", "{Bool: {aws:SecureTransport: false}}"},
		{"{Service: events.amazonaws.com}", "Allow", "sqs:SendMessage", "${FailureQueue.Arn}",
			fmt.Sprintf("{ArnEquals: {aws:SourceArn: %s}}", rules)},
		{"events.amazonaws.com", "Allow", "lambda:InvokeFunction", "${FilterFunction}", "${PushRule.Arn}"},
		{"events.amazonaws.com", "Allow", "lambda:InvokeFunction", "${FilterFunction}",
			"Replicated ${ReplicationRule.Arn}"},
		{"events.amazonaws.com", "Allow", "lambda:InvokeFunction", "${FilterFunction}",
			"Cached ${PullThroughCacheRule.Arn}"},
	})
}

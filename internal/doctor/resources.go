package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/function/contract"
)

// The types of resources that are looked at.
const (
	typeRule       = "AWS::Events::Rule"
	typePermission = "AWS::Lambda::Permission"
	typeFunction   = "AWS::Lambda::Function"
	typeAsync      = "AWS::Lambda::EventInvokeConfig"
	typeRole       = "AWS::IAM::Role"
	typeRolePolicy = "AWS::IAM::RolePolicy"
	typeLogGroup   = "AWS::Logs::LogGroup"
	typeQueue      = "AWS::SQS::Queue"
	typeMachine    = "AWS::StepFunctions::StateMachine"
	typeAlarm      = "AWS::CloudWatch::Alarm"
	typeARNs       = contract.ResourceType
)

// resource is one of the stack, with what the template makes of it.
type resource struct {
	id       string // logical
	kind     string
	physical string
	want     properties
}

// properties are those of a resource, or a part of them.
type properties map[string]any

// at returns the value at the end of a path, nil if there is none.
func (p properties) at(path ...string) any {
	var v any = map[string]any(p)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// text returns the value at a path as a string; empty if there is none, or it could
// not be worked out.
func (p properties) text(path ...string) string { return scalar(p.at(path...)) }

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// number returns the value at a path as a number, for a property that is one.
func (p properties) number(path ...string) (n int, ok bool) {
	n, err := strconv.Atoi(p.text(path...))
	return n, err == nil
}

// list returns the objects of a list.
func (p properties) list(path ...string) []properties {
	v, _ := p.at(path...).([]any)
	var out []properties
	for _, one := range v {
		if m, ok := one.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// of returns the resources of a type, by their logical ids.
func (x *examination) of(kind string) []resource {
	return slices.DeleteFunc(slices.Clone(x.resources), func(r resource) bool { return r.kind != kind })
}

// readResources asks CloudFormation what the stack is made of, and finds out
// what each resource should be like.
func (x *examination) readResources(ctx context.Context) ([]Finding, error) {
	var found []Finding
	fail := func(err error) ([]Finding, error) {
		f := notChecked(CheckResources, err)
		f.Found += "; rules, functions, the state machine, roles, log groups, queue and alarms were not looked at"
		return append(found, f), err
	}
	physical := map[string]types.StackResourceSummary{}
	pages := cloudformation.NewListStackResourcesPaginator(x.cloudformation,
		&cloudformation.ListStackResourcesInput{StackName: &x.stack.ID})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return fail(fmt.Errorf("listing the stack's resources: %w", err))
		}
		for _, r := range out.StackResourceSummaries {
			physical[aws.ToString(r.LogicalResourceId)] = r
		}
	}
	out, err := x.cloudformation.GetTemplate(ctx,
		&cloudformation.GetTemplateInput{StackName: &x.stack.ID, TemplateStage: types.TemplateStageProcessed})
	if err != nil {
		return fail(fmt.Errorf("reading the stack's template: %w", err))
	}
	template, err := cfntemplate.Parse([]byte(aws.ToString(out.TemplateBody)))
	if err != nil {
		return fail(err)
	}
	s := x.stack
	want, err := template.Resolve(cfntemplate.Values{
		Parameters: s.Parameters, StackName: s.Name, StackID: s.ID, Region: s.Region, Account: s.Account,
		Partition: s.Partition,
		Attribute: func(id, name string) (any, bool) {
			r := physical[id]
			return x.attribute(aws.ToString(r.ResourceType), aws.ToString(r.PhysicalResourceId), name)
		},
	})
	if err != nil {
		return fail(fmt.Errorf("reading the stack's template: %w", err))
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		r, ok := physical[id]
		status := string(r.ResourceStatus)
		if !ok || aws.ToString(r.PhysicalResourceId) == "" || strings.HasSuffix(status, "_FAILED") ||
			strings.HasPrefix(status, "DELETE_") {
			if status == "" {
				status = "not made"
			}
			found = append(found, Finding{CheckResources, Problem, id,
				fmt.Sprintf("%s is %s", want[id].Type, status),
				"look at the stack's events, then update the stack: aws cloudformation describe-stack-events " +
					"--stack-name " +
					s.Name + x.region()})
			continue
		}
		x.resources = append(x.resources,
			resource{id: id, kind: want[id].Type, physical: aws.ToString(r.PhysicalResourceId),
				want: want[id].Properties})
	}
	return wellOr(found, CheckResources, "%d resources are there", len(x.resources)), nil
}

// attribute works out what Ref ("" for a name) and GetAtt give of a resource.
func (x *examination) attribute(kind, physical, name string) (any, bool) {
	if physical == "" {
		return nil, false
	}
	arn := func(service, rest string) (any, bool) {
		return "arn:" + x.stack.Partition + ":" + service + ":" + x.stack.Region + ":" + x.stack.Account + ":" + rest,
			true
	}
	switch kind + " " + name {
	case typeRule + " Arn":
		return arn("events", "rule/"+strings.ReplaceAll(physical, "|", "/"))
	case typeFunction + " Arn":
		return arn("lambda", "function:"+physical)
	case typeLogGroup + " Arn":
		return arn("logs", "log-group:"+physical+":*")
	case typeAlarm + " Arn":
		return arn("cloudwatch", "alarm:"+physical)
	case typeQueue + " Arn":
		return arn("sqs", queueName(physical))
	case typeQueue + " QueueName":
		return queueName(physical), true
	case typeMachine + " Name": // Ref is the ARN
		return physical[strings.LastIndexByte(physical, ':')+1:], true
	case typeRole + " Arn":
		return x.roleARN(physical), true
	case typeARNs + " " + contract.AttrARNs:
		var list []any
		for _, one := range x.stack.Filters.RepositoryARNs(x.stack.Partition, x.stack.Region, x.stack.Account) {
			list = append(list, one)
		}
		return list, true
	case typeARNs + " " + contract.AttrOwnNames:
		return strings.Join(x.stack.OwnRepositories(), ","), true
	case typeARNs + " " + contract.AttrOwnARNs:
		var list []any
		for _, one := range x.stack.OwnRepositories() {
			list = append(list, "arn:"+x.stack.Partition+":ecr:"+x.stack.Region+":"+x.stack.Account+":repository/"+one)
		}
		return list, true
	}
	if name == "" {
		return physical, true
	}
	return nil, false
}

// roleARN of a role of the stack, none of which has a path.
func (x *examination) roleARN(name string) string {
	return "arn:" + x.stack.Partition + ":iam::" + x.stack.Account + ":role/" + name
}

// queueName is the last part of a queue's URL.
func queueName(queueURL string) string {
	u, err := url.Parse(queueURL)
	if err != nil {
		return ""
	}
	return u.Path[strings.LastIndexByte(u.Path, '/')+1:]
}

// deleted is the finding for a resource that was deleted by hand.
func (x *examination) deleted(c Check, s Severity, name string) Finding {
	return Finding{c, s, name, "was deleted by hand",
		"delete the stack and deploy it again (docs/deploy.md): an update does not bring it back"}
}

// byHand is the fix for a resource that was changed by hand, if no single
// command restores it.
const byHand = "set it back, or make it the stack's parameter: an update of the stack leaves it as it is now"

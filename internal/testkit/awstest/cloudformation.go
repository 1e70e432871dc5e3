package awstest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
)

// Stack is one that CloudFormation has.
type Stack struct {
	Name, Status              string
	Parameters, Outputs, Tags map[string]string

	Template  string // as it was deployed
	Resources []StackResource
}

// StackResource is a resource of a stack.
type StackResource struct {
	LogicalID, PhysicalID, Type string
	Status                      string // the default is CREATE_COMPLETE
}

// ID is the stack's ARN.
func (s *Stack) ID() string {
	return "arn:aws:cloudformation:" + Region + ":" + Account + ":stack/" + s.Name +
		"/51af3dc0-da77-11e4-872e-1234567db123"
}

// NewStack is a stack of this project as it is after its creation with the
// default parameters.
func NewStack(name string) *Stack {
	function := func(id string) string { return name + "-" + id }
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + Region + ":" + Account + ":" + rest
	}
	return &Stack{
		Name: name, Status: "CREATE_COMPLETE",
		Parameters: map[string]string{
			deployed.ParamFilters:              "*:*",
			deployed.ParamIndexVersion:         "Both",
			deployed.ParamTagSuffix:            names.DefaultTagSuffix,
			deployed.ParamTagUnindexed:         "true",
			deployed.ParamMinLayerSizeMiB:      "10",
			deployed.ParamIndexUntagged:        "false",
			deployed.ParamIndexReplicated:      "false",
			deployed.ParamIndexPullThrough:     "false",
			deployed.ParamGeneratorMemorySize:  "1769",
			deployed.ParamGeneratorConcurrency: "0",
			deployed.ParamLogRetentionDays:     "30",
			deployed.ParamLogLevel:             "INFO",
			deployed.ParamPermissionsBoundary:  "",
			deployed.ParamAlarmTopic:           "",
			deployed.ParamEventBus:             "default",
		},
		Outputs: map[string]string{
			deployed.OutFilterFunctionName:     function("Filter"),
			deployed.OutFilterFunctionARN:      arn("lambda", "function:"+function("Filter")),
			deployed.OutGeneratorFunctionName:  function("Generator"),
			deployed.OutGeneratorFunctionARN:   arn("lambda", "function:"+function("Generator")),
			deployed.OutRepositoryFunctionName: function("RepositoryName"),
			deployed.OutFilterLogGroup:         "/aws/lambda/" + name + "-ECRImageActionEventFilteringLambda",
			deployed.OutGeneratorLogGroup:      "/aws/lambda/" + name + "-SociIndexGeneratorLambda",
			deployed.OutRepositoryLogGroup:     "/aws/lambda/" + name + "-RepositoryNameParsingLambda",
			deployed.OutFailureQueueURL: "https://sqs." + Region + ".amazonaws.com/" + Account + "/" + name +
				"-FailureQueue",
			deployed.OutFailureQueueARN:   arn("sqs", name+"-FailureQueue"),
			deployed.OutRuleName:          name + "-PushRule",
			deployed.OutGeneratorRoleName: name + "-GeneratorRole",
			deployed.OutDashboardURL: "https://" + Region +
				".console.aws.amazon.com/cloudwatch/home#dashboards/dashboard/" + name,
			deployed.OutTailFilterLogs: "aws logs tail /aws/lambda/" + name +
				"-ECRImageActionEventFilteringLambda --follow --region " + Region,
			deployed.OutTailGeneratorLogs: "aws logs tail /aws/lambda/" + name +
				"-SociIndexGeneratorLambda --follow --region " + Region,
			deployed.OutVersion: "1.0.0",
		},
		Tags: map[string]string{},
	}
}

// CloudFormation has stacks. It answers DescribeStacks, of all of them in
// pages, ListStackResources in pages, and GetTemplate.
type CloudFormation struct {
	PageSize int // stacks or resources in a page; 0 is 100

	mu     sync.Mutex
	stacks []*Stack
	h      http.Handler
}

// NewCloudFormation is for Server.Handle("cloudformation", ...). What the test
// changes in a stack between two requests shows in the second one.
func NewCloudFormation(stacks ...*Stack) *CloudFormation {
	c := &CloudFormation{stacks: stacks}
	c.h = Query(map[string]func(url.Values) (string, error){
		"DescribeStacks": c.describe, "GetTemplate": c.template, "ListStackResources": c.resources,
	})
	return c
}

// Add deploys another stack.
func (c *CloudFormation) Add(s *Stack) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stacks = append(c.stacks, s)
}

func (c *CloudFormation) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.h.ServeHTTP(w, r) }

func (c *CloudFormation) describe(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if form.Get("StackName") != "" {
		s, err := c.find(form)
		if err != nil {
			return "", err
		}
		return "<Stacks>" + s.xml() + "</Stacks>", nil
	}
	return pageXML("Stacks", c.stacks, c.PageSize, form.Get("NextToken"), (*Stack).xml), nil
}

// find returns the stack of a request by name, or by id also when it was
// deleted.
func (c *CloudFormation) find(form url.Values) (*Stack, error) {
	name := form.Get("StackName")
	for _, s := range c.stacks {
		if s.Name == name && s.Status != "DELETE_COMPLETE" || s.ID() == name {
			return s, nil
		}
	}
	return nil, &Error{Status: http.StatusBadRequest, Code: "ValidationError",
		Message: "Stack with id " + name + " does not exist"}
}

func (c *CloudFormation) template(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	return "<TemplateBody>" + escape(s.Template) + "</TemplateBody>", nil
}

func (c *CloudFormation) resources(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	return pageXML("StackResourceSummaries", s.Resources, c.PageSize, form.Get("NextToken"), StackResource.xml), nil
}

func (r StackResource) xml() string {
	status := r.Status
	if status == "" {
		status = "CREATE_COMPLETE"
	}
	return fmt.Sprintf("<member><LogicalResourceId>%s</LogicalResourceId><PhysicalResourceId>%s</PhysicalResourceId><ResourceType>%s</ResourceType>"+
		"<ResourceStatus>%s</ResourceStatus><LastUpdatedTimestamp>2026-01-02T03:04:05Z</LastUpdatedTimestamp></member>",
		escape(r.LogicalID), escape(r.PhysicalID), escape(r.Type), escape(status))
}

// pageXML writes one page of a list.
func pageXML[T any](name string, list []T, size int, token string, write func(T) string) string {
	if size == 0 {
		size = 100
	}
	first, _ := strconv.Atoi(token)
	last := min(first+size, len(list))
	var b strings.Builder
	b.WriteString("<" + name + ">")
	for _, one := range list[first:last] {
		b.WriteString(write(one))
	}
	b.WriteString("</" + name + ">")
	if last < len(list) {
		fmt.Fprintf(&b, "<NextToken>%d</NextToken>", last)
	}
	return b.String()
}

func (s *Stack) xml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<member><StackName>%s</StackName><StackId>%s</StackId><StackStatus>%s</StackStatus><CreationTime>2026-01-02T03:04:05Z</CreationTime>",
		escape(s.Name), escape(s.ID()), escape(s.Status))
	members(&b, "Parameters", "ParameterKey", "ParameterValue", s.Parameters)
	members(&b, "Outputs", "OutputKey", "OutputValue", s.Outputs)
	members(&b, "Tags", "Key", "Value", s.Tags)
	b.WriteString("</member>")
	return b.String()
}

func members(b *strings.Builder, list, key, value string, of map[string]string) {
	fmt.Fprintf(b, "<%s>", list)
	for _, k := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(b, "<member><%[1]s>%[2]s</%[1]s><%[3]s>%[4]s</%[3]s></member>", key, escape(k), value, escape(of[k]))
	}
	fmt.Fprintf(b, "</%s>", list)
}

// STS answers GetCallerIdentity. Every Server has it from its start on.
func STS() http.Handler {
	return Query(map[string]func(url.Values) (string, error){
		"GetCallerIdentity": func(url.Values) (string, error) {
			return "<Arn>arn:aws:sts::" + Account +
				":assumed-role/operator/session</Arn><UserId>AROAEXAMPLE:session</UserId><Account>" + Account + "</Account>", nil
		},
	})
}

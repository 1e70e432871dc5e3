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

	Reason           string // of the status
	RoleARN          string // that CloudFormation works with
	NotificationARNs []string
	Protected        bool   // from termination
	ParentID         string // of a nested stack

	made    int            // how many stacks of this name there were before
	renewed map[string]int // how often a resource was replaced, by logical id
	half    *halfway       // after an update that failed and was not rolled back
}

// StackResource is a resource of a stack.
type StackResource struct {
	LogicalID, PhysicalID, Type string
	Status                      string // the default is CREATE_COMPLETE
}

// ID is the stack's ARN. Each stack of a name has its own.
func (s *Stack) ID() string {
	return fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/51af3dc0-da77-11e4-872e-1234567db%03d", Region, Account,
		s.Name, 123+s.made)
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
			deployed.ParamPrefetch:             "false",
			deployed.ParamMinLayerSizeMiB:      "10",
			deployed.ParamIndexUntagged:        "false",
			deployed.ParamIndexReplicated:      "false",
			deployed.ParamIndexPullThrough:     "false",
			deployed.ParamGeneratorMemorySize:  "1769",
			deployed.ParamGeneratorConcurrency: "0",
			deployed.ParamFanOutFromGiB:        "8",
			deployed.ParamFanOutConcurrency:    "20",
			deployed.ParamStepsMemorySize:      "3008",
			deployed.ParamPlatforms:            "linux",
			deployed.ParamSubnets:              "",
			deployed.ParamSecurityGroups:       "",
			deployed.ParamSigningProfiles:      "",
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
			deployed.OutStepsFunctionARN:       arn("lambda", "function:"+function("Steps")),
			deployed.OutStepsLogGroup:          "/aws/lambda/" + name + "-SociIndexStepsLambda",
			deployed.OutStateMachineARN:        arn("states", "stateMachine:"+deployed.MachineID),
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

// CloudFormation has stacks, makes and executes change sets, and tells of what
// happens in events. What is left in its exported fields is read with each
// request.
type CloudFormation struct {
	PageSize int // stacks, resources, changes or events in a page; 0 is 100

	// NoChanges is the reason of a change set without changes; empty is the
	// first of EmptyReasons.
	NoChanges string

	// Older is a partition without DescribeEvents and without the values of
	// properties in change sets.
	Older bool

	// Pace is how many events of an execution happen with each request that asks
	// for events or for the stack; 0 is 8.
	Pace int

	// Settled is called when an execution has ended, within a request. It must not
	// ask this CloudFormation.
	Settled func(*Stack)

	mu         sync.Mutex
	stacks     []*Stack
	changeSets []*changeSet
	events     map[string][]StackEvent // by the stack's id, the oldest first
	executions map[string]*execution   // by the stack's id
	faults     map[string][]string     // reasons by "stack/logical id/what"
	held       map[string]bool         // stacks in which nothing happens
	tokens     map[string]bool         // that were given with a request
	ticks      int
	h          http.Handler
}

// NewCloudFormation is for Server.Handle("cloudformation", ...). What the test
// changes in a stack between two requests shows in the second one.
func NewCloudFormation(stacks ...*Stack) *CloudFormation {
	c := &CloudFormation{
		stacks: stacks, events: map[string][]StackEvent{}, executions: map[string]*execution{},
		faults: map[string][]string{}, held: map[string]bool{}, tokens: map[string]bool{},
	}
	c.h = Query(map[string]func(url.Values) (string, error){
		"DescribeStacks": c.describe, "GetTemplate": c.template, "ListStackResources": c.resources,
		"CreateChangeSet": c.createChangeSet, "DescribeChangeSet": c.describeChangeSet,
		"DeleteChangeSet": c.deleteChangeSet, "ListChangeSets": c.listChangeSets,
		"ExecuteChangeSet":    c.executeChangeSet,
		"DescribeStackEvents": c.describeStackEvents, "DescribeEvents": c.describeEvents,
		"CancelUpdateStack": c.cancelUpdate, "ContinueUpdateRollback": c.continueRollback, "DeleteStack": c.deleteStack,
		"UpdateTerminationProtection": c.protect,
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
		c.advance(s)
		if s, err = c.find(form); err != nil { // deleted just now
			return "", err
		}
		return "<Stacks>" + s.xml() + "</Stacks>", nil
	}
	living := slices.DeleteFunc(slices.Clone(c.stacks), func(s *Stack) bool { return s.Status == deleted })
	return pageXML("Stacks", living, c.PageSize, form.Get("NextToken"), (*Stack).xml), nil
}

// find returns the stack of a request by name, or by id also when it was
// deleted.
func (c *CloudFormation) find(form url.Values) (*Stack, error) {
	name := form.Get("StackName")
	for _, s := range c.stacks {
		if s.Name == name && s.Status != deleted || s.ID() == name {
			return s, nil
		}
	}
	return nil, &Error{Status: http.StatusBadRequest, Code: "ValidationError",
		Message: "Stack with id " + name + " does not exist"}
}

func (c *CloudFormation) template(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if form.Get("ChangeSetName") != "" {
		set, err := c.findChangeSet(form)
		if err != nil {
			return "", err
		}
		return "<TemplateBody>" + escape(set.template) + "</TemplateBody>", nil
	}
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	if s.Status == inReview {
		return "", invalid("Stack with id %s has no template", s.Name)
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
	return fmt.Sprintf("<member><LogicalResourceId>%s</LogicalResourceId>"+
		"<PhysicalResourceId>%s</PhysicalResourceId><ResourceType>%s</ResourceType>"+
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
	fmt.Fprintf(&b, "<member><StackName>%s</StackName><StackId>%s</StackId><StackStatus>%s</StackStatus>"+
		"<CreationTime>2026-01-02T03:04:05Z</CreationTime>",
		escape(s.Name), escape(s.ID()), escape(s.Status))
	members(&b, "Parameters", "ParameterKey", "ParameterValue", s.Parameters)
	members(&b, "Outputs", "OutputKey", "OutputValue", s.Outputs)
	members(&b, "Tags", "Key", "Value", s.Tags)
	texts(&b, "NotificationARNs", s.NotificationARNs)
	for _, one := range [][2]string{{"StackStatusReason", s.Reason}, {"RoleARN", s.RoleARN}, {"ParentId", s.ParentID}} {
		if one[1] != "" {
			fmt.Fprintf(&b, "<%[1]s>%[2]s</%[1]s>", one[0], escape(one[1]))
		}
	}
	fmt.Fprintf(&b, "<EnableTerminationProtection>%t</EnableTerminationProtection></member>", s.Protected)
	return b.String()
}

func texts(b *strings.Builder, list string, of []string) {
	fmt.Fprintf(b, "<%s>", list)
	for _, one := range of {
		fmt.Fprintf(b, "<member>%s</member>", escape(one))
	}
	fmt.Fprintf(b, "</%s>", list)
}

func members(b *strings.Builder, list, key, value string, of map[string]string) {
	fmt.Fprintf(b, "<%s>", list)
	for _, k := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(b, "<member><%[1]s>%[2]s</%[1]s><%[3]s>%[4]s</%[3]s></member>", key, escape(k), value,
			escape(of[k]))
	}
	fmt.Fprintf(b, "</%s>", list)
}

// STS answers GetCallerIdentity. Every Server has it from its start on.
func STS() http.Handler {
	return Query(map[string]func(url.Values) (string, error){
		"GetCallerIdentity": func(url.Values) (string, error) {
			return "<Arn>arn:aws:sts::" + Account +
				":assumed-role/operator/session</Arn><UserId>AROAEXAMPLE:session</UserId><Account>" + Account +
				"</Account>", nil
		},
	})
}

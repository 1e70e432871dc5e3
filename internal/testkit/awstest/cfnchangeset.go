package awstest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// EmptyReasons are the wordings in which CloudFormation says that a change set
// has no changes.
var EmptyReasons = []string{
	"The submitted information didn't contain changes. Submit different information to create a change set.",
	"No updates are to be performed.",
}

// maxTemplate is what a template that travels in the request can have, in
// bytes.
const maxTemplate = 51200

// changeSet is one that was made and neither executed nor deleted.
type changeSet struct {
	stack            *Stack
	name, token      string
	template         string
	parameters, tags map[string]string
	given            []parameter // as they were in the request
	role             string
	notify           []string
	capabilities     []string

	status, reason, execution string
	changes                   []change
	described                 int
}

type parameter struct {
	key, value string
	previous   bool
}

func (s *changeSet) id() string {
	return "arn:aws:cloudformation:" + Region + ":" + Account + ":changeSet/" + s.name +
		"/12a3b456-0e10-4ce0-9052-5d484a8c4e5b"
}

func invalid(format string, v ...any) error {
	return &Error{Status: http.StatusBadRequest, Code: "ValidationError", Message: fmt.Sprintf(format, v...)}
}

// list reads a list of a form of the query protocol: the value of a field of
// each member, or the members themselves when field is empty.
func list(form url.Values, name, field string) []string {
	var all []string
	for i := 1; ; i++ {
		key := name + ".member." + strconv.Itoa(i)
		there := false
		for other := range form {
			there = there || other == key || strings.HasPrefix(other, key+".")
		}
		if !there {
			return all
		}
		if field != "" {
			key += "." + field
		}
		all = append(all, form.Get(key))
	}
}

func (c *CloudFormation) createChangeSet(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, token := form.Get("ChangeSetName"), form.Get("ClientToken")
	for _, set := range c.changeSets {
		if set.name != name || set.stack.Name != form.Get("StackName") && set.stack.ID() != form.Get("StackName") {
			continue
		}
		if token == "" || set.token != token {
			return "", &Error{Status: http.StatusBadRequest, Code: "AlreadyExistsException",
				Message: "ChangeSet " + set.id() + " already exists"}
		}
		return set.answer(), nil
	}
	body := form.Get("TemplateBody")
	if len(body) > maxTemplate {
		return "", invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", maxTemplate)
	}
	s, err := c.stackFor(form)
	if err != nil {
		return "", err
	}
	set := &changeSet{stack: s, name: name, token: token, template: body, role: form.Get("RoleARN"),
		notify: list(form, "NotificationARNs", ""), capabilities: list(form, "Capabilities", ""),
		status: "CREATE_IN_PROGRESS", execution: "UNAVAILABLE", tags: map[string]string{}}
	template, err := cfntemplate.Parse([]byte(body))
	if err != nil {
		return "", invalid("Template format error: JSON not well-formed.")
	}
	if len(template.Resources) == 0 {
		return "", invalid("Template format error: At least one Resources member must be defined.")
	}
	if err := set.takeParameters(form, template); err != nil {
		return "", err
	}
	if refused, err := template.Refusals(s.values(template, set.parameters, nil)); err != nil {
		return "", invalid("Template error: %v", err)
	} else if len(refused) > 0 {
		return "", invalid("Rule assertion failed: %s", strings.Join(refused, "; "))
	}
	for _, r := range template.Resources {
		if strings.HasPrefix(r.Type, "AWS::IAM::") && !slices.Contains(set.capabilities, "CAPABILITY_IAM") {
			return "", &Error{Status: http.StatusBadRequest, Code: "InsufficientCapabilitiesException",
				Message: "Requires capabilities : [CAPABILITY_IAM]"}
		}
	}
	keys, values := list(form, "Tags", "Key"), list(form, "Tags", "Value")
	for i, key := range keys {
		set.tags[key] = values[i]
	}
	if len(keys) == 0 {
		set.tags = maps.Clone(s.Tags)
	}
	if set.changes, err = differences(set, template); err != nil {
		return "", invalid("Template error: %v", err)
	}
	if s.made == newStack {
		c.place(s)
	}
	c.changeSets = append(c.changeSets, set)
	return set.answer(), nil
}

func (s *changeSet) answer() string {
	return "<Id>" + escape(s.id()) + "</Id><StackId>" + escape(s.stack.ID()) + "</StackId>"
}

// newStack marks a stack that CloudFormation does not have yet.
const newStack = -1

// place has CloudFormation have a new stack, which has no resource yet.
func (c *CloudFormation) place(s *Stack) {
	s.made = 0
	for _, other := range c.stacks {
		if other.Name == s.Name {
			s.made++
		}
	}
	c.stacks = append(c.stacks, s)
	c.record(s, StackEvent{LogicalID: s.Name, PhysicalID: s.ID(), Type: stackType, Status: inReview,
		Reason: "User Initiated"})
}

// stackFor returns the stack that a change set is for.
func (c *CloudFormation) stackFor(form url.Values) (*Stack, error) {
	s, err := c.find(form)
	name := form.Get("StackName")
	switch kind := form.Get("ChangeSetType"); {
	case kind == "CREATE" && err != nil:
		return &Stack{Name: name, Status: inReview, Parameters: map[string]string{}, Outputs: map[string]string{},
			Tags: map[string]string{}, made: newStack}, nil
	case kind == "CREATE" && s.Status != inReview:
		return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", name,
			form.Get("ChangeSetName"))
	case kind == "UPDATE" && err != nil:
		return nil, invalid("Stack [%s] does not exist", name)
	case kind == "UPDATE" && !updatable(s.Status):
		return nil, invalid("Stack:%s is in %s state and can not be updated.", s.ID(), s.Status)
	case kind != "CREATE" && kind != "UPDATE":
		return nil, invalid("change sets of type %q are not known here", kind)
	}
	return s, nil
}

func updatable(status string) bool {
	switch status {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED", "IMPORT_COMPLETE",
		"IMPORT_ROLLBACK_COMPLETE":
		return true
	}
	return false
}

// takeParameters works out the value of each parameter of the template.
func (s *changeSet) takeParameters(form url.Values, template *cfntemplate.Template) error {
	keys, values := list(form, "Parameters", "ParameterKey"), list(form, "Parameters", "ParameterValue")
	previous := list(form, "Parameters", "UsePreviousValue")
	s.parameters = map[string]string{}
	var unknown, missing []string
	for i, key := range keys {
		p := parameter{key: key, value: values[i], previous: previous[i] == "true"}
		s.given = append(s.given, p)
		if _, ok := template.Parameters[key]; !ok {
			unknown = append(unknown, key)
			continue
		}
		if p.previous {
			old, ok := s.stack.Parameters[key]
			if !ok {
				return invalid(
					"Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key "+
						"not in the previous template", key)
			}
			p.value = old
		}
		s.parameters[key] = p.value
	}
	if len(unknown) > 0 {
		return invalid("Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(template.Parameters)) {
		p := template.Parameters[key]
		if _, ok := s.parameters[key]; ok {
			continue
		}
		if p.Default == nil {
			missing = append(missing, key)
		}
		s.parameters[key] = ScalarText(p.Default)
	}
	if len(missing) > 0 {
		return invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return nil
}

func (c *CloudFormation) findChangeSet(form url.Values) (*changeSet, error) {
	name := form.Get("ChangeSetName")
	for _, set := range c.changeSets {
		of := form.Get("StackName")
		if set.id() == name || set.name == name && (set.stack.Name == of || set.stack.ID() == of) {
			return set, nil
		}
	}
	return nil, &Error{Status: http.StatusNotFound, Code: "ChangeSetNotFound",
		Message: "ChangeSet [" + name + "] does not exist"}
}

func (c *CloudFormation) describeChangeSet(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, err := c.findChangeSet(form)
	if err != nil {
		return "", err
	}
	values := form.Get("IncludePropertyValues") == "true"
	if values && c.Older {
		return "", invalid("Unknown parameter: IncludePropertyValues")
	}
	// It takes a while to be made.
	if set.described++; set.described > 1 && set.status == "CREATE_IN_PROGRESS" {
		set.status, set.execution = "CREATE_COMPLETE", "AVAILABLE"
		if len(set.changes) == 0 && set.stack.Status != inReview {
			set.status, set.execution, set.reason = "FAILED", "UNAVAILABLE", c.NoChanges
			if set.reason == "" {
				set.reason = EmptyReasons[0]
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<ChangeSetId>%s</ChangeSetId><ChangeSetName>%s</ChangeSetName><StackId>%s</StackId>"+
		"<StackName>%s</StackName><Status>%s</Status><ExecutionStatus>%s</ExecutionStatus>"+
		"<CreationTime>2026-01-02T03:04:05Z</CreationTime>", escape(set.id()), escape(set.name), escape(set.stack.ID()),
		escape(set.stack.Name), set.status, set.execution)
	if set.reason != "" {
		fmt.Fprintf(&b, "<StatusReason>%s</StatusReason>", escape(set.reason))
	}
	members(&b, "Parameters", "ParameterKey", "ParameterValue", set.parameters)
	members(&b, "Tags", "Key", "Value", set.tags)
	if set.status == "CREATE_COMPLETE" {
		b.WriteString(pageXML("Changes", set.changes, c.PageSize, form.Get("NextToken"),
			func(one change) string { return one.xml(values) }))
	}
	return b.String(), nil
}

func (c *CloudFormation) listChangeSets(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	var of []*changeSet
	for _, set := range c.changeSets {
		if set.stack == s {
			of = append(of, set)
		}
	}
	return pageXML("Summaries", of, c.PageSize, form.Get("NextToken"), func(set *changeSet) string {
		return fmt.Sprintf("<member><ChangeSetId>%s</ChangeSetId><ChangeSetName>%s</ChangeSetName><Status>%s</Status>"+
			"<ExecutionStatus>%s</ExecutionStatus><CreationTime>2026-01-02T03:04:05Z</CreationTime></member>",
			escape(set.id()), escape(set.name), set.status, set.execution)
	}), nil
}

func (c *CloudFormation) deleteChangeSet(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, err := c.findChangeSet(form)
	if err != nil {
		return "", err
	}
	c.changeSets = slices.DeleteFunc(c.changeSets, func(other *changeSet) bool { return other == set })
	return "", nil
}

// ChangeSets returns the names of the change sets that there are.
func (c *CloudFormation) ChangeSets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, set := range c.changeSets {
		all = append(all, set.name)
	}
	return all
}

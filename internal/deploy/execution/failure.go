package execution

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/names/lazyregexp"
)

// Failure is why an operation did not do what it was to do.
type Failure struct {
	Root      Event    // the first that failed by itself; no LogicalID when there is none
	Others    []Event  // that failed by themselves too
	Cancelled int      // resources that failed because another one did
	Hooks     []string // what hooks and validations say, where CloudFormation tells
	Lines     Lines    // of the custom resource that failed, if one did
	Missing   *Missing // the missing permission, if that is the reason
}

// Lines are some of a log group.
type Lines struct {
	Group string
	Text  []string
}

// outcome sums up what was seen. A status that is empty is that of an operation
// whose end was not seen.
func (w *Watch) outcome(ctx context.Context, status string) *Outcome {
	o := &Outcome{Status: status, Events: w.events, Cancelled: w.cancel}
	if status == "" || target.Succeeded(status) {
		return o
	}
	f := &Failure{}
	for _, e := range w.events {
		switch {
		case !e.Failed() || e.OfStack:
		case e.Cancelled():
			f.Cancelled++
		case f.Root.LogicalID == "":
			f.Root = e
		default:
			f.Others = append(f.Others, e)
		}
	}
	if f.Root.LogicalID == "" { // then the stack itself says why
		for _, e := range w.events {
			if e.OfStack && e.Reason != "" && e.Reason != "User Initiated" {
				f.Root = e
				break
			}
		}
	}
	f.Lines = w.lines[f.Root.LogicalID]
	f.Missing = ParseMissing(f.Root.Reason)
	f.Hooks = w.hooks(ctx)
	o.Failure = f
	return o
}

// hooks asks DescribeEvents for what no other call returns; older partitions do not
// have it.
func (w *Watch) hooks(ctx context.Context) []string {
	var operation string
	for _, e := range w.events {
		operation = e.operation
	}
	if operation == "" {
		return nil
	}
	out, err := w.Client.DescribeEvents(ctx, &cloudformation.DescribeEventsInput{StackName: &w.StackID,
		OperationId: &operation, Filters: &types.EventFilter{FailedEvents: aws.Bool(true)}})
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range out.OperationEvents {
		for _, reason := range []*string{e.HookStatusReason, e.ValidationStatusReason} {
			if text := aws.ToString(reason); text != "" {
				all = append(all, aws.ToString(e.LogicalResourceId)+": "+text)
			}
		}
	}
	return all
}

const (
	maxLines = 20
	// maxLogPages bounds how much of a log group is read.
	maxLogPages = 20
	// maxLine is in bytes.
	maxLine = 2000
)

// customLogGroup is the logical id of the log group of the template's custom
// resource.
const customLogGroup = "RepositoryNameLogGroup"

// readLines reads what a custom resource that failed has logged. It does so at
// once: when a creation is rolled back the log group is deleted too.
func (w *Watch) readLines(ctx context.Context) {
	if w.Logs == nil {
		return
	}
	for _, e := range w.events {
		if !strings.HasPrefix(e.Type, "Custom::") || !e.Failed() || e.Cancelled() || w.tried[e.LogicalID] {
			continue
		}
		w.tried[e.LogicalID] = true
		group := w.logGroup(ctx)
		if group == "" {
			return
		}
		var since time.Time
		for _, other := range w.events {
			if other.LogicalID == e.LogicalID {
				since = other.Time
				break
			}
		}
		lines := Lines{Group: group}
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(w.Logs, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: &group, StartTime: aws.Int64(since.Add(-time.Minute).UnixMilli())})
		for n := 0; pages.HasMorePages() && n < maxLogPages; n++ {
			page, err := pages.NextPage(ctx)
			if err != nil {
				lines.Text = append(lines.Text, fmt.Sprintf("(its log lines could not be read: %v)", err))
				break
			}
			for _, line := range page.Events {
				text := strings.TrimSpace(aws.ToString(line.Message))
				if text != "" && !platform(text) {
					lines.Text = append(lines.Text, strings.ToValidUTF8(text[:min(len(text), maxLine)], ""))
				}
			}
		}
		lines.Text = lines.Text[max(0, len(lines.Text)-maxLines):]
		w.lines[e.LogicalID] = lines
	}
}

// platform reports whether Lambda itself wrote a line.
func platform(text string) bool {
	var line struct{ Type string }
	return json.Unmarshal([]byte(text), &line) == nil && strings.HasPrefix(line.Type, "platform.")
}

// logGroup is the name of the custom resource's log group, as the events tell,
// or as the stack has it.
func (w *Watch) logGroup(ctx context.Context) string {
	for _, e := range w.events {
		if e.LogicalID == customLogGroup && e.PhysicalID != "" {
			return e.PhysicalID
		}
	}
	pages := cloudformation.NewListStackResourcesPaginator(w.Client,
		&cloudformation.ListStackResourcesInput{StackName: &w.StackID})
	for n := 0; pages.HasMorePages() && n < maxPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return ""
		}
		for _, r := range page.StackResourceSummaries {
			if aws.ToString(r.LogicalResourceId) == customLogGroup {
				return aws.ToString(r.PhysicalResourceId)
			}
		}
	}
	return ""
}

// Missing is a missing permission.
type Missing struct {
	Principal, Action, Resource string
	Explicit                    bool   // a policy denies it: allowing it elsewhere does not help
	Policy                      string // in which kind of policy, as AWS says it: identity-based, permissions boundary
}

var (
	denied = lazyregexp.New(
		`(?:User|principal): (\S+) is not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)(?: on (?:the )?resource: (\S+))?`)
	deniedBy = lazyregexp.New(`because no (.{1,60}?) polic(?:y|ies) allows?`)
	explicit = lazyregexp.New(`with an explicit deny(?: in an? (.{1,60}?) polic(?:y|ies))?`)
)

// ParseMissing reads the missing permission from AWS's message; nil when it is
// something else.
func ParseMissing(reason string) *Missing {
	m := denied.Compiled().FindStringSubmatch(reason)
	if m == nil {
		return nil
	}
	missing := &Missing{Principal: m[1], Action: m[2], Resource: strings.TrimRight(m[3], `.,;")`)}
	if e := explicit.Compiled().FindStringSubmatch(reason); e != nil {
		missing.Explicit, missing.Policy = true, e[1]
	} else if by := deniedBy.Compiled().FindStringSubmatch(reason); by != nil {
		missing.Policy = by[1]
	}
	return missing
}

var (
	// existing is the name of a log group that Lambda writes to, in a reason.
	existing = lazyregexp.New(`/aws/lambda/[A-Za-z0-9._/#-]+`)

	// owning is the stack that has it, which CloudFormation names if there is one.
	owning = lazyregexp.New(`already exists in stack (arn:[A-Za-z0-9:/-]+)`)
)

// LogGroupThere returns the name of a log group of the template that could not be
// made since there is one already, and the ARN of the stack that it belongs to.
// The name is empty if that is not why, and the stack if it is not known.
func (f *Failure) LogGroupThere() (group, stack string) {
	for _, e := range append([]Event{f.Root}, f.Others...) {
		if e.Type != "AWS::Logs::LogGroup" || !strings.Contains(e.Reason, "already exists") {
			continue
		}
		if m := owning.Compiled().FindStringSubmatch(e.Reason); m != nil {
			stack = m[1]
		}
		return existing.Compiled().FindString(e.Reason), stack
	}
	return "", ""
}

// Statement is the statement of an IAM policy that grants the permission.
func (m *Missing) Statement() string {
	resource := m.Resource
	if resource == "" {
		resource = "*"
	}
	b, err := json.Marshal(struct{ Effect, Action, Resource string }{"Allow", m.Action, resource})
	if err != nil {
		panic("internal error: " + err.Error()) // three texts can be written as JSON
	}
	return string(b)
}

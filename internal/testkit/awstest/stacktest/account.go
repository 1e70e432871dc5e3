package stacktest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/testkit/awstest"
)

// Account is an AWS in which CloudFormation is asked to make stacks: when one
// has been made or updated, the services answer for it as they do after
// [Deploy]. They know the stack that was made last.
type Account struct {
	CloudFormation *awstest.CloudFormation

	// Code is that of the functions; nil: Lambda says nothing of it.
	Code *awstest.LambdaCode

	t      testing.TB
	server *awstest.Server
	ecr    *awstest.ECR

	mu    sync.Mutex
	lines map[string][]LogLine
	last  *Deployment
	made  map[string]map[string]bool // repositories by the stack's id
}

// LogLine is one of a log group.
type LogLine struct {
	Stream, Message string
	At              time.Time
}

// NewAccount has the services of the server answer for the stacks that
// CloudFormation is asked for. There is none yet.
func NewAccount(t testing.TB, server *awstest.Server, cloudFormation *awstest.CloudFormation,
	ecr *awstest.ECR) *Account {
	a := &Account{CloudFormation: cloudFormation, t: t, server: server, ecr: ecr, lines: map[string][]LogLine{},
		made: map[string]map[string]bool{}}
	cloudFormation.Settled = a.settled
	server.Handle("cloudformation", cloudFormation)
	server.Handle("ecr", ecr)
	server.Handle("logs", a.logs())
	return a
}

// Log adds a line to a log group. It can be read while the group is there.
func (a *Account) Log(group string, line LogLine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines[group] = append(a.lines[group], line)
}

// Deployment returns the stack that was made or updated last.
func (a *Account) Deployment() *Deployment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// repositories makes and deletes those of a stack.
func (a *Account) repositories(s *awstest.Stack, template *cfntemplate.Template) {
	a.mu.Lock()
	defer a.mu.Unlock()
	is := map[string]bool{}
	resolved, err := template.Resolve(cfntemplate.Values{Parameters: s.Parameters, StackName: s.Name, StackID: s.ID(),
		Region: awstest.Region, Account: awstest.Account, Partition: "aws",
		Attribute: func(id, attribute string) (any, bool) { return id, attribute == "" }})
	if err != nil {
		a.t.Error(err)
	}
	for _, r := range s.Resources {
		p := resolved[r.LogicalID].Properties
		if r.Type != "AWS::ECR::Repository" || s.Status == "DELETE_COMPLETE" || r.Status == "DELETE_COMPLETE" {
			continue
		}
		is[r.PhysicalID] = true
		if a.made[s.ID()][r.PhysicalID] {
			continue
		}
		tags := maps.Clone(s.Tags)
		list, _ := p["Tags"].([]any)
		for _, one := range list {
			tag := one.(map[string]any)
			tags[fmt.Sprint(tag["Key"])] = fmt.Sprint(tag["Value"])
		}
		policy, err := json.Marshal(p["RepositoryPolicyText"])
		if err != nil {
			a.t.Error(err)
		}
		rules, _ := p["LifecyclePolicy"].(map[string]any)
		a.ecr.Repository(r.PhysicalID, awstest.Repository{Mutability: fmt.Sprint(p["ImageTagMutability"]), Tags: tags,
			LifecyclePolicy: fmt.Sprint(rules["LifecyclePolicyText"]), Policy: string(policy)})
	}
	for name := range a.made[s.ID()] {
		if !is[name] {
			a.ecr.DeleteRepository(name)
		}
	}
	a.made[s.ID()] = is
}

// DeleteImages deletes the images of all repositories that the stacks have, as
// somebody else may.
func (a *Account) DeleteImages() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, of := range a.made {
		for name := range of {
			a.ecr.DeleteImages(name)
		}
	}
}

func (a *Account) settled(s *awstest.Stack) {
	template, err := cfntemplate.Parse([]byte(s.Template))
	if err == nil && strings.HasSuffix(s.Status, "_COMPLETE") {
		a.repositories(s, template)
	}
	if err != nil || !strings.HasSuffix(s.Status, "_COMPLETE") || s.Status == "DELETE_COMPLETE" ||
		s.Status == "ROLLBACK_COMPLETE" || template.Resources["GeneratorFunction"].Type == "" {
		return
	}
	d := &Deployment{Stack: s, Resources: map[string]*Resource{}, ECR: a.ecr, Functions: map[string]map[string]any{},
		Alarms: map[string]map[string]any{}, Metrics: map[string][]Point{}}
	d.fill(a.t)
	if d.code = a.Code; d.code != nil {
		for _, r := range d.Resources {
			if r.Type == "AWS::Lambda::Function" {
				d.code.Deploy(r.Physical, r.At("Code"))
			}
		}
	}
	d.serve(a.server)
	a.server.Handle("logs", a.logs())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = d
}

// logs answers for the log groups of every stack.
func (a *Account) logs() *logsHandler { return &logsHandler{a} }

func (a *Account) filterLogEvents(body []byte) (any, error) {
	in, err := decode[struct {
		LogGroupName, NextToken string
		StartTime               int64
		Limit                   int
	}](body)
	if err != nil {
		return nil, err
	}
	if !a.CloudFormation.Has("AWS::Logs::LogGroup", in.LogGroupName) {
		return nil, notFound("The specified log group does not exist.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := slices.SortedStableFunc(slices.Values(a.lines[in.LogGroupName]),
		func(x, y LogLine) int { return cmp.Compare(x.At.UnixMilli(), y.At.UnixMilli()) })
	events := []any{}
	for _, l := range lines {
		if at := l.At.UnixMilli(); at >= in.StartTime {
			events = append(events, map[string]any{"logStreamName": l.Stream, "message": l.Message, "timestamp": at,
				"eventId": "1"})
		}
	}
	// The first page of a group that has much may be empty.
	if in.NextToken == "" {
		return map[string]any{"events": []any{}, "nextToken": "more"}, nil
	}
	return map[string]any{"events": events}, nil
}

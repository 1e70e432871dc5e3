package awstest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	stackType = "AWS::CloudFormation::Stack"
	deleted   = "DELETE_COMPLETE"
	inReview  = "REVIEW_IN_PROGRESS"
)

// StackEvent is one of a stack or of a resource of it. A stack's own event has
// no LogicalID when it is given; the rest of what is empty is filled in.
type StackEvent struct {
	LogicalID, PhysicalID, Type string
	Status, Reason              string

	Token, Operation string // of the request that it belongs to
	At               time.Time
	ID               string
}

// beginning is when a CloudFormation begins. Each event happens a second after the
// one before.
var beginning = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// record has an event happen: the stack or its resource gets the status.
func (c *CloudFormation) record(s *Stack, e StackEvent) {
	c.ticks++
	e.At = beginning.Add(time.Duration(c.ticks) * time.Second)
	e.ID = fmt.Sprintf("%s-%s-%04d", e.LogicalID, e.Status, c.ticks)
	if e.Type == stackType {
		s.Status, s.Reason = e.Status, e.Reason
	} else {
		i := slices.IndexFunc(s.Resources, func(r StackResource) bool { return r.LogicalID == e.LogicalID })
		if i < 0 {
			s.Resources = append(s.Resources, StackResource{LogicalID: e.LogicalID, Type: e.Type})
			i = len(s.Resources) - 1
		}
		s.Resources[i].Status = e.Status
		if e.PhysicalID != "" {
			s.Resources[i].PhysicalID = e.PhysicalID
		}
	}
	c.events[s.ID()] = append(c.events[s.ID()], e)
}

// stackOfEvents returns the stack whose events are asked for, which goes on at
// the first page.
func (c *CloudFormation) stackOfEvents(form url.Values) (*Stack, error) {
	s, err := c.find(form)
	if err != nil {
		return nil, invalid("Stack [%s] does not exist", form.Get("StackName"))
	}
	if form.Get("NextToken") == "" {
		c.advance(s)
	}
	return s, nil
}

func (c *CloudFormation) describeStackEvents(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.stackOfEvents(form)
	if err != nil {
		return "", err
	}
	all := slices.Clone(c.events[s.ID()])
	slices.Reverse(all) // the newest first
	return pageXML("StackEvents", all, c.PageSize, form.Get("NextToken"), func(e StackEvent) string {
		return e.xml(s, "<ResourceStatus>"+escape(e.Status)+"</ResourceStatus>")
	}), nil
}

// describeEvents answers for a stack, an operation of it, or a change set.
func (c *CloudFormation) describeEvents(form url.Values) (string, error) {
	if c.Older {
		return "", &Error{Status: http.StatusBadRequest, Code: "InvalidAction",
			Message: "Could not find operation DescribeEvents for version 2010-05-15"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.stackOfEvents(form)
	if err != nil {
		return "", err
	}
	var all []StackEvent
	for _, e := range c.events[s.ID()] {
		of := form.Get("OperationId")
		failed := strings.HasSuffix(e.Status, "_FAILED")
		if (of == "" || of == e.Operation) && (failed || form.Get("Filters.FailedEvents") != "true") {
			all = append(all, e)
		}
	}
	slices.Reverse(all)
	return pageXML("OperationEvents", all, c.PageSize, form.Get("NextToken"), func(e StackEvent) string {
		kind := "PROGRESS_EVENT"
		switch {
		case e.Type == stackType:
			kind = "STACK_EVENT"
		case strings.HasSuffix(e.Status, "_FAILED"):
			kind = "PROVISIONING_ERROR"
		}
		return e.xml(s, "<EventType>"+kind+"</EventType><ResourceStatus>"+escape(e.Status)+"</ResourceStatus>")
	}), nil
}

func (e StackEvent) xml(s *Stack, status string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<member><EventId>%s</EventId><StackId>%s</StackId><StackName>%s</StackName>"+
		"<Timestamp>%s</Timestamp>%s",
		escape(e.ID), escape(s.ID()), escape(s.Name), e.At.Format(time.RFC3339), status)
	for _, one := range [][2]string{
		{"LogicalResourceId", e.LogicalID}, {"PhysicalResourceId", e.PhysicalID}, {"ResourceType", e.Type},
		{"ResourceStatusReason", e.Reason}, {"ClientRequestToken", e.Token}, {"OperationId", e.Operation},
	} {
		if one[1] != "" {
			fmt.Fprintf(&b, "<%[1]s>%[2]s</%[1]s>", one[0], escape(one[1]))
		}
	}
	b.WriteString("</member>")
	return b.String()
}

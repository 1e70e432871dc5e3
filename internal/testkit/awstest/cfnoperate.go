package awstest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// again reports whether a request with this token has been answered before.
func (c *CloudFormation) again(action string, form url.Values) bool {
	token := form.Get("ClientRequestToken")
	if token == "" {
		return false
	}
	was := c.tokens[action+token]
	c.tokens[action+token] = true
	return was
}

func (c *CloudFormation) executeChangeSet(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.again("execute", form) {
		return "", nil
	}
	set, err := c.findChangeSet(form)
	if err == nil && set.execution != "AVAILABLE" {
		err = &Error{Status: http.StatusBadRequest, Code: "InvalidChangeSetStatus",
			Message: "ChangeSet [" + set.id() + "] cannot be executed in its current execution status of [" +
				set.execution +
				"]"}
	}
	if err == nil && c.executions[set.stack.ID()] != nil {
		err = invalid("Stack:%s is in %s state and can not be updated.", set.stack.ID(), set.stack.Status)
	}
	if err != nil {
		delete(c.tokens, "execute"+form.Get("ClientRequestToken"))
		return "", err
	}
	s := set.stack
	if set.role != "" {
		s.RoleARN = set.role
	}
	if len(set.notify) > 0 {
		s.NotificationARNs = set.notify
	}
	events, end := c.execute(set, form.Get("DisableRollback") == "true")
	if s.Status == inReview {
		s.Template, s.Parameters, s.Tags = set.template, set.parameters, set.tags
	}
	// The other change sets were made for another stack than it is now.
	c.changeSets = slices.DeleteFunc(c.changeSets, func(other *changeSet) bool { return other == set })
	for _, other := range c.changeSets {
		if other.stack == s {
			other.execution = "OBSOLETE"
		}
	}
	c.begin(s, form.Get("ClientRequestToken"), events, end)
	return "", nil
}

func (c *CloudFormation) cancelUpdate(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	if c.again("cancel", form) {
		return "", nil
	}
	x := c.executions[s.ID()]
	if x == nil || s.Status != "UPDATE_IN_PROGRESS" {
		return "", invalid("CancelUpdateStack cannot be called from current stack status")
	}
	c.held[s.Name] = false
	x.pending = []StackEvent{
		{Status: "UPDATE_ROLLBACK_IN_PROGRESS", Reason: "User Initiated Cancellation"},
		{Status: "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"}, {Status: "UPDATE_ROLLBACK_COMPLETE"},
	}
	x.end = nil
	return "", nil
}

func (c *CloudFormation) continueRollback(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	if c.again("continue", form) {
		return "", nil
	}
	if s.Status != "UPDATE_ROLLBACK_FAILED" {
		return "", invalid("Stack %s is in %s state and can not be continued.", s.ID(), s.Status)
	}
	p := &plan{c: c, s: s}
	p.stack("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
	for _, r := range s.Resources {
		if strings.HasSuffix(r.Status, "_FAILED") {
			p.done = append(p.done, change{action: "Modify", id: r.LogicalID, kind: r.Type, physical: r.PhysicalID})
		}
	}
	p.takeBack("UPDATE_ROLLBACK", s.Template)
	c.begin(s, form.Get("ClientRequestToken"), p.events, nil)
	return "", nil
}

func (c *CloudFormation) deleteStack(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil || s.Status == deleted || c.again("delete", form) {
		return "", nil // what is not there need not be deleted
	}
	if s.Protected {
		return "", invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", s.Name)
	}
	c.changeSets = slices.DeleteFunc(c.changeSets, func(set *changeSet) bool { return set.stack == s })
	p := &plan{c: c, s: s}
	p.stack("DELETE_IN_PROGRESS", "User Initiated")
	var stuck []string
	retained := retained(s.Template)
	for _, r := range slices.Backward(s.Resources) {
		if r.Status == deleted {
			continue
		}
		one := change{id: r.LogicalID, kind: r.Type, physical: r.PhysicalID}
		if retained[r.LogicalID] {
			p.remove(one, retained)
			continue
		}
		p.resource(one, "DELETE_IN_PROGRESS", "")
		if reason := c.fault(s, r.LogicalID, "delete"); reason != "" {
			p.resource(one, "DELETE_FAILED", reason)
			stuck = append(stuck, r.LogicalID)
			continue
		}
		p.resource(one, "DELETE_COMPLETE", "")
	}
	if len(stuck) > 0 {
		p.stack("DELETE_FAILED", "The following resource(s) failed to delete: ["+strings.Join(stuck, ", ")+"]. ")
	} else {
		p.stack(deleted, "")
	}
	c.begin(s, form.Get("ClientRequestToken"), p.events, nil)
	if len(s.Resources) == 0 { // which takes no time
		c.next(s, c.executions[s.ID()])
	}
	return "", nil
}

func (c *CloudFormation) protect(form url.Values) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.find(form)
	if err != nil {
		return "", err
	}
	s.Protected = form.Get("EnableTerminationProtection") == "true"
	return "<StackId>" + escape(s.ID()) + "</StackId>", nil
}

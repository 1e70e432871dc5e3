package awstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// execution is what goes on in a stack: the events that are still to come.
type execution struct {
	pending          []StackEvent
	token, operation string
	slow             bool   // one event with each request
	end              func() // after the last event; nil: nothing more
}

// FailResource has the next operation on a resource fail with a reason. What is
// the operation: empty for its creation or update, "rollback" for taking that
// back, "delete" for the deletion of the stack.
func (c *CloudFormation) FailResource(stack, id, what, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[stack+"/"+id+"/"+what] = append(c.faults[stack+"/"+id+"/"+what], reason)
}

// fault returns why an operation on a resource fails; empty if it does not.
func (c *CloudFormation) fault(s *Stack, id, what string) string {
	key := s.Name + "/" + id + "/" + what
	if len(c.faults[key]) == 0 {
		return ""
	}
	reason := c.faults[key][0]
	c.faults[key] = c.faults[key][1:]
	return reason
}

// Hold has nothing more happen in a stack, or has it go on.
func (c *CloudFormation) Hold(stack string, hold bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[stack] = hold
}

// Begin has something go on in a stack that somebody else began: these events,
// of which the first happens at once, and each other one with a request.
func (c *CloudFormation) Begin(stack string, events ...StackEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.stacks, func(s *Stack) bool { return s.Name == stack && s.Status != deleted })
	c.begin(c.stacks[i], "Console-"+stack, events, nil)
	if x := c.executions[c.stacks[i].ID()]; x != nil {
		x.slow = true
	}
}

// Change changes a stack while something else deploys it.
func (c *CloudFormation) Change(stack string, change func(*Stack)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stacks {
		if s.Name == stack && s.Status != deleted {
			change(s)
		}
	}
}

// Remove takes a stack away, as somebody else's deletion does.
func (c *CloudFormation) Remove(stack string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stacks {
		if s.Name == stack && s.Status != deleted {
			delete(c.executions, s.ID())
			s.Status = deleted
		}
	}
}

func (c *CloudFormation) begin(s *Stack, token string, events []StackEvent, end func()) {
	x := &execution{pending: events, token: token, operation: fmt.Sprintf("operation-%04d", c.ticks), end: end}
	c.executions[s.ID()] = x
	c.next(s, x)
}

// next has one event happen.
func (c *CloudFormation) next(s *Stack, x *execution) {
	e := x.pending[0]
	x.pending = x.pending[1:]
	if e.LogicalID == "" || e.LogicalID == s.Name {
		e.LogicalID, e.PhysicalID, e.Type = s.Name, s.ID(), stackType
	}
	e.Token, e.Operation = x.token, x.operation
	c.record(s, e)
	if len(x.pending) > 0 {
		return
	}
	delete(c.executions, s.ID())
	if x.end != nil {
		x.end()
	}
	if c.Settled != nil {
		c.Settled(s)
	}
}

// advance has the next events of a stack happen.
func (c *CloudFormation) advance(s *Stack) {
	pace := c.Pace
	if pace == 0 {
		pace = 8
	}
	for ; pace > 0 && !c.held[s.Name]; pace-- {
		x := c.executions[s.ID()]
		if x == nil {
			return
		}
		c.next(s, x)
		if x.slow {
			return
		}
	}
}

// plan are the events of an execution, and whether all went well.
type plan struct {
	c      *CloudFormation
	s      *Stack
	events []StackEvent
	done   []change // that happened, to be taken back
	failed []string // logical ids
}

func (p *plan) stack(status, reason string) {
	p.events = append(p.events, StackEvent{Status: status, Reason: reason})
}

func (p *plan) resource(c change, status, reason string) {
	p.events = append(p.events, StackEvent{LogicalID: c.id, PhysicalID: c.physical, Type: c.kind, Status: status,
		Reason: reason})
}

// verb is what CloudFormation calls what a change does.
func verb(c change) string {
	if c.action == "Add" {
		return "CREATE"
	}
	return "UPDATE"
}

// execute plans the changes of a set, in the order of their dependencies.
func (c *CloudFormation) execute(set *changeSet, disableRollback bool) ([]StackEvent, func()) {
	s := set.stack
	creating := s.Status == inReview
	p := &plan{c: c, s: s}
	whole, word := "UPDATE", "update"
	if creating {
		whole, word = "CREATE", "create"
	}
	p.stack(whole+"_IN_PROGRESS", "User Initiated")
	changes := slices.DeleteFunc(slices.Clone(set.changes), func(one change) bool { return one.action == "Remove" })
	changes = ordered(set.template, changes)
	for i := range changes {
		changes[i].physical = s.physical(changes[i].kind, changes[i].id, 0)
		if changes[i].replacement == "True" {
			changes[i].physical = s.physical(changes[i].kind, changes[i].id, 1)
		}
	}
	for i, one := range changes {
		if reason := p.reason(one); reason != "" {
			p.fail(one, changes[i+1:], reason, word)
			break
		}
		p.apply(one)
	}
	if len(p.failed) == 0 {
		return p.complete(set, whole)
	}
	why := fmt.Sprintf("The following resource(s) failed to %s: [%s]. ", word, strings.Join(p.failed, ", "))
	switch {
	case disableRollback:
		p.stack(whole+"_FAILED", strings.TrimSpace(why))
		// What was to be deployed is the stack's from now on, though some resources
		// are as they were.
		return p.events, func() {
			s.half = newHalfway(s, p)
			s.Template, s.Parameters, s.Tags = set.template, set.parameters, set.tags
		}
	case creating:
		p.stack("ROLLBACK_IN_PROGRESS", why+"Rollback requested by user.")
		p.takeBack("ROLLBACK", set.template)
	default:
		p.stack("UPDATE_ROLLBACK_IN_PROGRESS", strings.TrimSpace(why))
		p.takeBack("UPDATE_ROLLBACK", set.template)
	}
	return p.events, nil
}

// reason is why a change fails: as the test has it, or since CloudFormation
// never changes what a custom resource asks.
func (p *plan) reason(one change) string {
	if reason := p.c.fault(p.s, one.id, ""); reason != "" {
		return reason
	}
	if strings.HasPrefix(one.kind, "Custom::") &&
		slices.ContainsFunc(one.details, func(d detail) bool { return d.name == "ServiceToken" }) {
		return "Modifying service token is not allowed."
	}
	return ""
}

func (p *plan) apply(one change) {
	v := verb(one)
	switch {
	case one.action == "Add":
		p.resource(change{id: one.id, kind: one.kind}, v+"_IN_PROGRESS", "")
		p.resource(one, v+"_IN_PROGRESS", "Resource creation Initiated")
	case one.replacement == "True":
		p.resource(one, v+"_IN_PROGRESS",
			"Requested update requires the creation of a new physical resource; hence creating one.")
	default:
		p.resource(one, v+"_IN_PROGRESS", "")
	}
	p.resource(one, v+"_COMPLETE", "")
	p.done = append(p.done, one)
}

// fail has a change fail. Two more that had begun are cancelled.
func (p *plan) fail(one change, rest []change, reason, word string) {
	rest = rest[:min(2, len(rest))]
	for _, begun := range append([]change{one}, rest...) {
		p.resource(change{id: begun.id, kind: begun.kind}, verb(begun)+"_IN_PROGRESS", "")
	}
	p.resource(one, verb(one)+"_FAILED", reason)
	p.failed = append(p.failed, one.id)
	noun := map[string]string{"create": "creation", "update": "update"}[word]
	for _, other := range rest {
		p.resource(other, verb(other)+"_FAILED", "Resource "+noun+" cancelled")
		p.failed = append(p.failed, other.id)
	}
}

func (p *plan) complete(set *changeSet, whole string) ([]StackEvent, func()) {
	if whole == "UPDATE" {
		p.stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
		for _, one := range set.changes {
			if one.action == "Remove" || one.replacement == "True" {
				p.remove(one, retained(p.s.Template))
			}
		}
	}
	p.stack(whole+"_COMPLETE", "")
	return p.events, func() {
		if p.s.renewed == nil {
			p.s.renewed = map[string]int{}
		}
		for _, one := range set.changes {
			if one.replacement == "True" {
				p.s.renewed[one.id]++
			}
		}
		if err := p.s.take(set.template, set.parameters, set.tags); err != nil {
			p.s.Status, p.s.Reason = whole+"_FAILED", "the test's CloudFormation cannot work out the template: "+
				err.Error()
		}
	}
}

// remove deletes a resource, unless its template has it retained.
func (p *plan) remove(one change, retained map[string]bool) {
	if retained[one.id] {
		p.resource(one, "DELETE_SKIPPED", "")
		return
	}
	p.resource(one, "DELETE_IN_PROGRESS", "")
	p.resource(one, "DELETE_COMPLETE", "")
}

// retained are the resources that a template has CloudFormation leave alone when
// they are removed, by logical id.
func retained(template string) map[string]bool {
	var t struct {
		Resources map[string]struct{ DeletionPolicy string }
	}
	_ = json.Unmarshal([]byte(template), &t) // it was parsed before
	all := map[string]bool{}
	for id, r := range t.Resources {
		all[id] = r.DeletionPolicy == "Retain"
	}
	return all
}

// takeBack takes back what was done by a template.
func (p *plan) takeBack(what, template string) {
	ok, retained := true, retained(template)
	for _, one := range slices.Backward(p.done) {
		v := "UPDATE"
		if one.action == "Add" {
			v = "DELETE"
		} else {
			one.physical = p.s.Physical(one.kind, one.id)
		}
		if v == "DELETE" && retained[one.id] {
			p.remove(one, retained)
			continue
		}
		p.resource(one, v+"_IN_PROGRESS", "")
		if reason := p.c.fault(p.s, one.id, "rollback"); reason != "" {
			p.resource(one, v+"_FAILED", reason)
			ok = false
			continue
		}
		p.resource(one, v+"_COMPLETE", "")
	}
	switch {
	case !ok:
		p.stack(what+"_FAILED", "The following resource(s) failed to roll back")
	case what == "ROLLBACK":
		p.stack("ROLLBACK_COMPLETE", "")
	default:
		p.stack("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
		p.stack("UPDATE_ROLLBACK_COMPLETE", "")
	}
}

// ordered sorts changes so that each comes after those whose resources it
// names.
func ordered(template string, changes []change) []change {
	var t struct{ Resources map[string]json.RawMessage }
	_ = json.Unmarshal([]byte(template), &t) // it was parsed before
	var all []change
	placed := map[string]bool{}
	names := func(text, id string) bool {
		return strings.Contains(text, `"`+id+`"`) || strings.Contains(text, "${"+id+"}") ||
			strings.Contains(text, "${"+id+".")
	}
	var place func(c change)
	place = func(c change) {
		if placed[c.id] {
			return
		}
		placed[c.id] = true
		for _, other := range changes {
			if other.id != c.id && names(string(t.Resources[c.id]), other.id) {
				place(other)
			}
		}
		all = append(all, c)
	}
	for _, c := range changes {
		place(c)
	}
	return all
}

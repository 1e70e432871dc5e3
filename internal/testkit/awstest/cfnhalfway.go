package awstest

import (
	"maps"
	"reflect"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// halfway is what a stack has after an update that failed and was not rolled back.
// The stack itself says what it was to have.
type halfway struct {
	before Stack           // the update
	done   map[string]bool // resources that have been updated, by logical id
	failed string          // the resource that is neither old nor new
}

func newHalfway(s *Stack, p *plan) *halfway {
	h := &halfway{before: *s, done: map[string]bool{}, failed: p.failed[0]}
	if s.half != nil { // the second that failed
		h.before, h.done = s.half.before, maps.Clone(s.half.done)
	}
	for _, c := range p.done {
		h.done[c.id] = true
	}
	return h
}

// has returns the resources that there are, of those that the stack was to have; next
// are those that it is to have now.
func (h *halfway) has(meant, next map[string]cfntemplate.Resource) (map[string]cfntemplate.Resource, error) {
	all, err := h.before.has()
	if err != nil {
		return nil, err
	}
	for id, r := range meant {
		if h.done[id] || id == h.failed && !reflect.DeepEqual(next[id], r) {
			all[id] = r
		}
	}
	return all, nil
}

// has returns the resources that a stack has by its template.
func (s *Stack) has() (map[string]cfntemplate.Resource, error) {
	if s.Status == inReview || s.Template == "" {
		return map[string]cfntemplate.Resource{}, nil
	}
	t, err := cfntemplate.Parse([]byte(s.Template))
	if err != nil {
		return nil, err
	}
	return s.resolve(t, s.Parameters, nil)
}

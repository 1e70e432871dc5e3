package target

import (
	"encoding/json"
	"errors"
	"fmt"

	"soci-index-builder/internal/deployed"
)

// ErrForeign: the stack is not this project's. It is neither updated nor deleted.
var ErrForeign = errors.New("is not a stack of soci-index-builder: give another --stack")

// ErrNested: another stack has made the stack.
var ErrNested = errors.New("is part of another stack, which must be updated instead")

// Mine returns nil for a main stack of this project, however it was deployed: one with
// our template. The error matches ErrForeign or ErrNested.
func (s *Stack) Mine() error {
	if s.ParentID != "" {
		return fmt.Errorf("stack %s %w: %s", s.Name, ErrNested, s.ParentID)
	}
	foreign := fmt.Errorf("stack %s (%s) %w", s.Name, s.Status, ErrForeign)
	if s.Template == nil {
		for _, set := range s.ChangeSets {
			if !ourTemplate(set.Template) {
				return foreign
			}
		}
		return nil
	}
	if !ourTemplate(s.Template) {
		// A companion stack has the tag too.
		return foreign
	}
	return nil
}

// ourTemplate reports whether a template is one of a main stack of this
// project. Before there was metadata of our own, it had our parameters.
func ourTemplate(body []byte) bool {
	var t struct {
		Metadata   map[string]json.RawMessage
		Parameters map[string]json.RawMessage
		Resources  map[string]struct{ Type string }
	}
	if json.Unmarshal(body, &t) != nil {
		return false // ours are JSON
	}
	_, filters := t.Parameters[deployed.ParamFilters]
	if _, ok := t.Metadata[deployed.Metadata]; ok {
		return filters
	}
	_, version := t.Parameters[deployed.ParamIndexVersion]
	return filters && version && t.Resources[deployed.GeneratorID].Type == "AWS::Lambda::Function"
}

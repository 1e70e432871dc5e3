package settings

import (
	"errors"
	"fmt"
	"io/fs"
)

// Named is what a settings file says of a deployed stack.
type Named struct {
	Environment            string // empty for what stands outside of any
	Stack, Region, Profile string // empty where the file does not say
}

// Stacks returns the stacks that the settings file in this folder names, in the
// order of their environments; none without a file. Its error matches ErrInvalid
// for whatever is wrong with what is in the file.
func Stacks() ([]Named, error) {
	content, err := readFile(FileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the settings file: %w", err)
	}
	d, err := parseDocument(FileName, content)
	if err != nil {
		return nil, err
	}
	r := &reader{name: FileName, given: map[string]*Given{"": {origins: map[string]Origin{}}}, told: map[string]bool{}}
	r.all(d)
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	environments := r.order
	if len(environments) == 0 {
		environments = []string{""}
	}
	var all []Named
	for _, env := range environments {
		g := Merge(*r.given[env], *r.given[""])
		if g.Stack != "" {
			all = append(all, Named{env, g.Stack, g.Region, g.Profile})
		}
	}
	return all, nil
}

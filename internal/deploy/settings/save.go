package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"soci-index-builder/internal/imagefile/atomicfile"
)

// Save writes what was given by flags and answers into the environment, and
// reports whether that changed the file. What the file has beside it stays as it
// is, with its comments, order and blanks. A file that is written in a way that
// cannot be updated so is left alone; the error, which matches ErrInvalid then,
// has the lines to write by hand. Values of parameters that CloudFormation hides
// are never written.
//
// The file is read again and replaced as a whole, so that it is never half
// written, and keeps its permissions.
func (e *Environment) Save(g Given) (changed bool, err error) {
	name, _ := e.Name()
	file := e.file
	content, err := readFile(file)
	mode := fs.FileMode(0) // of a new file
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("reading the settings file: %w", err)
	default:
		if file, err = filepath.EvalSymlinks(file); err != nil { // the file is replaced, not a link to it
			return false, fmt.Errorf("writing the settings file: %w", err)
		}
		info, err := os.Stat(file)
		if err != nil {
			return false, fmt.Errorf("writing the settings file: %w", err)
		}
		if !info.Mode().IsRegular() { // a device, say, whose place nothing may take
			return false, fmt.Errorf("writing %s: it is no regular file", e.file)
		}
		mode = info.Mode().Perm()
	}
	has, _, err := read(e.file, content, name, true)
	if err != nil {
		return false, err
	}
	changes := g.changes(has)
	if len(changes) == 0 && len(content) > 0 {
		return false, nil
	}
	updated, err := edit(content, name, changes)
	if errors.Is(err, errLayout) {
		return false, invalidf("%s %w: nothing was written; write by hand what belongs to [%s]: %s", e.file, errLayout,
			name, byHand(changes))
	}
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", e.file, err)
	}
	if bytes.Equal(updated, content) {
		return false, nil
	}
	if err := atomicfile.Write(file, updated, mode); err != nil {
		return false, err
	}
	e.name, e.hasFile, e.hasTable = name, true, true
	return true, nil
}

// changes are the values of flags and answers that the file does not have.
func (g Given) changes(has Given) []change {
	var all []change
	for _, c := range g.Chosen() {
		if c.Kind != Flag && c.Kind != Answer {
			continue
		}
		name, key, isKey := strings.Cut(c.Name, ".")
		if name == "parameter" {
			if p, err := find(key); err == nil && p.NoEcho {
				continue
			}
		}
		t := settingOf(name)
		if _, there := has.origins[c.Name]; there && reflect.DeepEqual(has.value(t, key), g.value(t, key)) {
			continue
		}
		path := []string{name}
		if isKey {
			path = append(path, key)
		}
		all = append(all, change{path, g.value(t, key)})
	}
	// Keys of the environment itself come before its tables.
	slices.SortStableFunc(all, func(a, b change) int { return len(a.path) - len(b.path) })
	return all
}

// value returns a value as the file has it.
func (g Given) value(t *setting, key string) any {
	switch field := t.field(&g.Settings).(type) {
	case *[]string:
		return *field
	case *bool, **bool:
		return g.text(t, key) == "true"
	}
	return g.text(t, key)
}

func byHand(changes []change) string {
	var lines []string
	for _, c := range changes {
		line, err := c.line()
		if err != nil {
			continue // its error would have been returned instead
		}
		line.key = strings.Join(append(slices.Clone(c.path[:len(c.path)-1]), line.key), ".")
		lines = append(lines, line.String())
	}
	return strings.Join(lines, "; ")
}

package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/embedded"
)

// DryRun plans all steps and writes what would be deployed into the folder of
// the mode. It returns the plan, and the names of the files in the folder.
func (d *Deploy) DryRun(ctx context.Context) (plan []Planned, files []string, err error) {
	if plan, err = d.plan(ctx, d.Steps()); err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(d.Mode.Folder); err == nil && !info.IsDir() {
		return nil, nil, settingf("--output-dir %s: is a file, must be a folder", d.Mode.Folder)
	}
	var text bytes.Buffer
	if err := d.writePlan(&text, plan); err != nil {
		return nil, nil, err
	}
	if err := d.clearOther(); err != nil {
		return nil, nil, fmt.Errorf("removing what an earlier dry run wrote: %w", err)
	}
	if files, err = d.Artifacts.Save(d.Mode.Folder); err != nil {
		return nil, nil, err
	}
	contents := map[string][]byte{"template.json": d.Template, "plan.txt": text.Bytes()}
	if contents["parameters.json"], err = d.parametersFile(); err != nil {
		return nil, nil, err
	}
	if contents["tags.json"], err = d.tagsFile(); err != nil {
		return nil, nil, err
	}
	more, err := saveAll(d.Mode.Folder, contents)
	if err != nil {
		return nil, nil, err
	}
	files = append(files, more...)
	slices.Sort(files)
	for i, name := range files {
		files[i] = filepath.Join(d.Mode.Folder, filepath.FromSlash(name))
	}
	return plan, files, nil
}

// clearOther removes from the folder what a dry run in the other package mode has
// written there, which would look like part of this one.
func (d *Deploy) clearOther() error {
	at := func(name ...string) string { return filepath.Join(append([]string{d.Mode.Folder}, name...)...) }
	var files []string
	if d.Settings.Package == embedded.Image {
		for _, name := range zipNames {
			files = append(files, at("code", name))
		}
		files = append(files, at("code"))
	} else {
		for _, f := range companion.Functions {
			layout := at("images", f.Executable)
			if err := lambdaimage.ClearLayout(layout); err != nil {
				return err
			}
			files = append(files, layout)
		}
		files = append(files, at("images"), at("companion", "template.json"), at("companion"))
	}
	for _, name := range files {
		// A folder with anything else in it stays.
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !isFolder(name) {
			return err
		}
	}
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// writePlan writes the plan as text, with the changes that are expected.
func (d *Deploy) writePlan(w *bytes.Buffer, plan []Planned) error {
	for _, p := range plan {
		if len(p.Lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\n", p.Step)
		for _, line := range p.Lines {
			fmt.Fprintf(w, "  %s\n", line)
		}
		if p.Step == changeSetStep {
			if err := d.writeExpected(w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Deploy) writeExpected(w *bytes.Buffer) error {
	expected, err := d.expected()
	if err != nil {
		// The stack has a template that this program cannot work out: the plan
		// is the rest.
		fmt.Fprintf(w, "\n  What changes could not be worked out: %v\n\n", err)
		return nil
	}
	if len(expected) == 0 {
		fmt.Fprint(w, "\n  No resource is expected to change.\n\n")
		return nil
	}
	var table bytes.Buffer
	if err := changeset.Write(&table, expected, d.Mode.Full); err != nil {
		return err
	}
	fmt.Fprint(w, "\n  Expected, as far as the templates tell:\n\n")
	for line := range strings.Lines(table.String()) {
		fmt.Fprint(w, strings.TrimRight("  "+line, " \n")+"\n")
	}
	fmt.Fprintln(w)
	return nil
}

// expected are the changes, as far as they can be worked out without a change
// set.
func (d *Deploy) expected() ([]changeset.Change, error) {
	next := changeset.Side{Template: d.Template, Parameters: map[string]string{}, Stack: d.Settings.Stack}
	for _, c := range d.Choices {
		next.Parameters[c.Name] = c.Value
		if c.NoEcho && c.Source == parameters.Named {
			next.Secrets = append(next.Secrets, c.Value)
		}
	}
	s := d.stack()
	if s == nil {
		return changeset.Expect(nil, next)
	}
	return changeset.Expect(&changeset.Side{Template: s.Template, Parameters: s.Parameters, Stack: s.Name}, next)
}

// parametersFile is as aws cloudformation create-stack and deploy take it. What
// is never shown stays with the stack, or must be filled in.
func (d *Deploy) parametersFile() ([]byte, error) {
	type parameter struct {
		ParameterKey     string
		ParameterValue   *string `json:",omitempty"`
		UsePreviousValue bool    `json:",omitempty"`
	}
	var all []parameter
	for _, c := range d.Choices {
		p := parameter{ParameterKey: c.Name, ParameterValue: &c.Value}
		if c.NoEcho {
			p = parameter{ParameterKey: c.Name, UsePreviousValue: true}
		}
		all = append(all, p)
	}
	return file(all)
}

func (d *Deploy) tagsFile() ([]byte, error) {
	type tag struct{ Key, Value string }
	var all []tag
	for _, key := range slices.Sorted(maps.Keys(d.tags())) {
		all = append(all, tag{key, d.tags()[key]})
	}
	return file(all)
}

func file(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
)

// defaultArchitecture is what a new stack's functions are for.
const defaultArchitecture = "arm64"

// packaging brings the functions' code to where CloudFormation takes it from.
type packaging struct{}

func (*packaging) Name() string { return "package" }

func (*packaging) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	d.choosePackage()
	if d.restored == nil && d.Artifacts == nil {
		d.Artifacts = d.newArtifacts()
	}
	lines, err := d.planSwitch()
	if err != nil {
		return nil, err
	}
	more, err := d.Artifacts.Plan(ctx, d)
	return append(lines, more...), err
}

// planSwitch says what a change between zip files and images means, which needs
// consent before anything is made for it.
func (d *Deploy) planSwitch() ([]string, error) {
	s := d.stack()
	if s == nil {
		return nil, nil
	}
	had, _ := codeOf(s.Template)
	if had == d.Settings.Package || d.Mode.CodeOnly { // which is refused for a better reason
		return nil, nil
	}
	what := fmt.Sprintf("the functions of stack %s are of the package %s; as %s they are replaced, and queued "+
		"events are "+
		"lost", s.Name, had, d.Settings.Package)
	if !d.asks() && !d.Mode.DryRun() && !d.Settings.AllowReplacement {
		return nil, fmt.Errorf("%s: %w: give --allow-replacement to have that done", what, ErrConsent)
	}
	return []string{what}, nil
}

// choosePackage decides on the package and the architecture: the user's, the stack's,
// or the default.
func (d *Deploy) choosePackage() {
	kind, architecture := embedded.Zip, defaultArchitecture
	if s := d.stack(); s != nil {
		var of string
		if kind, of = codeOf(s.Template); of != "" {
			architecture = of
		}
	}
	d.Settings.Package = cmp.Or(d.Settings.Package, kind)
	d.Settings.Architecture = cmp.Or(d.Settings.Architecture, architecture)
}

func (d *Deploy) newArtifacts() Artifacts {
	if d.Settings.Package == embedded.Image {
		return &images{}
	}
	return &zipFiles{}
}

func (*packaging) Do(ctx context.Context, d *Deploy) error {
	if err := d.records.begin(ctx, d); err != nil {
		return err
	}
	return d.Artifacts.Upload(ctx, d)
}

// codeOf reads from a template the package of the functions, and their architecture as
// Go names it; that is empty if it is not known.
func codeOf(template []byte) (embedded.Package, string) {
	var t struct {
		Parameters map[string]json.RawMessage
		Resources  map[string]struct {
			Properties struct{ Architectures []string }
		}
	}
	kind := embedded.Zip
	_ = json.Unmarshal(template, &t) // it is one of ours
	if _, image := t.Parameters[deployed.ParamFilterImage]; image {
		kind = embedded.Image
	}
	if a := t.Resources[deployed.GeneratorID].Properties.Architectures; len(a) == 1 {
		return kind, map[string]string{"arm64": "arm64", "x86_64": "amd64"}[a[0]]
	}
	return kind, ""
}

// saveAll writes files into a folder, by their names with slashes, and returns
// these.
func saveAll(folder string, files map[string][]byte) ([]string, error) {
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		file := filepath.Join(folder, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, files[name], 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("writing what would be deployed: %w", err)
		}
	}
	return names, nil
}

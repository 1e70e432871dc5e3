package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/internal/codebucket"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/version"
)

// Functions are the names of the functions' zip files.
var Functions = []string{"filter", "indexgen", "reponame"}

// defaultArchitecture is what a new stack's functions are for.
const defaultArchitecture = "arm64"

// packaging brings the functions' code to where CloudFormation takes it from.
type packaging struct{}

func (*packaging) Name() string { return "package" }

func (*packaging) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	d.choosePackage()
	if d.Artifacts == nil {
		d.Artifacts = d.newArtifacts()
	}
	lines, err := d.planSwitch()
	if err != nil {
		return nil, err
	}
	more, err := d.Artifacts.Plan(ctx, d)
	return append(lines, more...), err
}

// planSwitch tells what a change between zip files and images means, which needs
// consent before anything is made for it.
func (d *Deploy) planSwitch() ([]string, error) {
	s := d.stack()
	if s == nil {
		return nil, nil
	}
	had, _ := codeOf(s.Template)
	if had == d.Settings.Package {
		return nil, nil
	}
	what := fmt.Sprintf("the functions of stack %s are of the package %s; as %s they are replaced, and queued events are "+
		"lost", s.Name, had, d.Settings.Package)
	if !d.asks() && !d.Mode.DryRun() && !d.Settings.AllowReplacement {
		return nil, fmt.Errorf("%s: %w: give --allow-replacement to have that done", what, ErrConsent)
	}
	return []string{what}, nil
}

// choosePackage decides how the code comes to Lambda, and for which
// architecture it is: as the user says, as the stack has it, or by default.
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
	return &ownBucket{}
}

func (*packaging) Do(ctx context.Context, d *Deploy) error { return d.Artifacts.Upload(ctx, d) }

// codeOf reads from a template how the functions' code comes to Lambda, and for
// which architecture it is, as Go names it; that is empty when it cannot be
// told.
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
	if a := t.Resources["GeneratorFunction"].Properties.Architectures; len(a) == 1 {
		return kind, map[string]string{"arm64": "arm64", "x86_64": "amd64"}[a[0]]
	}
	return kind, ""
}

// keyPrefix begins the keys of all code in a bucket of the user's own.
const keyPrefix = "soci-index-builder/"

// ownBucket are zip files in a bucket of the user's own.
type ownBucket struct {
	packed *codebucket.Package
	bucket *codebucket.Bucket // nil without AWS
	name   string
}

func (b *ownBucket) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	files, size := map[string][]byte{}, 0
	for _, name := range Functions {
		content, err := d.Mode.Functions(d.Settings.Architecture, name)
		if err != nil {
			return nil, err
		}
		files[name+".zip"] = content
		size += len(content)
	}
	b.name = d.Settings.Bucket
	b.packed = codebucket.PackContent(keyPrefix, version.Version, files)
	if !d.Offline() {
		var err error
		if b.bucket, err = codebucket.Open(ctx, d.AWS, b.name); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("upload the functions for %s, %s, to s3://%s/%s, unless they are there",
		d.Settings.Architecture, bytesize.Format(int64(size)), b.name, b.packed.Prefix)}, nil
}

func (b *ownBucket) Parameters() (map[string]string, bool) {
	return map[string]string{deployed.ParamCodeBucket: b.name, deployed.ParamCodeKeyPrefix: b.packed.Prefix}, false
}

func (b *ownBucket) Upload(ctx context.Context, d *Deploy) error {
	for _, o := range b.packed.Objects {
		sent, err := b.bucket.Upload(ctx, o)
		if err != nil {
			return err
		}
		what := "there already"
		if sent {
			what = "uploaded"
		}
		d.Screen.Say(fmt.Sprintf("%-13s  s3://%s/%s", what, b.name, o.Key))
	}
	return nil
}

func (b *ownBucket) Check(ctx context.Context, d *Deploy) error {
	_, err := codebucket.Open(ctx, d.AWS, b.name)
	return err
}

func (b *ownBucket) Save(folder string) ([]string, error) {
	files := map[string][]byte{}
	for _, o := range b.packed.Objects {
		files[path.Join("code", path.Base(o.Key))] = o.Content
	}
	return saveAll(folder, files)
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

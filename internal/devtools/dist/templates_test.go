package dist

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"soci-index-builder/internal/embedded"
)

// A release has each of the project's templates for both architectures.
func TestReleaseTemplates(t *testing.T) {
	b := &releaser{Release: Release{Templates: "../../../templates", Architectures: Architectures}, work: t.TempDir()}
	entries, err := b.templates()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for _, e := range entries {
		got[e.name] = read(t, e.from)
	}
	const name = "templates/soci-index-builder"
	want := map[string]embedded.Package{"": embedded.Zip, "-image": embedded.Image}
	if len(got) != 2*len(want) || len(entries) != len(got) {
		t.Errorf("there are %d templates, %d names", len(entries), len(got))
	}
	for suffix, p := range want {
		for file, arch := range map[string]string{".template.json": "arm64", "-amd64.template.json": "amd64"} {
			template, err := embedded.Template(p, arch)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got[name+suffix+file], template) {
				t.Errorf("%s is not the template for %s", name+suffix+file, arch)
			}
		}
	}
}

func TestReleaseTemplatesRefuses(t *testing.T) {
	b := &releaser{Release: Release{Templates: t.TempDir(), Architectures: Architectures}, work: t.TempDir()}
	if _, err := b.templates(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no template: the error is %v", err)
	}
	write(t, filepath.Join(b.Templates, "a.template.json"), "{}")
	if _, err := b.templates(); !errors.Is(err, embedded.ErrNoTemplate) {
		t.Errorf("a template without functions: the error is %v, want ErrNoTemplate", err)
	}
}

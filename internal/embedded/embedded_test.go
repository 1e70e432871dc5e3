package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	for p, file := range map[Package]string{Zip: "soci-index-builder", Image: "soci-index-builder-image"} {
		committed, err := os.ReadFile("../../templates/" + file + ".template.json")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Template(p, "arm64")
		if err != nil || !bytes.Equal(got, committed) {
			t.Errorf("%s for arm64 is not the committed template: %v", p, err)
		}
		got, err = Template(p, "amd64")
		if err != nil {
			t.Fatalf("%s for amd64: %v\n%s", p, err, got)
		}
		if !json.Valid(got) || bytes.Contains(got, []byte("arm64")) || bytes.Count(got, []byte(`["x86_64"]`)) != 4 {
			t.Errorf("%s for amd64: %v\n%s", p, err, got)
		}
		if back := bytes.ReplaceAll(got, []byte("x86_64"), []byte("arm64")); !bytes.Equal(back, committed) {
			t.Errorf("%s for amd64 differs from that for arm64 in more than the architecture", p)
		}
	}
	if _, err := For([]byte(`{"Architectures":["x86_64"]}`), "amd64"); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("the error is %v, want ErrNoTemplate", err)
	}
	if _, err := Template(Zip, "x86_64"); !errors.Is(err, ErrArchitecture) {
		t.Errorf("the error is %v, want ErrArchitecture", err)
	}
}

// Package dist runs this test also with functions in the binary: the zip file
// of each says what it is.
func TestFunction(t *testing.T) {
	with := os.Getenv("SOCI_TEST_EMBEDDED") != ""
	if got := strings.Join(Architectures(), " "); got != map[bool]string{true: "amd64 arm64"}[with] {
		t.Fatalf("there are functions for %q, with functions: %t", got, with)
	}
	for _, architecture := range []string{"arm64", "amd64"} {
		for _, function := range []string{"filter", "indexgen", "reponame"} {
			content, err := Function(architecture, function)
			if !with {
				if !errors.Is(err, ErrNoFunctions) || !strings.Contains(err.Error(), "make install") {
					t.Errorf("the error is %v, want ErrNoFunctions", err)
				}
			} else if want := function + " for " + architecture; err != nil || string(content) != want {
				t.Errorf("%s is %q, %v", want, content, err)
			}
		}
	}
	if _, err := Function("riscv", "filter"); !errors.Is(err, ErrArchitecture) {
		t.Errorf("the error is %v, want ErrArchitecture", err)
	}
	if _, err := Function("arm64", "../x"); with && !errors.Is(err, ErrUnknown) {
		t.Errorf("the error is %v, want ErrUnknown", err)
	}
}

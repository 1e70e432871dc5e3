package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TestMain also sees to it that the screen stays empty: neither jsii nor CDK
// has anything to say when all is well.
func TestMain(m *testing.M) {
	screen := os.Stderr
	said, err := os.CreateTemp("", "infra-stack-stderr")
	if err != nil {
		panic(err)
	}
	os.Stderr = said
	code := m.Run()
	Close()
	os.Stderr = screen
	if text, err := os.ReadFile(said.Name()); len(text) > 0 || err != nil {
		fmt.Fprintf(screen, "--- FAIL: on the screen is %q, %v\n", text, err)
		code = max(code, 1)
	}
	os.Remove(said.Name())
	os.RemoveAll(synthesized.folder)
	os.Exit(code)
}

// template is the stack as CloudFormation gets it.
type template struct {
	text []byte // as it is written

	Description string
	Metadata    map[string]any
	Parameters  map[string]struct {
		Type, Description, AllowedPattern, ConstraintDescription string
		Default                                                  any
		AllowedValues                                            []any
		MinValue, MaxValue                                       *float64
	}
	Conditions map[string]any
	Resources  map[string]resource
	Outputs    map[string]struct {
		Description string
		Value       any
	}
	Rules map[string]any
}

type resource struct {
	Type                                           string
	Properties                                     map[string]any
	Condition, DeletionPolicy, UpdateReplacePolicy string
	DependsOn                                      []string
}

// synthesized is made once, since the process behind it takes seconds.
var synthesized struct {
	once                         sync.Once
	folder                       string
	plain, images, assets, amd64 *template
}

// The plain templates as they are committed, which TestTemplateIsCurrent compares
// with fresh ones.
const (
	committedTemplate = "../../templates/soci-index-builder.template.json"
	committedImages   = "../../templates/soci-index-builder-image.template.json"
)

// synth returns the plain template; where Node.js is not installed, the one that
// is committed.
func synth(t *testing.T) *template {
	t.Helper()
	readOrSynthesize(t)
	return synthesized.plain
}

// synthImages returns the plain template whose functions are images, as synth
// does.
func synthImages(t *testing.T) *template {
	t.Helper()
	readOrSynthesize(t)
	return synthesized.images
}

func readOrSynthesize(t *testing.T) {
	t.Helper()
	if hasNode() {
		synthesizeOnce(t)
		return
	}
	synthesized.once.Do(func() {
		synthesized.plain, synthesized.images = readTemplate(t, committedTemplate), readTemplate(t, committedImages)
	})
}

// synthAssets returns the template whose code the CDK command line uploads, of a
// stack named "second" with functions for AMD64.
func synthAssets(t *testing.T) *template {
	t.Helper()
	synthesizeOnce(t)
	return synthesized.assets
}

func synthesizeOnce(t *testing.T) {
	t.Helper()
	needNode(t)
	synthesized.once.Do(func() {
		var err error
		if synthesized.folder, err = os.MkdirTemp("", "infra-stack"); err != nil {
			t.Fatal(err)
		}
		code := filepath.Join(synthesized.folder, "dist")
		for _, function := range []string{"filter", "indexgen", "reponame"} {
			path := Props{CodeFolder: code, Architecture: AMD64}.zip(function)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("the code of "+function), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		folder := filepath.Join(synthesized.folder, "cdk.out")
		app := NewApp(folder)
		New(app, ID, Props{})
		New(app, "Images", Props{Images: true})
		New(app, "AMD64", Props{Architecture: AMD64})
		second := New(app, "Second", Props{StackName: "second", Architecture: AMD64, CodeFolder: code})
		addNag(second)
		app.Synth(nil)
		synthesized.plain = readTemplate(t, filepath.Join(folder, ID+".template.json"))
		synthesized.images = readTemplate(t, filepath.Join(folder, "Images.template.json"))
		synthesized.amd64 = readTemplate(t, filepath.Join(folder, "AMD64.template.json"))
		synthesized.assets = readTemplate(t, filepath.Join(folder, "Second.template.json"))
	})
	if synthesized.assets == nil {
		t.Fatal("the stack could not be synthesized, see above")
	}
}

// needNode skips a test where the constructs cannot run.
func needNode(t *testing.T) {
	t.Helper()
	if !hasNode() {
		t.Skip("Node.js is not installed: the stack cannot be synthesized; the template that is committed is tested " +
			"in its place")
	}
}

func hasNode() bool {
	_, err := exec.LookPath("node")
	return err == nil
}

func readTemplate(t *testing.T, path string) *template {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &template{text: text}
	if err := json.Unmarshal(text, tmpl); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return tmpl
}

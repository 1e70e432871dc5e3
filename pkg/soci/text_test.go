package soci_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

// constants returns the values of all constants of a type in a file.
func constants(t *testing.T, file, typeName string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typeName {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
		return true
	})
	if len(values) < 10 {
		t.Fatalf("only %d constants of type %s in %s", len(values), typeName, file)
	}
	return values
}

// Every reason and every outcome has words of its own for people.
func TestTexts(t *testing.T) {
	texts := map[string]string{}
	check := func(word, text string) {
		t.Helper()
		expect.Equal(t, expect.Facts{
			{`text == ""`, text == "", false},
			{"strings.TrimSpace(text)", strings.TrimSpace(text), text},
			{`strings.HasSuffix(text, ",")`, strings.HasSuffix(text, ","), false},
			{`strings.HasSuffix(text, ".")`, strings.HasSuffix(text, "."), false},
		}, "%s: %q", word, text)
		if strings.Contains(word, "-") && (strings.Contains(text, word) || text == strings.ReplaceAll(word, "-", " ") &&
			word != string(soci.OutcomeNoLayer) && word != string(soci.OutcomeAlreadyTagged)) {
			t.Errorf("%s has no text but %q", word, text)
		}
		if other, ok := texts[text]; ok {
			t.Errorf("%s and %s are both %q", word, other, text)
		}
		texts[text] = word
	}
	for _, word := range constants(t, "result.go", "SkipReason") {
		check(word, soci.SkipReason(word).Text())
	}
	for _, word := range constants(t, "result.go", "Outcome") {
		check(word, soci.Outcome(word).Text())
	}
}

// The advice about zstd names each of the build tools.
func TestZstdFix(t *testing.T) {
	fix := soci.SkipZstd.Fix()
	for _, want := range []string{"docker buildx build --output " +
		"type=image,push=true,compression=gzip,force-compression=true",
		"buildah push --compression-format gzip", "podman push --compression-format gzip", "Kaniko: --compression=gzip",
		"Jib: ",
		`Bazel rules_oci: pkg_tar(extension = "tar.gz")`} {
		if !strings.Contains(fix, want) {
			t.Errorf("%q does not have %q", fix, want)
		}
	}
	if strings.Contains(fix, "\n") {
		t.Error("it has more than one line")
	}
	if got := soci.SkipTooSmall.Fix(); got != "" {
		t.Errorf("of a small layer %q", got)
	}
}

func TestSkippedText(t *testing.T) {
	got := soci.SkippedText(map[soci.SkipReason]int{soci.SkipZstd: 1, soci.SkipTooSmall: 2})
	if want := "2 smaller than the minimum layer size, 1 compressed with zstd"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := soci.SkippedText(nil); got != "" {
		t.Errorf("of none %q", got)
	}
}

// Every reason is in the documents: the rules of what is skipped, and what to do
// about it. A small layer needs no fix.
func TestReasonsAreDocumented(t *testing.T) {
	for _, page := range []string{"format.md", "troubleshooting.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range constants(t, "result.go", "SkipReason") {
			if !strings.Contains(string(text), "`"+word+"`") && (page == "format.md" ||
				word != string(soci.SkipTooSmall)) {
				t.Errorf("docs/%s does not have the reason %q", page, word)
			}
		}
	}
}

// Every reason is either shown by a layer's descriptor or found by reading the
// layer. Only the latter are remembered, so that the layer is not read again.
func TestReasonsOfContent(t *testing.T) {
	descriptor := []soci.SkipReason{soci.SkipTooSmall, soci.SkipEncrypted, soci.SkipNotALayer, soci.SkipForeign}
	for _, word := range constants(t, "result.go", "SkipReason") {
		reason := soci.SkipReason(word)
		if got, want := reason.OfContent(), !slices.Contains(descriptor, reason); got != want {
			t.Errorf("%s: OfContent is %t, want %t", reason, got, want)
		}
	}
}

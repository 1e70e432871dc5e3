package main

import (
	"strings"
	"testing"

	"github.com/acarl005/stripansi"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
)

// sizes of terminals that the program is seen on.
var sizes = []sessionOptions{{columns: 80, rows: 24}, {columns: 120, rows: 40}}

// The output of the verbs for an image fits a terminal, and has colours and
// marks only there.
func TestImageVerbsOnATerminal(t *testing.T) {
	layers := storedLayers(t)
	server := registrytest.Start(t)
	server.PushImage(t, "a-team-with-a-long-name/an-application", "1.0.0-release", registrytest.Image{
		Layers: []registrytest.Layer{{Content: layers["writer/go-6"]}, {Content: layers["member/two"]}}})
	server.PushImage(t, "a-team-with-a-long-name/an-application", "2.0.0-release", registrytest.Image{
		Layers: []registrytest.Layer{{Content: layers["writer/go-6"]}}})
	repository := server.Host() + "/a-team-with-a-long-name/an-application"
	ref := repository + ":1.0.0-release"
	const good, bad = "\x1b[32m✓\x1b[0m ", "\x1b[31m"
	for _, o := range sizes {
		for _, tt := range []struct {
			args []string
			has  []string
			code int
		}{
			{[]string{"index", "--min-layer-size", "0", "--force", ref}, []string{good + ref, "\x1b[1mLAYER\x1b[22m"},
				0},
			{[]string{"inspect", ref}, []string{"└── zTOC  sha256:"}, 0},
			{[]string{"verify", ref}, []string{good + "linux/amd64", "\x1b[32mno difference\x1b[0m"}, 0},
			{[]string{"status", "--min-layer-size", "0", repository},
				[]string{"\x1b[32mindexed\x1b[0m", "\x1b[33mmissing\x1b[0m"}, 0},
			{[]string{"cleanup", "--any-tag", repository}, []string{"  1.0.0-release-soci  sha256:"}, 0},
			{[]string{"verify", repository + ":2.0.0-release"}, []string{bad + programName + "\x1b[0m: verifying"}, 1},
		} {
			s := onTerminal(t, o, tt.args...)
			if s.code != tt.code {
				t.Fatalf("%q ends with %d:\n%s", tt.args, s.code, s.screen.text())
			}
			for _, text := range tt.has {
				if !strings.Contains(s.raw, text) {
					t.Errorf("%q does not write %q: %q", tt.args, text, s.raw)
				}
			}
			if tt.code == 0 && s.screen.wrapped > 0 {
				t.Errorf("%q in %d columns has lines that are too wide: %q", tt.args, o.columns,
					tooWide(s.raw, int(o.columns)))
			}
			t.Logf("%q\n%s", tt.args, s.screen.text())
			if o.columns != sizes[0].columns {
				continue
			}
			for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
				plain := o
				plain.env = []string{env}
				if s := onTerminal(t, plain, tt.args...); strings.Contains(s.raw, "✓") ||
					strings.Contains(s.raw, "[32m") ||
					strings.Contains(s.raw, bad) || env == "TERM=dumb" && strings.Contains(s.raw, "\x1b") {
					t.Errorf("%q with %s: %q", tt.args, env, s.raw)
				}
			}
		}
	}
}

// Long names, many platforms: a line is too wide only where it has no blank at
// which it could be broken.
func TestLongNamesOnATerminal(t *testing.T) {
	layers := storedLayers(t)
	server := registrytest.Start(t)
	name := "team/" + strings.Repeat("long-name/", 9) + "image" // of 100 characters
	tag := strings.Repeat("release-", 8)                        // of 64
	tag = tag[:63] + "1"
	var manifests []ocispec.Descriptor
	for _, platform := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "linux/ppc64le"} {
		manifests = append(manifests,
			server.PushImage(t, name, strings.ReplaceAll(platform, "/", "-"), registrytest.Image{
				Platform: platform, Layers: []registrytest.Layer{{Content: layers["writer/go-6"]}}}).Manifest)
	}
	server.PushIndex(t, name, tag, false, manifests...)
	ref := server.Host() + "/" + name + ":" + tag
	for _, o := range sizes {
		for _, args := range [][]string{
			{"index", "--min-layer-size", "0", "--dry-run", ref},
			{"index", "--min-layer-size", "0", "--force", ref},
			{"inspect", ref},
			{"verify", ref},
			{"status", "--min-layer-size", "0", ref},
			{"status", "--min-layer-size", "0", server.Host() + "/" + name},
			{"estimate", "--path", "**", ref},
			{"cleanup", server.Host() + "/" + name},
			{"backfill", "--local", "--dry-run", "--min-layer-size", "0", server.Host() + "/" + name},
			{"wait", "--min-layer-size", "0", "--timeout", "1s", ref},
			{"filters", "test", "--filters", "*:*", name + ":" + tag},
			{"filters", "test", "--filters", "*:*", "team/tool@" + manifests[0].Digest.String()},
			{"version"}, {"--version"}, {"logs", "--list"},
		} {
			s := onTerminal(t, o, args...)
			if s.code != exitOK {
				t.Fatalf("%q ends with %d:\n%s", args, s.code, s.screen.text())
			}
			if strings.Contains(s.raw, manifests[0].Digest.String()) {
				t.Errorf("%q shows a whole digest:\n%s", args, s.screen.text())
			}
			for _, line := range tooWide(s.raw, int(o.columns)) {
				if words := strings.Fields(strings.Replace(stripansi.Strip(line), "✓ ", "",
					1)); len(words) > 1 { // a mark stays with its name
					t.Errorf("%q in %d columns: %q", args, o.columns, line)
				}
			}
			t.Logf("%q\n%s", args, s.screen.text())
		}
	}
}

// Errors about the command line, which begin with the command's path, are broken
// between words as others are.
func TestUsageErrorsOnATerminal(t *testing.T) {
	for _, args := range [][]string{
		{"filters", "test", "--filters", "a:b", "--no-such-flag-of-any-verb"},
		{"ztoc", "create", "--span-size", "9999999999GiB", "layer.tar.gz"},
		{"wait", "one", "two", "--index-version", "V9"},
		{"estimate", "team/app:1.0"},
		{"index"}, {"inspect", "one", "two"}, {"status", "-o", "yaml"},
	} {
		for _, o := range sizes {
			s := onTerminal(t, o, args...)
			if s.code != exitUsage || s.screen.wrapped > 0 {
				t.Errorf("%q in %d columns ends with %d: %q", args, o.columns, s.code, tooWide(s.raw, int(o.columns)))
			}
			if !strings.HasPrefix(s.raw, "\x1b[31m"+programName+"\x1b[0m") {
				t.Errorf("%q: %q", args, s.raw)
			}
		}
	}
}

// An error that is printed above a bar is broken between words too.
func TestErrorsAboveABar(t *testing.T) {
	server := registrytest.Start(t)
	repository := server.Host() + "/a-team-with-a-name/an-application-that-is-not-there"
	for _, o := range sizes {
		s := onTerminal(t, o, "status", repository+":1.0.0-release")
		if s.code != exitFailure || !strings.Contains(s.raw, programName+"\x1b[0m: ") {
			t.Fatalf("it ends with %d: %q", s.code, s.raw)
		}
		for _, line := range tooWide(s.raw, int(o.columns)) {
			if len(strings.Fields(stripansi.Strip(line))) > 1 {
				t.Errorf("in %d columns: %q", o.columns, line)
			}
		}
	}
}

// The line that shows that a command waits fits the terminal, and nothing of it is
// left.
func TestWaitOnATerminal(t *testing.T) {
	server := registrytest.Start(t)
	const name = "a-team-with-a-long-name/an-application-with-a-long-name-that-nobody-builds"
	server.PushImage(t, name, "1.0.0-release", registrytest.Image{
		Layers: []registrytest.Layer{{Content: storedLayers(t)["writer/go-6"]}}})
	for _, o := range sizes {
		s := onTerminal(t, o, "wait", "--min-layer-size", "0", "--timeout", "1s",
			server.Host()+"/"+name+":1.0.0-release")
		if s.code != exitTimeUp || s.hidesCursor() || !strings.Contains(s.raw, "waiting 0s of 1s for "+server.Host()) ||
			strings.Contains(s.screen.text(), "waiting ") {
			t.Errorf("in %d columns it ends with %d: %q\n%s", o.columns, s.code, s.raw, s.screen.text())
		}
		for _, line := range tooWide(s.raw, int(o.columns)) {
			if strings.Contains(line, "waiting ") {
				t.Errorf("in %d columns: %q", o.columns, line)
			}
		}
	}
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
)

var errNoGo = errors.New("there is no go")

// bare is a machine without Go.
func bare(folders ...string) finder {
	f := defaultFinder
	f.goRoot = func(context.Context) (string, error) { return "", errNoGo }
	f.folders, f.least, f.most, f.file = folders, 12<<20, 18<<20, 12<<20
	return f
}

func TestFind(t *testing.T) {
	dir := filesDir(t)
	small := t.TempDir()
	if err := os.WriteFile(filepath.Join(small, "a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := t.TempDir()
	for name, size := range map[string]int{"huge": 19 << 20, "single": 13 << 20, "big": 11 << 20, "other": 10 << 20,
		"rest": 6 << 20} {
		if err := os.WriteFile(filepath.Join(large, name), testlayers.Noise(1, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := filepath.Join(dir, "none")

	withGo := bare(dir)
	withGo.goRoot = func(context.Context) (string, error) { return "/go", nil }
	itself := bare(none, small)
	itself.program = func() (string, error) { return "/opt/tool", nil }
	for name, tt := range map[string]struct {
		finder
		want files
	}{
		"Go": {withGo, files{"/go", nil, "an image of the Go installation in /go"}},
		"the first that does": {bare(none, small, dir),
			files{dir, []string{"big", "middle", "small"}, "an image of files in " + dir}},
		"what fits": {bare(large), files{large, []string{"big", "rest"}, "an image of files in " + large}},
		"nothing":   {itself, files{"/opt/", []string{"tool"}, "an image of this program"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.find(t.Context())
			got.entries = slices.DeleteFunc(got.entries, func(s string) bool { return s == "dangling" })
			if err != nil {
				t.Fatalf("%+v, %v, want %+v", got, err, tt.want)
			}
			if got.dir != tt.want.dir || got.what != tt.want.what || !slices.Equal(got.entries, tt.want.entries) {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := bare(dir).find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v after the end", got, err)
	}
	bad := bare()
	bad.program = func() (string, error) { return "", errNoGo }
	if _, err := bad.find(t.Context()); !errors.Is(err, errNoGo) {
		t.Errorf("the error is %v", err)
	}
}

// Files that others may not read are left out.
func TestFindSkipsTheUnreadable(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root reads everything")
	}
	dir := filesDir(t)
	if err := os.WriteFile(filepath.Join(dir, "secret"), testlayers.Noise(4, 1<<20), 0o000); err != nil {
		t.Fatal(err)
	}
	got, err := bare(dir).find(t.Context())
	if err != nil || slices.Contains(got.entries, "secret") || !slices.Contains(got.entries, "big") {
		t.Errorf("%+v, %v", got, err)
	}
}

// The demo of a released program works without Go and without files of the system.
func TestWithoutGo(t *testing.T) {
	before := defaultFinder
	t.Cleanup(func() { defaultFinder = before })
	t.Setenv("PATH", t.TempDir())
	program := filepath.Join(t.TempDir(), "program") // with the functions in it
	if err := os.WriteFile(program, testlayers.Noise(5, 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filesDir(t), filepath.Join(t.TempDir(), "none")} {
		defaultFinder = bare(folder)
		defaultFinder.goRoot = goInstallation
		defaultFinder.program = func() (string, error) { return program, nil }
		out, err := runDemo(t, t.Context(), Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := fmt.Sprintf("1. Push an image of files in %s to", folder)
		if strings.HasSuffix(folder, "none") {
			want = "1. Push an image of this program to"
		}
		if !strings.Contains(out, want) || !strings.Contains(out, "no difference") {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

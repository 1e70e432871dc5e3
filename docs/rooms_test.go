package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// section returns the part of a page below a heading of the second level.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("there is no heading %q", heading)
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

// named returns the folders that the map of rooms names, each as often as it
// does. A name without a slash is beside the one before it in the first column,
// and below the row's room in the second.
func named(t *testing.T, rooms string) map[string]int {
	t.Helper()
	count := make(map[string]int)
	for line := range strings.Lines(rooms) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		var room string
		for _, m := range code.FindAllStringSubmatch(cells[1], -1) {
			if room == "" || strings.Contains(m[1], "/") {
				room = m[1]
			} else {
				room = path.Join(path.Dir(room), m[1])
			}
			if _, err := os.Stat(filepath.Join("..", room)); err != nil {
				t.Errorf("the map names %s: %v", room, err)
			}
			count[room]++
		}
		for _, m := range code.FindAllStringSubmatch(cells[2], -1) {
			below := path.Join(room, m[1])
			if info, err := os.Stat(filepath.Join("..", below)); err == nil && info.IsDir() {
				count[below]++
			}
		}
	}
	return count
}

// The comments of the two large packages name each of their files once.
func TestFilesAreInPackageComment(t *testing.T) {
	for _, pkg := range []string{"../pkg/soci", "../pkg/ecrclient"} {
		count := map[string]int{}
		for _, m := range regexp.MustCompile(`[a-z0-9]+\.go\b`).FindAllString(read(t, pkg+"/doc.go"), -1) {
			count[m]++
		}
		entries, err := os.ReadDir(pkg)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || name == "doc.go" {
				continue
			}
			if count[name] != 1 {
				t.Errorf("%s/doc.go names %s %d times, not once", pkg, name, count[name])
			}
			delete(count, name)
		}
		for name := range count {
			t.Errorf("%s/doc.go names %s, which is not there", pkg, name)
		}
	}
}

// The map of CONTRIBUTING.md names each folder of internal, and those right below
// one, once.
func TestRoomsAreOnTheMap(t *testing.T) {
	count := named(t, section(t, read(t, "../CONTRIBUTING.md"), "The rooms"))
	folders := 0
	err := filepath.WalkDir("../internal", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		room := strings.TrimPrefix(filepath.ToSlash(name), "../")
		depth := strings.Count(room, "/")
		if d.Name() == "testdata" {
			return fs.SkipDir
		}
		if depth > 0 {
			folders++
			if count[room] != 1 {
				t.Errorf("CONTRIBUTING.md names %s %d times, not once", room, count[room])
			}
		}
		if depth == 2 {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil || folders < 40 {
		t.Errorf("%d folders, %v", folders, err)
	}
}

// Every file and folder that the table of new things names is there.
func TestPlacesForNewThings(t *testing.T) {
	table := section(t, read(t, "../CONTRIBUTING.md"), "Where does it go?")
	places := 0
	for line := range strings.Lines(table) {
		room := ""
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			name := m[1]
			switch {
			case strings.Contains(name, "/"):
				room = name
				if !strings.HasSuffix(name, "/") && path.Ext(name) != "" {
					room = path.Dir(name)
				}
			case slices.Contains([]string{".go", ".txtar"}, path.Ext(name)):
				name = path.Join(room, name) // beside the one before
			default:
				continue
			}
			places++
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("%v in %s", err, line)
			}
		}
	}
	if places < 15 {
		t.Errorf("only %d places were found", places)
	}
}

// The kinds of events and the filter's decisions are where a reader looks for
// them, so that a new one is not forgotten there.
func TestNewThingsAreDocumented(t *testing.T) {
	for _, tt := range []struct {
		source, constant string
		pages            []string
	}{
		{"../internal/ecrevent/ecrevent.go", `= "(ECR [A-Za-z ]+ Action)"`, []string{"events.md"}},
		{"../internal/filters/rules.go", `Decision = "([a-z-]+)"`, []string{"functions.md",
			"../cmd/soci-index-builder/filterstest.go"}},
	} {
		all := regexp.MustCompile(tt.constant).FindAllStringSubmatch(read(t, tt.source), -1)
		if len(all) < 4 {
			t.Errorf("%s has only %d constants of the form %s", tt.source, len(all), tt.constant)
		}
		for _, page := range tt.pages {
			text := read(t, page)
			for _, m := range all {
				if !strings.Contains(text, m[1]) {
					t.Errorf("%s does not have %q of %s", page, m[1], tt.source)
				}
			}
		}
	}
}

package docs

import (
	"bytes"
	"go/scanner"
	gotoken "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxColumns = 120
	tabColumns = 4
)

// tooLong returns the numbers of the lines of a Go file that have too many
// columns. What is in raw string literals does not count: JSON, queries and
// scripts are what they are.
func tooLong(source []byte) []int {
	code := bytes.Clone(source)
	set := gotoken.NewFileSet()
	file := set.AddFile("", set.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	for {
		pos, tok, literal := s.Scan()
		if tok == gotoken.EOF {
			break
		}
		if tok != gotoken.STRING || literal[0] != '`' {
			continue
		}
		// The literal of the scanner has no carriage returns; the source has none.
		for i := range literal {
			if at := file.Offset(pos) + i; code[at] != '\n' {
				code[at] = 0
			}
		}
	}
	var all []int
	number := 0
	for line := range strings.Lines(string(code)) {
		number++
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\x00", "")
		columns := utf8.RuneCountInString(line) + (tabColumns-1)*strings.Count(line, "\t")
		if columns > maxColumns && !onlyURL(line) {
			all = append(all, number)
		}
	}
	return all
}

// onlyURL reports whether a line is a comment of nothing but an address, which
// cannot be broken.
func onlyURL(line string) bool {
	text, ok := strings.CutPrefix(strings.TrimSpace(line), "// ")
	return ok && strings.Contains(text, "://") && !strings.Contains(text, " ")
}

func TestTooLong(t *testing.T) {
	long := strings.Repeat("x", 60)
	for name, tt := range map[string]struct {
		source string
		want   bool
	}{
		"120":             {"// " + strings.Repeat("x", 117), false},
		"121":             {"// " + strings.Repeat("x", 118), true},
		"tabs":            {strings.Repeat("\t", 16) + "// " + strings.Repeat("x", 53), false},
		"one tab more":    {strings.Repeat("\t", 17) + "// " + strings.Repeat("x", 53), true},
		"no ASCII":        {"// " + strings.Repeat("–", 117), false},
		"a string":        {`var s = "` + long + long + `"`, true},
		"a raw string":    {"var s = `" + long + long + "`", false},
		"lines of one":    {"var s = `\n" + long + long + "\n" + long + long + "`", false},
		"code behind one": {"var s = `\n" + long + long + "` + " + long + " + " + long, true},
		"a URL":           {"// https://" + long + long, false},
		"words and a URL": {"// see https://" + long + long, true},
	} {
		if got := tooLong([]byte("package p\n\n" + tt.source + "\n")); (len(got) > 0) != tt.want {
			t.Errorf("%s: lines %d are too long, want that there is one: %t", name, got, tt.want)
		}
	}
}

// goFiles calls do with each file of Go and its path in the repository.
func goFiles(t *testing.T, do func(file string, source []byte)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || filepath.ToSlash(name) == "../dist"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		files++
		file := strings.TrimPrefix(filepath.ToSlash(name), "../")
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		do(file, source)
		return nil
	})
	if err != nil || files < 500 {
		t.Errorf("%d files of Go were looked at: %v", files, err)
	}
}

// Code can be read in two columns on a screen, and in a review.
func TestLinesOfCode(t *testing.T) {
	goFiles(t, func(file string, source []byte) {
		for _, line := range tooLong(source) {
			t.Errorf("%s:%d has more than %d columns, a tab being %d", file, line, maxColumns, tabColumns)
		}
	})
}

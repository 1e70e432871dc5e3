package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/table"
)

// profile shows where the time of the whole job goes, on one core.
func (r *runner) profile(ctx context.Context) ([]*table.Table, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var tables []*table.Table
	for _, l := range layers {
		path := filepath.Join(r.Work, "profile-"+l.Name+".pprof")
		in := contendIn{contender.Ours,
			contender.Input{Path: l.Path, Size: l.Size, Digest: l.Digest, Uncompressed: l.Uncompressed}}
		r.Progress("profile of %s, kept in %s", l.Name, path)
		if _, err := child.Run(ctx, workContend, in, nil, child.Options{Processors: 1, Profile: path}); err != nil {
			return nil, err
		}
		out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", exe,
			path).Output()
		if err != nil {
			return nil, fmt.Errorf("go tool pprof of %s: %w", path, err)
		}
		tops, err := parseTop(string(out))
		if err != nil {
			return nil, err
		}
		tables = append(tables, profileTables(l.Name, tops)...)
	}
	return tables, nil
}

// top is one function's own share of the samples.
type top struct {
	function string
	flat     float64 // percent
}

// parseTop reads what "go tool pprof -top" prints.
func parseTop(s string) ([]top, error) {
	_, list, ok := strings.Cut(s, "flat%")
	if !ok {
		return nil, fmt.Errorf("no list of functions in %.200q", s)
	}
	_, list, _ = strings.Cut(list, "\n")
	var tops []top
	for line := range strings.Lines(list) {
		// flat, flat%, sum%, cum, cum%, name
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(f[1], "%"), 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", strings.TrimSpace(line), err)
		}
		tops = append(tops, top{strings.Join(f[5:], " "), percent})
	}
	return tops, nil
}

// parts of the work, by the beginning of a function's name; the first that
// fits counts.
var parts = []struct{ prefix, part string }{
	{"soci-index-builder/internal/inflate", "decoder (internal/inflate)"},
	{"soci-index-builder/pkg/soci", "zTOC (pkg/soci)"},
	{"crypto/internal/fips140/sha256", "sha256 (spans, blob)"},
	{"crypto/sha256", "sha256 (spans, blob)"},
	{"hash/crc32", "CRC-32"},
	{"archive/tar", "tar headers (archive/tar)"},
	{"github.com/google/flatbuffers", "flatbuffer"},
	{"github.com/awslabs/soci-snapshotter", "flatbuffer"},
	{"internal/runtime/syscall", "system calls"},
	{"syscall", "system calls"},
	{"runtime.memmove", "copying memory (runtime.memmove)"},
	{"runtime.memclr", "clearing memory (runtime.memclr)"},
	{"runtime", "Go's runtime, garbage collector"},
}

func partOf(function string) string {
	for _, p := range parts {
		if strings.HasPrefix(function, p.prefix) {
			return p.part
		}
	}
	return "the rest"
}

func profileTables(layer string, tops []top) []*table.Table {
	shares := make(map[string]float64)
	for _, t := range tops {
		shares[partOf(t.function)] += t.flat
	}
	var names []string
	for name := range shares {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(shares[b], shares[a]), strings.Compare(a, b))
	})
	byPart := &table.Table{Title: layer + ": where the time goes, one core", Columns: []string{"part", "%"}}
	for _, name := range names {
		if shares[name] >= 0.1 {
			byPart.Add(name, fmt.Sprintf("%.1f", shares[name]))
		}
	}
	byFunction := &table.Table{Title: layer + ": the functions that take most", Columns: []string{"function", "%"}}
	for _, t := range tops[:min(len(tops), 12)] {
		if t.flat == 0 {
			break
		}
		byFunction.Add(t.function, fmt.Sprintf("%.1f", t.flat))
	}
	return []*table.Table{byPart, byFunction}
}

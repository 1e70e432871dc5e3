package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/testkit/testlayers"
)

func TestMain(m *testing.M) {
	child.Main(Work())
	os.Exit(m.Run())
}

// tinyOptions are of layers that take no time.
func tinyOptions(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"python/a.py": testlayers.Text(1, 400_000), "python/mixed": testlayers.Mixed(2, 300_000),
		"lib/libx.so": testlayers.Mixed(3, 700_000), "lib/readme.txt": testlayers.Text(4, 10_000),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Options{
		Work: filepath.Join(dir, "work"), Sections: SectionNames(), Rounds: 1, Speed: 20 << 20, MinLayerSize: 1,
		Sizes: Sizes{
			Content: 500_000, Entries: []int{10, 200}, Files: []int64{1 << 20}, BigLayer: 1_000_000,
			Hard:   400_000,
			Counts: []int{1, 3}, CountSize: 50_000, LargeLayers: 2, LargeSize: 5 << 20,
		},
		Layers: []RealLayer{
			{"python", []string{filepath.Join(dir, "python")}},
			{"lib", []string{filepath.Join(dir, "lib"), filepath.Join(dir, "none")}},
			{"share", []string{filepath.Join(dir, "none")}},
		},
	}
}

// TestRun goes through the whole program, on little.
func TestRun(t *testing.T) {
	o := tinyOptions(t)
	var said strings.Builder
	o.Progress = func(format string, _ ...any) { said.WriteString(format + "\n") }
	var got []string
	err := Run(t.Context(), o, func(s table.Section) error {
		got = append(got, s.Name)
		checkSection(t, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, o.Sections) {
		t.Errorf("the sections are %q", got)
	}
	if !strings.Contains(said.String(), "left out") {
		t.Error("nothing was said of the layer that has no files")
	}
	if left, err := os.ReadDir(filepath.Join(o.Work, "temp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	// The layers are kept.
	o.Sections = []string{"lambda"}
	o.Progress = func(format string, _ ...any) {
		if strings.HasPrefix(format, "making") {
			t.Errorf("a layer was made again")
		}
	}
	if err := Run(t.Context(), o, func(table.Section) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// checkSection expects numbers that were measured.
func checkSection(t *testing.T, s table.Section) {
	t.Helper()
	all := layerEntrants(min(2, runtime.NumCPU()))
	rows := map[string][]int{
		"machine": {0}, "kinds": {5}, "entries": {2}, "sizes": {2}, "start": {4}, "lambda": {len(lambdaMemory)},
		"layers": {2, len(all), len(all)},
	}
	if upstreamIndex == nil {
		rows["image"], rows["layer-count"] = []int{2}, []int{2, 1}
	} else {
		rows["image"], rows["layer-count"] = []int{3}, []int{4, 1}
	}
	if cores := min(2, runtime.NumCPU()); cores > 1 {
		counts := slices.Compact([]int{cores, runtime.NumCPU()})
		rows["workers"] = []int{2 * (2 + len(counts)), 4}
	}
	for i, want := range rows[s.Name] {
		if i >= len(s.Tables) || len(s.Tables[i].Rows) != want {
			t.Errorf("section %s: not %d rows in table %d", s.Name, want, i)
		}
	}
	for _, tab := range s.Tables {
		for _, row := range tab.Rows {
			for i, cell := range row[1:] {
				column := tab.Columns[i+1]
				f, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
				switch {
				case cell == table.None &&
					(strings.Contains(column, "upstream") || strings.Contains(column, "ratio")) &&
					!contender.Has(contender.Upstream):
				case cell == table.None && row[0] == corpus.None().Name: // not for those that decompress
				case column == "reached first":
				case column == "written to disk MB" && !strings.Contains(row[0], "upstream"):
					if cell != "0" {
						t.Errorf("section %s: %s wrote %s MB to the disk", s.Name, row[0], cell)
					}
				case err != nil || f < 0:
					t.Errorf("section %s, %s, %s: %q", s.Name, row[0], column, cell)
				}
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"section", func(o *Options) { o.Sections = []string{"layers", "odds"} },
			`section "odds" is not one of machine, layers`},
		{"rounds", func(o *Options) { o.Rounds = 0 }, "0 rounds"},
		{"work", func(o *Options) { o.Work = "" }, "no directory"},
		{"layer size", func(o *Options) { o.Sizes.Layer = -1 }, "layers of -1 bytes"},
		{"speed", func(o *Options) { o.Speed = 0 }, "connections of 0 bytes"},
		{"no layers", func(o *Options) { o.Layers = nil; o.Sections = []string{"layers"} },
			"none of the layers' directories exists"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := tinyOptions(t)
			row.change(&o)
			err := Run(t.Context(), o, func(table.Section) error { return nil })
			if !errors.Is(err, ErrInvalidOption) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want %q in it", err, row.want)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := tinyOptions(t)
	o.Sections = []string{"machine", "layers"}
	err := Run(ctx, o, func(table.Section) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// TestRatios fixes what is divided by what.
func TestRatios(t *testing.T) {
	usage := func(cpu, wall time.Duration) measurement {
		return measurement{Usage: child.Usage{CPU: cpu * time.Second, Wall: wall * time.Second, PeakMemory: 100e6,
			Allocs: 1000, AllocBytes: 5e6}}
	}
	results := map[entrant]measurement{
		{contender.Ours, 1}: usage(2, 2), {contender.Ours, 2}: usage(3, 1),
		{contender.Upstream, 1}: usage(12, 12), {contender.Upstream, 2}: usage(15, 10),
		{contender.Go, 1}: usage(6, 6),
	}
	l := &corpus.Layer{Name: "python", Size: 645e6, Uncompressed: 2349e6, Entries: 12345, Packer: "pigz -6"}
	t2 := layerTable(l, []entrant{{contender.Ours, 1}, {contender.Ours, 2}, {contender.Upstream, 2}, {contender.Go, 1},
		{contender.Zlib, 1}}, results)
	if want := "python: 645 MB, uncompressed 2,349 MB, 12,345 entries, packed by pigz -6"; t2.Title != want {
		t.Errorf("the title is %q", t2.Title)
	}
	var got []string
	for _, row := range t2.Rows {
		got = append(got, strings.Join(row[1:], " "))
	}
	want := []string{
		"1 2.00 322 2.00 100 1,000 5.0 6.00 6.00",
		"2 3.00 215 1.00 100 1,000 5.0 5.00 10.00",
		"2 15.0 43 10.0 100 1,000 5.0 1.00 1.00",
		"1 6.00 108 6.00 100 1,000 5.0 2.00 2.00",
		"1 0.00 – 0.00 0.0 0 0.0 – –", // was not measured
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rows are\n%s", strings.Join(got, "\n"))
	}
}

func TestLeastOfRounds(t *testing.T) {
	var m measurement
	m.add(child.Usage{CPU: 3, Wall: 5, PeakMemory: 7, AllocBytes: 9, Allocs: 2, DiskWritten: 1}, true)
	m.add(child.Usage{CPU: 4, Wall: 4, PeakMemory: 8, AllocBytes: 8, Allocs: 3, DiskWritten: 0}, false)
	if want := (child.Usage{CPU: 3, Wall: 4, PeakMemory: 8, AllocBytes: 8, Allocs: 2,
		DiskWritten: 1}); m.Usage != want {
		t.Errorf("%+v, not %+v", m.Usage, want)
	}
}

func TestLambdaTable(t *testing.T) {
	tab := lambdaTable(100e6)
	want := map[string][]string{
		"512":    {"0.29", "29", "29", "processor", "34.6", "17.3", "0.29", "0.23"},
		"1,769":  {"1.00", "100", "79", "network", "12.7", "22.0", "0.37", "0.29"},
		"10,240": {"5.79", "579", "79", "network", "12.7", "127.2", "2.12", "1.70"},
	}
	for _, row := range tab.Rows {
		if w, ok := want[row[0]]; ok && !slices.Equal(row[1:], w) {
			t.Errorf("%s MB: %q, not %q", row[0], row[1:], w)
		}
		delete(want, row[0])
	}
	if len(want) != 0 {
		t.Errorf("no row for %v", want)
	}
}

func TestParseTop(t *testing.T) {
	const out = `File: bench
Type: cpu
Showing nodes accounting for 1.41s, 100% of 1.41s total
      flat  flat%   sum%        cum   cum%
     0.94s 66.67% 66.67%      1.02s 72.34%  soci-index-builder/internal/inflate.(*Reader).symbols
     0.26s 18.44% 85.11%      0.26s 18.44%  crypto/internal/fips140/sha256.blockSHANI
     0.21s 14.89%   100%      0.21s 14.89%  runtime.memmove (inline)
         0     0%   100%      1.41s   100%  main.main
`
	tops, err := parseTop(out)
	if err != nil {
		t.Fatal(err)
	}
	want := []top{{"soci-index-builder/internal/inflate.(*Reader).symbols", 66.67},
		{"crypto/internal/fips140/sha256.blockSHANI", 18.44}, {"runtime.memmove (inline)", 14.89}, {"main.main", 0}}
	if !slices.Equal(tops, want) {
		t.Errorf("%+v", tops)
	}
	tables := profileTables("python", tops)
	if got := tables[0].Rows; len(got) != 3 || got[0][0] != "decoder (internal/inflate)" || got[0][1] != "66.7" {
		t.Errorf("the parts are %q", got)
	}
	if got := tables[1].Rows; len(got) != 3 || got[2][0] != "runtime.memmove (inline)" {
		t.Errorf("the functions are %q", got)
	}
	for _, bad := range []string{"", "flat%\n 1s no% 1% 1s 1% main.main\n"} {
		if _, err := parseTop(bad); err == nil {
			t.Errorf("%q is taken for a profile", bad)
		}
	}
}

func TestSlowListener(t *testing.T) {
	const speed, size = 4 << 20, 1 << 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := (slowListener{l, speed}).Accept()
		if err == nil {
			_, _ = c.Write(make([]byte, size)) // the reader counts
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	n, err := io.Copy(io.Discard, c)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	// Less than a second's worth cannot have come in less time.
	if took := time.Since(start); took < time.Second*size/speed/2 {
		t.Errorf("%d bytes at %d per second took %v", size, speed, took)
	}
}

// A function that cannot start is an error, not a measurement.
func TestFirstPollFails(t *testing.T) {
	for name, script := range map[string]string{
		"ends": "#!/bin/sh\necho no event >&2\nexit 3\n", "ends well": "#!/bin/sh\nexit 0\n",
	} {
		bootstrap := filepath.Join(t.TempDir(), "bootstrap")
		if err := os.WriteFile(bootstrap, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := firstPoll(t.Context(), bootstrap, nil); !errors.Is(err, errNoPoll) {
			t.Errorf("%s: the error is %v, want errNoPoll", name, err)
		}
	}
}

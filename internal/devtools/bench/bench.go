// Package bench measures the cost of building zTOCs, compared with other
// programs on the same layers in the same run, and writes the tables of
// docs/performance.md. A program that uses it calls child.Main with Work first
// of all, then Run.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
)

// Sizes of what is measured, in uncompressed bytes unless it says otherwise.
type Sizes struct {
	Layer     int64   // of each layer of real files; 0 takes all files
	Content   int64   // of a kind of content, and of what is packed by each compressor
	Entries   []int   // numbers of tar entries
	Files     []int64 // sizes of one file that compresses well
	Hard      int64   // of each layer that several workers do not decode faster
	BigLayer  int64   // least compressed size of one more layer of real files; 0 for none
	Counts    []int   // numbers of layers of an image
	CountSize int64   // bytes that do not compress in each of those layers

	// The image that is large once it is unpacked: its number of layers, 0 for no
	// such image, and the size of each.
	LargeLayers int
	LargeSize   int64
}

// The sizes of a run of some minutes, and of one that takes everything.
var (
	Short = Sizes{
		Layer: 320 << 20, Content: 64 << 20,
		Entries: []int{1_000, 10_000, 100_000},
		Files:   []int64{64 << 20, 256 << 20, 1 << 30},
		Hard:    128 << 20,
		Counts:  []int{1, 8, 32, 128}, CountSize: 10 << 20,
	}
	Full = Sizes{
		Content: 256 << 20,
		Entries: []int{1_000, 10_000, 100_000, 1_000_000},
		Files:   []int64{64 << 20, 256 << 20, 1 << 30, 4 << 30},
		Hard:    192 << 20,
		// More than 2 GiB, what fits in 31 bits.
		BigLayer: 2_200_000_000,
		Counts:   []int{1, 8, 32, 128}, CountSize: 10 << 20,
		LargeLayers: 12, LargeSize: 5_400_000_000,
	}
)

// RealLayer is a layer of real files, of the directories that exist.
type RealLayer struct {
	Name  string
	Roots []string
}

// Options of Run.
type Options struct {
	Work     string // directory for layers; they are kept between runs
	Sections []string
	Sizes    Sizes
	Rounds   int // of each measurement; the least is taken
	Layers   []RealLayer

	// Speed limits each connection of the slow registry, in bytes per second.
	Speed int64

	// MinLayerSize of images, in compressed bytes. The default is the
	// engine's.
	MinLayerSize int64

	// Progress gets a line about each thing that is measured.
	Progress func(format string, args ...any)
}

// section is a part of the report.
type section struct {
	name string
	run  func(r *runner, ctx context.Context) ([]*table.Table, error)
}

// sections in the order of the report.
func sections() []section {
	return []section{
		{"machine", (*runner).machine},
		{"layers", (*runner).layers},
		{"workers", (*runner).workers},
		{"kinds", (*runner).kinds},
		{"compressors", (*runner).compressors},
		{"entries", (*runner).entries},
		{"sizes", (*runner).sizes},
		{"image", (*runner).image},
		{"layer-count", (*runner).layerCount},
		{"profile", (*runner).profile},
		{"start", (*runner).startUp},
		{"lambda", (*runner).lambda},
	}
}

// SectionNames returns what Options.Sections can have.
func SectionNames() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

// Work is what child processes do for Run.
func Work() map[string]child.Func {
	work := map[string]child.Func{
		workContend:  contend,
		workRegistry: serveRegistry,
		workIndex:    indexImage,
		workNothing:  nothing,
	}
	if upstreamIndex != nil {
		work[workUpstream] = upstreamIndex
	}
	return work
}

// ErrInvalidOption is the class of errors about options.
var ErrInvalidOption = errors.New("invalid option")

func (o Options) check() error {
	for _, name := range o.Sections {
		if !slices.Contains(SectionNames(), name) {
			return fmt.Errorf("%w: section %q is not one of %s", ErrInvalidOption, name,
				strings.Join(SectionNames(), ", "))
		}
	}
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("%w: %d rounds, not 1 or more", ErrInvalidOption, o.Rounds)
	case o.Work == "":
		return fmt.Errorf("%w: no directory to work in", ErrInvalidOption)
	case o.Sizes.Layer < 0:
		return fmt.Errorf("%w: layers of %d bytes", ErrInvalidOption, o.Sizes.Layer)
	case o.Speed < 1:
		return fmt.Errorf("%w: connections of %d bytes a second", ErrInvalidOption, o.Speed)
	}
	return nil
}

// Run measures, and hands over each section as soon as it is finished.
func Run(ctx context.Context, o Options, finished func(table.Section) error) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	temp := filepath.Join(o.Work, "temp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	r := &runner{
		Options: o, temp: temp, start: time.Now(),
		cache: &corpus.Cache{Dir: filepath.Join(o.Work, "layers"), Log: o.Progress},
		cores: min(2, runtime.NumCPU()),
	}
	for _, s := range sections() {
		if !slices.Contains(o.Sections, s.name) {
			continue
		}
		tables, err := s.run(r, ctx)
		if err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
		if err := finished(table.Section{Name: s.name, Tables: tables}); err != nil {
			return err
		}
	}
	return nil
}

// runner keeps what sections share.
type runner struct {
	Options
	temp  string
	start time.Time
	cache *corpus.Cache
	cores int // the more of the two numbers of cores that are measured

	real     []*corpus.Layer        // made when first asked for
	rates    map[string]measurement // ours on one core, by layer
	imageRun *imageFigures
}

// entrant is a contender with a number of cores.
type entrant struct {
	name  string
	cores int
}

func (e entrant) title() string { return contender.Title(e.name) }

// measurement is the least of several rounds, each number for itself; of the
// peak it is the most.
type measurement struct {
	child.Usage
	contender.Output
}

func (m *measurement) add(u child.Usage, first bool) {
	if first {
		m.Usage = u
		return
	}
	m.CPU, m.Wall = min(m.CPU, u.CPU), min(m.Wall, u.Wall)
	m.AllocBytes, m.Allocs = min(m.AllocBytes, u.AllocBytes), min(m.Allocs, u.Allocs)
	m.PeakMemory, m.DiskWritten = max(m.PeakMemory, u.PeakMemory), max(m.DiskWritten, u.DiskWritten)
}

// ErrDisagree: two contenders made different things of one layer.
var ErrDisagree = errors.New("the contenders disagree")

// measure lets the entrants work on a layer in turn, several times.
func (r *runner) measure(ctx context.Context, l *corpus.Layer, plain bool, rounds int,
	entrants []entrant) (map[entrant]measurement, error) {
	if err := warm(l.Path); err != nil {
		return nil, err
	}
	in := contender.Input{Path: l.Path, Size: l.Size, Digest: l.Digest, Uncompressed: l.Uncompressed, Plain: plain}
	results := make(map[entrant]measurement)
	for round := range rounds {
		for _, e := range entrants {
			r.Progress("%s: %s on %d core(s), round %d of %d", l.Name, e.title(), e.cores, round+1, rounds)
			var out contender.Output
			u, err := child.Run(ctx, workContend, contendIn{e.name, in}, &out,
				child.Options{Processors: e.cores, TempDir: r.temp})
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", l.Name, err)
			}
			m := results[e]
			m.add(u, round == 0)
			m.Output = out
			results[e] = m
		}
	}
	ztoc := ""
	for _, e := range entrants {
		m := results[e]
		if ztoc == "" {
			ztoc = m.Ztoc
		}
		if m.Ztoc != "" && m.Ztoc != ztoc {
			return nil, fmt.Errorf("layer %s: %w: the zTOC is sha256:%s or sha256:%s", l.Name, ErrDisagree, ztoc,
				m.Ztoc)
		}
		if m.Ztoc == "" && m.Uncompressed != l.Uncompressed {
			return nil, fmt.Errorf("layer %s: %w: %s finds %d bytes, not %d", l.Name, ErrDisagree, e.title(),
				m.Uncompressed, l.Uncompressed)
		}
	}
	return results, nil
}

// warm has the system keep a file in memory, so that the first to read it is
// not the slowest.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

// available keeps the entrants that this build has.
func available(entrants ...entrant) []entrant {
	return slices.DeleteFunc(entrants, func(e entrant) bool { return !contender.Has(e.name) })
}

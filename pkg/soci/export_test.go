package soci

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// ParallelAllocs is what several workers may allocate in all for a small layer
// beside what is held: with the build tag parallel_always that has many
// chunks, of 32 KiB of window each.
const ParallelAllocs = max(0, 1-parallelFrom) * 32 << 20

// SetMaxPrefetchSteps changes a bound until what it returns is called.
func SetMaxPrefetchSteps(n int64) func() {
	before := maxPrefetchSteps
	maxPrefetchSteps = n
	return func() { maxPrefetchSteps = before }
}

// SetMaxImagePrefetchSteps is SetMaxPrefetchSteps for all manifests of an image.
func SetMaxImagePrefetchSteps(n int64) func() {
	before := maxImagePrefetchSteps
	maxImagePrefetchSteps = n
	return func() { maxImagePrefetchSteps = before }
}

// MaxPrefetchSteps bounds the search in one image manifest.
var MaxPrefetchSteps = &maxPrefetchSteps

// MatchGlob matches a path with a glob.
func MatchGlob(glob, name string) bool {
	p, err := parsePrefetch(glob)
	if err != nil {
		return false
	}
	table := newPathTable(&Ztoc{Entries: []Entry{{Name: name, Type: "reg"}}}, len(name)+pathEntryCost)
	below := 0
	if p.base != "" {
		below = len(p.base) + 1
	}
	found := false
	w := globWalk{table: table, glob: p.glob, step: func(int64) bool { return true },
		found: func(*pathEntry) { found = true }}
	w.walk(table.below(p.base), below)
	return found
}

// Search is a search in layers of files of these names.
type Search struct{ layers []prefetchLayer }

// NewSearch makes the tables of the layers.
func NewSearch(layers ...[]string) *Search {
	s := &Search{}
	for i, names := range layers {
		z := &Ztoc{Checkpoints: make([]Checkpoint, 1)}
		size := 0
		for _, name := range names {
			z.Entries = append(z.Entries, Entry{Name: name, Type: "reg", Size: 1})
			size += len(name) + pathEntryCost
		}
		s.layers = append(s.layers, prefetchLayer{digest.FromString(fmt.Sprint(i)), newPathTable(z, size)})
	}
	return s
}

// Find searches for patterns. It returns how many files and steps there were, why
// it is not all, and the error with which stop, if set, ended it.
func (s *Search) Find(stop func() error, patterns ...string) (files int, steps int64, full string, err error) {
	f := newPrefetchFinder()
	f.stop, f.layers = stop, s.layers
	for _, said := range patterns {
		p, err := parsePrefetch(said)
		if err != nil {
			return 0, 0, "", err
		}
		f.find(p)
	}
	return len(f.files), f.steps, f.full, f.err
}

// Workers is what the layers of one image, or one layer, are decoded on.
type Workers struct{ p *processors }

// WithWorkers has layers of from compressed bytes or more decoded by several
// workers, in segments of the given bytes, on the given number of processors,
// which all calls share.
func WithWorkers(o Options, processors, segment int, from int64) (Options, Workers) {
	p := processorsOf(processors)
	o.LayerWorkers, o.parallel = processors, parallelism{from, segment, p}
	return o, Workers{p}
}

// Take takes all that are idle but n, as pieces of other layers do, until give is
// called.
func (w Workers) Take(but int) (give func()) {
	taken := 0
	for taken < w.p.max-but && w.p.try() {
		taken++
	}
	return func() {
		for range taken {
			w.p.give()
		}
	}
}

// Processors is how many there are at work, and what there was in all.
type Processors struct {
	Layers, Pieces, Waiting int
	Most, Begun, Waited     int
}

// Count reads the counters.
func (w Workers) Count() Processors {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return Processors{w.p.layers, w.p.pieces, w.p.waiting, w.p.most, w.p.begun, w.p.waited}
}

// Held is what a Work holds of its budget.
func (w *Work) Held() int64 {
	m := w.layers.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used + m.lent
}

// Tables are the tables of an image within max bytes.
type Tables struct{ t *pathTables }

// NewTables makes those of layers with these digests.
func NewTables(max int64, layers ...digest.Digest) Tables {
	t := &pathTables{wanted: map[digest.Digest]bool{}, max: max, of: map[digest.Digest]*pathTable{}}
	for _, layer := range layers {
		t.wanted[layer] = true
	}
	return Tables{t}
}

// Add makes the table of a layer. It returns what all take by then, and what
// making the costliest took beside.
func (t Tables) Add(layer digest.Digest, z *Ztoc) (used, making int64) {
	t.t.add(layer, z)
	return t.t.used, t.t.making
}

// Full reports whether they were given up.
func (t Tables) Full() bool { return t.t.full() }

package soci

import (
	"strings"

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

// MatchGlob matches a path with a glob.
func MatchGlob(glob, name string) bool {
	p, err := parsePrefetch(glob)
	if err != nil {
		return false
	}
	rest, below := name, true
	if p.base != "" {
		rest, below = strings.CutPrefix(name, p.base+"/")
	}
	ok, _ := matchParts(p.glob, rest)
	return below && ok
}

// SearchFiles searches files of these names for a pattern, and returns the error
// with which stop ended that.
func SearchFiles(names []string, pattern string, stop func() error) error {
	z := &Ztoc{}
	for _, name := range names {
		z.Entries = append(z.Entries, Entry{Name: name})
	}
	tables := &pathTables{wanted: map[digest.Digest]bool{"layer": true}, max: 1 << 30, of: map[digest.Digest]*pathTable{}}
	tables.add("layer", z)
	p, err := parsePrefetch(pattern)
	if err != nil {
		return err
	}
	f := newPrefetchFinder()
	f.stop = stop
	f.layers = []prefetchLayer{{"layer", tables.of["layer"]}}
	f.find(p)
	return f.err
}

package soci

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/text/bytesize"
)

// FileReason says why a FileSearch has not found a file.
type FileReason string

// The reasons of a FileNotFoundError.
const (
	FileAbsent      FileReason = "absent"      // it is in no layer that has a zTOC
	FileRemoved     FileReason = "removed"     // a whiteout of a higher layer removes it
	FileDirectory   FileReason = "directory"   // it is a directory, in which there is nothing to read
	FileUnreachable FileReason = "unreachable" // its links lead nowhere, or in a circle
)

// FileNotFoundError says of a path or pattern that a FileSearch has no file for
// it.
type FileNotFoundError struct {
	Path   string // as it was asked for
	Reason FileReason
	Detail string // "it is a directory; ..."
}

func (e *FileNotFoundError) Error() string { return fmt.Sprintf("%q: %s", cut(e.Path, 200), e.Detail) }

// MaxSearchFiles is how many files one FileSearch finds.
const MaxSearchFiles = 1_000_000

// FileSearch finds files in the zTOCs of the layers of one image manifest, by the
// rules of Options.Prefetch, and collects the spans that they lie in. Of each
// zTOC it keeps the names.
type FileSearch struct {
	layers []digest.Digest
	tables *pathTables
	finder *prefetchFinder
}

// NewFileSearch returns a FileSearch of an image manifest with these layers, the
// lowest first.
func NewFileSearch(layers []digest.Digest) *FileSearch {
	s := &FileSearch{layers: layers, tables: &pathTables{
		wanted: make(map[digest.Digest]bool), max: pathTablesMost, of: make(map[digest.Digest]*pathTable),
	}}
	for _, l := range layers {
		s.tables.wanted[l] = true
	}
	return s
}

// Add takes the zTOC of a layer; a layer without one is not looked into. The error
// is ErrLimit if the names of all files have more than 128 MiB. It may be called
// concurrently, but not after the first File or Match.
func (s *FileSearch) Add(layer digest.Digest, z *Ztoc) error {
	s.tables.add(layer, z)
	s.tables.mu.Lock()
	defer s.tables.mu.Unlock()
	if s.tables.full() {
		return fmt.Errorf("%w: the names of all files of the image take more than %s of memory", ErrLimit,
			bytesize.Format(s.tables.max))
	}
	return nil
}

// File finds the file that has a path, in which no character is special. The
// error is a *FileNotFoundError, ErrInvalidOption for what cannot be a path, or
// ErrLimit.
func (s *FileSearch) File(path string) error {
	p, err := parsePrefetch(path)
	p.base, p.glob = "", nil
	return s.search(p, err)
}

// Match finds the files that match a path or pattern of Options.Prefetch. The
// error is as File's.
func (s *FileSearch) Match(pattern string) error {
	p, err := parsePrefetch(pattern)
	return s.search(p, err)
}

func (s *FileSearch) search(p prefetchPattern, err error) error {
	if err != nil {
		return fmt.Errorf("%w: path %w", ErrInvalidOption, err)
	}
	f := s.find()
	f.steps = 0 // each search is bounded by itself
	missing := f.search(p)
	switch {
	case f.full != "":
		return fmt.Errorf("%w: %q: %s", ErrLimit, cut(p.said, 200), f.full)
	case missing.why != "":
		return &FileNotFoundError{p.said, missing.reason, missing.why}
	}
	return nil
}

// find returns the finder, for the layers that were added.
func (s *FileSearch) find() *prefetchFinder {
	if s.finder != nil {
		return s.finder
	}
	s.finder = newPrefetchFinder()
	s.finder.reads = make(map[digest.Digest]map[int32]bool)
	s.finder.maxFiles, s.finder.maxSpans = MaxSearchFiles, math.MaxInt
	for _, l := range s.layers {
		if table := s.tables.of[l]; table != nil {
			s.finder.layers = append(s.finder.layers, prefetchLayer{l, table})
		}
	}
	return s.finder
}

// FileSpans are the spans of one layer in which the files lie that were found,
// by their numbers from 0 on, in ascending order.
type FileSpans struct {
	// Read are the spans that a client fetches to read the files from beginning to
	// end: those of their content, of the byte behind it, and of the tar headers,
	// which it compares first.
	Read []int32

	// Prefetch are the spans that a prefetch artifact for the files names: without
	// those of the tar headers.
	Prefetch []int32

	Files int // distinct ones
}

// Spans returns what was found in each layer.
func (s *FileSearch) Spans() map[digest.Digest]FileSpans {
	f := s.find()
	all := make(map[digest.Digest]FileSpans)
	for layer, spans := range f.spans {
		all[layer] = FileSpans{Read: slices.Sorted(maps.Keys(f.reads[layer])),
			Prefetch: slices.Sorted(maps.Keys(spans))}
	}
	for file := range f.files {
		one := all[file.layer]
		one.Files++
		all[file.layer] = one
	}
	return all
}

// PrefetchLabel returns the value of LabelPrefetch that names these paths. The
// error is ErrLimit, or ErrInvalidOption for a path that a label cannot name.
func PrefetchLabel(paths []string) (string, error) {
	var label []byte
	for i, p := range paths {
		if i > 0 {
			label = append(label, ',')
		}
		label = append(label, p...)
		if len(label) > MaxPrefetchLabel {
			return "", fmt.Errorf("%w: a label of more than %d bytes", ErrLimit, MaxPrefetchLabel)
		}
	}
	parsed, err := parsePrefetchLabel(string(label))
	switch {
	case err != nil && len(paths) > MaxPrefetchPatterns:
		return "", fmt.Errorf("%w: %w", ErrLimit, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrInvalidOption, err)
	}
	if !slices.EqualFunc(parsed, paths, func(p prefetchPattern, path string) bool { return p.said == path }) {
		return "", fmt.Errorf("%w: a label cannot name paths that have a comma, or begin or end with a blank",
			ErrInvalidOption)
	}
	return string(label), nil
}

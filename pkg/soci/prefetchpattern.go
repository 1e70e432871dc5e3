package soci

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// LabelPrefetch, in the config of an image, names the files that clients may
// fetch before a container starts, separated by commas. It is read only with
// Options.PrefetchLabel. The form of each is that of Options.Prefetch.
const LabelPrefetch = "soci-index-builder.prefetch"

// The bounds of what is asked to be prefetched. Where a label exceeds one, it
// counts as none at all; where Options.Prefetch does, that is ErrInvalidOption.
const (
	MaxPrefetchLabel    = 16 << 10 // bytes of a label's value
	MaxPrefetchPatterns = 10_000   // paths and patterns of one image manifest
	MaxPrefetchPattern  = 4095     // bytes of one, as long as a path can be
)

// The bounds of what is found for one image manifest. What would exceed one is
// left out, with a warning: the order is fixed, so the same is left out always.
const (
	MaxPrefetchFiles = 100_000 // files
	MaxPrefetchSpans = 16_384  // distinct spans: 64 GiB of files, by the default of the span size
	maxPrefetchLinks = 40      // links that one path leads over, as in Linux
)

// The bounds of the search in one image manifest, and of those in all of an
// image, in steps: names looked at, and bytes of them compared with patterns. The
// first took 2 to 6 seconds of a processor in BenchmarkPrefetchSearch. Only tests
// change them.
var (
	maxPrefetchSteps      int64 = 1_000_000_000
	maxImagePrefetchSteps int64 = 4_000_000_000
)

// prefetchPattern is one file, or pattern, that is to be prefetched.
type prefetchPattern struct {
	said string   // as it was asked for
	path string   // clean, without a slash at either end
	base string   // of a glob: its directory in front of the first component with a *
	glob []string // the components behind that; nil when there is no *
}

// parsePrefetch checks one path or pattern. Its error names what was asked for.
func parsePrefetch(said string) (prefetchPattern, error) {
	p := prefetchPattern{said: said}
	switch {
	case len(said) > MaxPrefetchPattern:
		return p, fmt.Errorf("%q has %d bytes, more than %d", cut(said, 100), len(said), MaxPrefetchPattern)
	case strings.ContainsRune(said, 0):
		return p, fmt.Errorf("%q has a NUL byte", said)
	}
	if p.path = cleanName(said); p.path == "" {
		return p, fmt.Errorf("%q names no file, but the root directory", said)
	}
	if !strings.Contains(p.path, "*") {
		return p, nil
	}
	parts := strings.Split(p.path, "/")
	for len(parts) > 0 && !strings.Contains(parts[0], "*") {
		p.base = path.Join(p.base, parts[0])
		parts = parts[1:]
	}
	// Two ** in a row mean what one does.
	p.glob = slices.CompactFunc(parts, func(a, b string) bool { return a == "**" && b == "**" })
	return p, nil
}

// CheckPrefetch checks paths for Options.Prefetch. Its error names the one that
// is at fault, and what is allowed.
func CheckPrefetch(paths []string) error {
	_, err := parsePrefetchAll(paths)
	return err
}

// parsePrefetchAll is parsePrefetch for Options.Prefetch.
func parsePrefetchAll(all []string) ([]prefetchPattern, error) {
	if len(all) > MaxPrefetchPatterns {
		return nil, fmt.Errorf("%d paths to prefetch, more than %d", len(all), MaxPrefetchPatterns)
	}
	out := make([]prefetchPattern, len(all))
	for i, said := range all {
		var err error
		if out[i], err = parsePrefetch(said); err != nil {
			return nil, fmt.Errorf("path to prefetch %w", err)
		}
	}
	return out, nil
}

// parsePrefetchLabel reads the value of LabelPrefetch; blanks around a path and
// empty ones do not count.
func parsePrefetchLabel(label string) ([]prefetchPattern, error) {
	if len(label) > MaxPrefetchLabel {
		return nil, fmt.Errorf("%d bytes, more than %d", len(label), MaxPrefetchLabel)
	}
	var all []string
	for said := range strings.SplitSeq(label, ",") {
		if said = strings.TrimSpace(said); said != "" {
			all = append(all, said)
		}
	}
	return parsePrefetchAll(all)
}

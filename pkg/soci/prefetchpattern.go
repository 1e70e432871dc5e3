package soci

import (
	"fmt"
	"path"
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

// maxPrefetchSteps bounds the search in one image manifest: names looked at, and
// bytes of them compared with patterns. So many take a few seconds. It is
// changed by tests alone.
var maxPrefetchSteps int64 = 1_000_000_000

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
	p.glob = parts
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

// matchParts matches a path below a glob's directory with its components; **
// stands for any number of components, and at the end for one or more. It
// returns how many steps it took.
func matchParts(glob []string, name string) (matched bool, steps int64) {
	// As in matchPart: only the last ** must ever be tried again.
	rest, star, from := name, -1, ""
	g, more := 0, true
	for {
		if g < len(glob) && glob[g] == "**" {
			star, from = g, rest
			g++
			steps++
			if g == len(glob) {
				return more, steps + 1
			}
			continue
		}
		if g < len(glob) && more {
			part, after, found := strings.Cut(rest, "/")
			ok, n := matchPart(glob[g], part)
			steps += n
			if ok {
				g, rest, more = g+1, after, found
				continue
			}
		} else if g == len(glob) && !more {
			return true, steps
		}
		if star < 0 {
			return false, steps
		}
		_, after, found := strings.Cut(from, "/")
		if !found {
			return false, steps
		}
		from, rest, more, g = after, after, true, star+1
		steps++
	}
}

// matchPart matches one component, in which * stands for any number of bytes.
func matchPart(glob, name string) (matched bool, steps int64) {
	g, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		steps++
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			g++
		case g < len(glob) && glob[g] == name[n]:
			g++
			n++
		case star >= 0:
			from++
			g, n = star+1, from
		default:
			return false, steps
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob), steps + 1
}

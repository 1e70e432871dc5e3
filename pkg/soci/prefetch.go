package soci

import (
	"fmt"

	"soci-index-builder/internal/documents"
)

// MaxPrefetchSize is the size in bytes of the largest prefetch artifact that
// is read: 4 MiB, about 80,000 ranges.
const MaxPrefetchSize = 4 << 20

// prefetchVersion is the only version of a prefetch artifact that clients read.
const prefetchVersion = "1.0"

// Prefetch is a prefetch artifact: the spans of one layer that a client may
// fetch before the container starts.
type Prefetch struct {
	Version string          `json:"version"`
	Ranges  []PrefetchRange `json:"prefetch_spans"`
}

// PrefetchRange is a run of spans, by their numbers from 0 on; the last one is
// part of it.
type PrefetchRange struct {
	First    int64 `json:"start_span"`
	Last     int64 `json:"end_span"`
	Priority int64 `json:"priority,omitempty"` // lower is more urgent; clients do not heed it yet
}

// ParsePrefetch reads a prefetch artifact. What is too large is ErrLimit,
// another version ErrUnsupported. What is no JSON, names no span, or has a
// range that begins before span 0 or ends before it begins is ErrCorrupt.
func ParsePrefetch(b []byte) (*Prefetch, error) {
	if len(b) > MaxPrefetchSize {
		return nil, fmt.Errorf("%w: a prefetch artifact of %d bytes, more than %d", ErrLimit, len(b), MaxPrefetchSize)
	}
	var p Prefetch
	if err := documents.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%w prefetch artifact: %w", ErrCorrupt, err)
	}
	if p.Version != prefetchVersion {
		return nil, fmt.Errorf("%w: version %q of a prefetch artifact, not %q", ErrUnsupported, cut(p.Version, 100),
			prefetchVersion)
	}
	if len(p.Ranges) == 0 {
		return nil, fmt.Errorf("%w prefetch artifact: it names no span", ErrCorrupt)
	}
	for i, r := range p.Ranges {
		if r.First < 0 {
			return nil, fmt.Errorf("%w prefetch artifact: range %d begins at span %d", ErrCorrupt, i, r.First)
		}
		if r.Last < r.First {
			return nil, fmt.Errorf("%w prefetch artifact: range %d begins at span %d and ends at %d", ErrCorrupt, i,
				r.First, r.Last)
		}
	}
	return &p, nil
}

// Check compares a prefetch artifact with the number of spans of its layer. A
// range beyond the last span is ErrCorrupt: a client would ask for every span
// that it names.
func (p *Prefetch) Check(spans int) error {
	for i, r := range p.Ranges {
		if r.Last >= int64(spans) {
			return fmt.Errorf("%w prefetch artifact: range %d ends at span %d, the last span of the layer is %d",
				ErrCorrupt, i, r.Last, spans-1)
		}
	}
	return nil
}

package estimate

import (
	"errors"
	"fmt"

	"soci-index-builder/pkg/soci"
)

// label works out what prefetching takes of what was found.
func (e *estimator) label() {
	out := e.out
	beyond := func(format string, args ...any) {
		out.PrefetchLimits = append(out.PrefetchLimits, fmt.Sprintf(format, args...))
	}
	n := 0
	for _, l := range out.Layers {
		if !l.repeated {
			n += l.PrefetchSpans
		}
	}
	if out.Files.Different > soci.MaxPrefetchFiles {
		beyond("%d files are more than the %d that are prefetched", out.Files.Different, soci.MaxPrefetchFiles)
	}
	if n > soci.MaxPrefetchSpans {
		beyond("%d spans are more than the %d that are prefetched", n, soci.MaxPrefetchSpans)
	}
	if len(out.PrefetchFiles) > soci.MaxPrefetchPatterns {
		beyond("%d paths are more than the %d that can be asked for: name folders, as /usr/lib/python3/**",
			len(out.PrefetchFiles), soci.MaxPrefetchPatterns)
		return
	}
	if len(out.PrefetchFiles) == 0 {
		return
	}
	label, err := soci.PrefetchLabel(out.PrefetchFiles)
	switch {
	case err == nil:
		out.Label = label
	case errors.Is(err, soci.ErrLimit):
		beyond("a label has at most %d bytes: name folders, or use --prefetch-files-json", soci.MaxPrefetchLabel)
	default:
		beyond("a label cannot name paths that have a comma, or begin or end with a blank: use --prefetch-files-json")
	}
}

//go:build !parallel_always

package soci

const (
	// parallelFrom is how many compressed bytes a layer has at least that is
	// decoded by several workers: a smaller one takes less than 0.1 s.
	parallelFrom = 16 << 20

	parallelSegment = 0 // the default

	leastProcessors = 1
)

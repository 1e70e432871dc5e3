//go:build parallel_always

package soci

// With this build tag all tests go through the decoder of several workers,
// whatever the machine has, and with segments so small that each layer has
// several.
const (
	parallelFrom    = 0
	parallelSegment = 8 << 10
	leastProcessors = 4
)

package soci

// ParallelAllocs is what several workers may allocate in all for a small layer
// beside what is held: with the build tag parallel_always that has many
// chunks, of 32 KiB of window each.
const ParallelAllocs = max(0, 1-parallelFrom) * 32 << 20

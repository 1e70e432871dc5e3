package fanout

import (
	"math"
	"time"
)

// Rate is how many compressed bytes of layers one function reads in a second:
// what Lambda's network brings whatever the memory, about 75 MiB/s.
const Rate = 75 << 20

// Ratio is how many uncompressed bytes are assumed for each byte of a layer's
// blob, as long as nothing has been read of it.
const Ratio = 2.3

const (
	checkpoint = 64 << 10 // bytes of memory for each checkpoint until the zTOC is pushed: its window, twice
	buffers    = 34 << 20 // bytes of memory for what is read ahead, and for the decoder's buffers
)

// Time returns how long one function takes to read compressed bytes of layers.
func Time(compressed int64) time.Duration {
	return time.Duration(float64(compressed) / Rate * float64(time.Second))
}

// Memory returns the bytes of the budget, soci.Limits.MaxMemory, that the zTOC
// of a layer takes while it is built: of one with compressed bytes, and ratio
// times as many uncompressed ones. The entries of its table of
// contents, about a kilobyte each, are not in it.
func Memory(compressed int64, ratio float64, span int64) int64 {
	return int64(math.Ceil(float64(compressed)*ratio/float64(span)))*checkpoint + buffers
}

// RatioWithin returns how many times its size a layer of compressed bytes may unpack
// to, so that Memory stays within a budget.
func RatioWithin(budget, compressed, span int64) float64 {
	return float64((budget-buffers)/checkpoint*span) / float64(compressed)
}

// Budget returns the bytes of soci.Limits.MaxMemory in a function with so much
// memory, in MB as Lambda counts: what is left beside the program itself, less
// what the garbage collector and the network need on top.
func Budget(memorySize int64) int64 {
	const program = 64 // MiB
	return max((memorySize-program)*65/100, 16) << 20
}

// MemorySize returns the least memory of a function, in MB, with a budget of so
// many bytes.
func MemorySize(budget int64) int64 {
	n := budget>>20*100/65 + 64
	for Budget(n) < budget {
		n++
	}
	return n
}

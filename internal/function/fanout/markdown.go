package fanout

import (
	"fmt"
	"strings"

	"soci-index-builder/internal/function/contract"
	"soci-index-builder/pkg/soci"
)

// The stack's defaults, for the documentation.
const (
	docAtOnce = 20                    // FanOutConcurrency
	docMemory = contract.MemoryPerCPU // GeneratorMemorySize, MB
)

// shape is how the bytes of an image are spread over its layers.
type shape struct {
	name   string
	layers int
	half   bool // the first has half of the bytes
}

func (s shape) of(size int64) []int64 {
	layers := make([]int64, s.layers)
	for i := range layers {
		layers[i] = size / int64(s.layers)
		if s.half {
			layers[i] = size / 2 / int64(s.layers-1)
		}
	}
	if s.half {
		layers[0] = size / 2
	}
	return layers
}

// Markdown returns the table of docs/performance.md: seconds to the SOCI index by
// size and layers, as this package reckons.
func Markdown() string {
	shapes := []shape{{"1 layer", 1, false}, {"5 equal layers", 5, false}, {"5 layers, one with half", 5, true},
		{"20 equal layers", 20, false}, {"20 layers, one with half", 20, true}, {"60 equal layers", 60, false}}
	var b strings.Builder
	b.WriteString("| compressed GB | one function |")
	for _, s := range shapes {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n|---:|---:|" + strings.Repeat("---:|", len(shapes)) + "\n")
	for _, size := range []int64{5e8, 1e9, 2e9, 5e9, 10e9, 15e9, 20e9, 50e9, 100e9} {
		fmt.Fprintf(&b, "| %g | %s |", float64(size)/1e9, alone(size))
		for _, s := range shapes {
			layers := s.of(size)
			text := fmt.Sprintf("%.0f", InParts(layers, docAtOnce).Seconds())
			if layers[0] > maxLayer {
				text = "–"
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}

// maxLayer is ECR's largest layer, in bytes.
const maxLayer = contract.MaxLayerMiB << 20

// aloneMost is how many compressed bytes a layer may have for the default memory, if
// it unpacks to Ratio times its size. Finished layers take no memory, and a layer
// waits for another that it does not fit beside, so that it is each layer that counts.
func aloneMost() int64 {
	return int64(RatioWithin(Budget(docMemory), 1, soci.DefaultSpanSize) / Ratio)
}

// alone returns the seconds of one function, with the largest layer that it has the
// memory for where the image could have a larger one, and a dash where there is not
// the time.
func alone(size int64) string {
	t := Alone([]int64{size})
	switch {
	case t > Longest:
		return "–"
	case size > aloneMost():
		return fmt.Sprintf("%.0f, without a layer over %d GB", t.Seconds(), aloneMost()/1e9)
	}
	return fmt.Sprintf("%.0f", t.Seconds())
}

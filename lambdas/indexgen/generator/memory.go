package generator

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// mostMemory is the largest function of Lambda, in MB.
const mostMemory = contract.MaxMemoryMB

// The parameters of the functions' memory.
const (
	generatorMemory = "GeneratorMemorySize"
	stepsMemory     = "StepsMemorySize"
)

// withParameter adds to an error about a lack of memory which value of the stack's
// parameter would do.
func withParameter(err error, parameter string) error {
	limit, ok := errors.AsType[*soci.MemoryError](err)
	if !ok || limit.Enough == 0 {
		return err
	}
	switch size := fanout.MemorySize(limit.Enough); {
	case size <= mostMemory:
		return fmt.Errorf("%w: set %s to %d or more", err, parameter, size)
	case limit.Max < fanout.Budget(mostMemory):
		return fmt.Errorf("%w: set %s to %d, the most; if that is too little, index the image with the command line",
			err,
			parameter, mostMemory)
	}
	return fmt.Errorf("%w: index the image with the command line; no function has so much", err)
}

// shortOfMemory says in as few words as a result of a step has room for which value of
// the parameter would do for a layer that did not fit; nothing if err is another error.
func shortOfMemory(err error) error {
	limit, ok := errors.AsType[*soci.MemoryError](err)
	if !ok || limit.Enough == 0 {
		return nil
	}
	lacks := "it needs more than " + bytesize.Format(limit.Max) + " of memory: "
	switch size := fanout.MemorySize(limit.Enough); {
	case size <= mostMemory:
		return fmt.Errorf("%sset %s to %d or more", lacks, stepsMemory, size)
	case limit.Max < fanout.Budget(mostMemory):
		return fmt.Errorf("%sset %s to %d, or use the command line", lacks, stepsMemory, mostMemory)
	}
	return errors.New(lacks + "index the image with the command line")
}

// memoryFor says which value of the parameter would do for a layer, as far as its
// compressed size shows that before it is read.
func (s *Steps) memoryFor(layer fanout.Item) string {
	span := cmp.Or(s.Options.SpanSize, soci.DefaultSpanSize)
	enough := fanout.MemorySize(fanout.Memory(layer.Size, fanout.Ratio, span))
	ratio := fanout.RatioWithin(fanout.Budget(mostMemory), layer.Size, span)
	switch {
	case enough <= mostMemory:
		return fmt.Sprintf("set %s to %d or more, which is enough for layers that unpack to %.1f times their size",
			stepsMemory,
			enough, fanout.Ratio)
	case ratio >= 1 && s.MemorySizeMiB < mostMemory:
		return fmt.Sprintf("set %s to %d, the most, which is enough if the layer unpacks to %.1f times its size",
			stepsMemory,
			mostMemory, math.Floor(ratio*10)/10)
	}
	return "index the image with the command line; no function has more"
}

// doubtful says that the memory is not enough for the largest layer if it unpacks as
// layers usually do; nothing if it is. The layer is tried all the same: only reading it
// shows how it unpacks.
func (s *Steps) doubtful(items []fanout.Item) string {
	budget := s.Options.Limits.MaxMemory
	if len(items) == 0 || budget == 0 {
		return ""
	}
	span := cmp.Or(s.Options.SpanSize, soci.DefaultSpanSize)
	largest := items[0]
	need := fanout.Memory(largest.Size, fanout.Ratio, span)
	if need <= budget {
		return ""
	}
	return fmt.Sprintf("layer %s of %s needs %s of memory if it unpacks to %.1f times its size, and a function of %d "+
		"MB has "+
		"%s for it; if it fails, %s", largest.Layer, bytesize.Format(largest.Size), bytesize.Format(need), fanout.Ratio,
		s.MemorySizeMiB, bytesize.Format(budget), s.memoryFor(largest))
}

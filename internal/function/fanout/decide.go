package fanout

import (
	"fmt"
	"math"
	"time"

	"soci-index-builder/internal/text/bytesize"
)

// Longest is how long one function works on an image: Lambda's limit, less what it
// keeps back to say how far it came.
const Longest = 15*time.Minute - 10*time.Second

// Unlimited is the time that a function has which has no deadline.
const Unlimited = time.Duration(math.MaxInt64)

// Function is a function that builds images, or hands them over to the state
// machine.
type Function struct {
	From   int64 // an image with more compressed bytes of layers to be read is large
	Budget int64 // bytes of its memory for a build, soci.Limits.MaxMemory; 0: not known
	Steps  int64 // the same of the function that does the steps; 0: not known, and taken to be more
	Span   int64 // bytes
}

// StepsHaveMore reports whether a step may hold a layer for which this function has
// too little memory.
func (f Function) StepsHaveMore() bool { return f.Steps == 0 || f.Steps > f.Budget }

// TooLarge says why an image is handed over, of whose layers sum compressed bytes are
// to be read, those of the largest among them; nothing if it is not. left is the time
// that the function has.
func (f Function) TooLarge(sum, largest int64, left time.Duration) string {
	if sum > f.From {
		return "they are more than " + bytesize.Format(f.From)
	}
	return f.Beyond(sum, largest, left)
}

// Beyond is TooLarge for an image that is to be built by one function whatever its
// size, unless that would not finish.
func (f Function) Beyond(sum, largest int64, left time.Duration) string {
	switch memory := Memory(largest, Ratio, f.Span); {
	case Time(sum) > left:
		return fmt.Sprintf("one function would need about %s", Time(sum).Round(time.Second))
	case f.Budget > 0 && memory > f.Budget && f.StepsHaveMore():
		return fmt.Sprintf("the largest may need %s of memory", bytesize.Format(memory))
	}
	return ""
}

package fanout

import (
	"testing"
	"time"
)

// The figures of the documentation: ECR's largest layer takes about 11 minutes
// and a half, and fits for its ratio in the memory that is named.
func TestEstimate(t *testing.T) {
	if got := Time(largest); got < 11*time.Minute || got > 12*time.Minute {
		t.Errorf("%s", got)
	}
	const span = 4 << 20
	for _, row := range []struct {
		memory int64
		ratio  float64
		fits   bool
	}{{3008, 2.3, true}, {3008, 2.4, false}, {5120, 4.0, true}, {5120, 4.1, false}} {
		if fits := Memory(largest, row.ratio, span) <= Budget(row.memory); fits != row.fits {
			t.Errorf("%d MB, ratio %.1f: %t", row.memory, row.ratio, fits)
		}
	}
	for _, memory := range []int64{512, 1769, 3008, 10240} {
		if got := MemorySize(Budget(memory)); Budget(got) < Budget(memory) || got > memory {
			t.Errorf("MemorySize(Budget(%d)) = %d", memory, got)
		}
	}
}

package fanout

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"soci-index-builder/pkg/soci"
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
		most := RatioWithin(Budget(row.memory), largest, span)
		if fits := row.ratio <= most; fits != row.fits || Memory(largest, most, span) > Budget(row.memory) ||
			Memory(largest, most+0.001, span) <= Budget(row.memory) {
			t.Errorf("%d MB, ratio %.1f: at most %f fits", row.memory, row.ratio, most)
		}
	}
	for _, memory := range []int64{512, 1769, 3008, 10240} {
		if got := MemorySize(Budget(memory)); Budget(got) < Budget(memory) || got > memory {
			t.Errorf("MemorySize(Budget(%d)) = %d", memory, got)
		}
	}
}

// The table of docs/deploy.md: how much a layer may unpack to.
func TestDocumentedLayers(t *testing.T) {
	b, err := os.ReadFile("../../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	for size, row := range map[int64]string{5e9: "| 5 GB |", 10e9: "| 10 GB |", 20e9: "| 20 GB |",
		largest: "| 54.5 GB "} {
		_, rest, _ := strings.Cut(string(b), "\n"+row)
		line, _, _ := strings.Cut(rest, "\n")
		if want := fmt.Sprintf(" %.1f ", Time(size).Minutes()); !strings.Contains(line, strings.TrimSuffix(want, " ")) {
			t.Errorf("the layer %s takes%sminutes, documented is %q", row, want, line)
		}
		for _, memory := range []int64{3008, 5120, 10240} {
			ratio := RatioWithin(Budget(memory), size, soci.DefaultSpanSize)
			if want := fmt.Sprintf("%.1f times", ratio); !strings.Contains(line, want) {
				t.Errorf("with %d MB the layer %s may unpack to %s its size, documented is %q", memory, row, want, line)
			}
		}
	}
}

// The layers that docs/performance.md and docs/deploy.md say the memory of one function
// holds.
func TestDocumentedMemory(t *testing.T) {
	unpacked := func(memory int64) string {
		return fmt.Sprintf("%.0f GB", RatioWithin(Budget(memory), 1e9, soci.DefaultSpanSize))
	}
	for name, texts := range map[string][]string{
		"performance.md": {fmt.Sprintf("1,769 MB hold a layer of\n%s uncompressed, 3,008 MB one of %s.", unpacked(1769),
			unpacked(3008)), fmt.Sprintf("one layer of more than about %d GB", aloneMost()/1e9)},
		"deploy.md": {unpacked(1769) + " uncompressed at 1,769 MB", "= " + unpacked(3008)},
	} {
		b, err := os.ReadFile("../../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if !strings.Contains(string(b), text) {
				t.Errorf("docs/%s does not say %q", name, text)
			}
		}
	}
	if most := aloneMost(); Memory(most, Ratio, soci.DefaultSpanSize) > Budget(docMemory) ||
		Memory(most+soci.DefaultSpanSize, Ratio, soci.DefaultSpanSize) <= Budget(docMemory) {
		t.Errorf("%d bytes are not the edge", most)
	}
}

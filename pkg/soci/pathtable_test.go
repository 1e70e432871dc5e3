package soci_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// namesOf returns a zTOC of files with such names.
func namesOf(format string, n int) *soci.Ztoc {
	z := &soci.Ztoc{Checkpoints: make([]soci.Checkpoint, 1)}
	for i := range n {
		z.Entries = append(z.Entries, soci.Entry{Name: fmt.Sprintf(format, i*7919%n), Type: "reg", Size: 1})
	}
	return z
}

// What it takes to make a table is within the bound, the names that are copied to
// clean them too.
func TestMemoryOfPathTables(t *testing.T) {
	for format, times := range map[string]int64{"usr/lib/%d": 1, "./usr/lib/%d/": 1,
		"usr/../a/rather/long/name/of/a/file/%d": 4, // what is allocated on the way is not kept
	} {
		z := namesOf(format, 50_000)
		tables := soci.NewTables(1<<30, "a")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		used, making := tables.Add("a", z)
		runtime.ReadMemStats(&after)
		took := int64(after.TotalAlloc - before.TotalAlloc)
		if most := (used + making) * 5 / 4 * times; tables.Full() || took > most {
			t.Errorf("%s: %d bytes were allocated, and %d + %d counted", format, took, used, making)
		}
		if least := used + making; took < least/2 {
			t.Errorf("%s: %d bytes were allocated, and %d counted", format, took, least)
		}
	}
}

// Whether the tables of layers fit does not depend on their order.
func TestPathTablesFitInAnyOrder(t *testing.T) {
	small, large := namesOf("a/%d", 1000), namesOf("b/%d", 5000)
	layers := []struct {
		digest digest.Digest
		ztoc   *soci.Ztoc
	}{{"small", small}, {"large", large}}
	all := soci.NewTables(1<<30, "small", "large")
	all.Add("small", small)
	used, making := all.Add("large", large)
	for range 2 {
		for need, full := range map[int64]bool{used + making: false, used + making - 1: true} {
			tables := soci.NewTables(need, "small", "large")
			for _, l := range layers {
				tables.Add(l.digest, l.ztoc)
			}
			if tables.Full() != full {
				t.Errorf("within %d bytes, %s first: full is %t", need, layers[0].digest, !full)
			}
		}
		slices.Reverse(layers)
	}
}

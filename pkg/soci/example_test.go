package soci_test

import (
	"bytes"
	"fmt"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// A layer's zTOC is built from a stream of its compressed bytes.
func ExampleBuildZtoc() {
	layers, err := testlayers.Stored()
	if err != nil {
		fmt.Println(err)
		return
	}
	z, err := soci.BuildZtoc(bytes.NewReader(layers[0].Blob()), soci.ZtocOptions{SpanSize: 64 << 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, s := range z.Spans() {
		fmt.Printf("span %d: compressed bytes %d to %d, uncompressed from %d\n", i, s.Start, s.End, s.OutStart)
	}
	fmt.Printf("%d entries, the last is %s at %d\n", len(z.Entries), z.Entries[len(z.Entries)-1].Name, z.Entries[len(z.Entries)-1].Offset)
	// Output:
	// span 0: compressed bytes 10 to 56979, uncompressed from 0
	// span 1: compressed bytes 56978 to 60697, uncompressed from 131070
	// 11 entries, the last is usr/last at 137216
}

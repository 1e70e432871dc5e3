package soci_test

import (
	"bytes"
	"errors"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// A layer that clients would misread is not indexed. Layers with similar oddities
// that clients read right are.
func TestMisread(t *testing.T) {
	found := make(map[string]int)
	for _, l := range testlayers.Generated() {
		blob := l.Blob()
		z, err := soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{SpanSize: 64 << 10})
		if l.Misread == "" {
			if err != nil {
				t.Errorf("%s (%s): %v", l.Name, l.How, err)
			}
			continue
		}
		found[l.Misread]++
		unsupported, ok := errors.AsType[*soci.UnsupportedError](err)
		if !ok || string(unsupported.Reason) != l.Misread || z != nil {
			t.Errorf("%s (%s): %v, not %s", l.Name, l.How, err, l.Misread)
		}
		z, err = soci.BuildZtoc(bytes.NewReader(blob), soci.ZtocOptions{SpanSize: 64 << 10, AllowMisread: true})
		if err != nil {
			t.Errorf("%s (%s), as upstream does: %v", l.Name, l.How, err)
		} else if err := z.Misread(); !errors.Is(err, soci.ErrUnsupported) {
			t.Errorf("%s (%s): the zTOC is said to be read correctly: %v", l.Name, l.How, err)
		}
	}
	for _, b := range testlayers.MisreadLayers() {
		found[b.Reason]++ // the verdicts: TestVerdicts
		z, err := soci.BuildZtoc(bytes.NewReader(b.Blob), soci.ZtocOptions{AllowMisread: true})
		if err != nil {
			t.Errorf("%s (%s), as upstream does: %v", b.Name, b.How, err)
		} else if err := z.Misread(); !errors.Is(err, soci.ErrUnsupported) {
			t.Errorf("%s (%s): the zTOC is said to be read correctly: %v", b.Name, b.How, err)
		}
	}
	if len(found) < 10 {
		t.Errorf("only the kinds %v", found)
	}
}

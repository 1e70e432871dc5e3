//go:build conformance

package conformance

import (
	"bytes"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/testlayers"
)

// TestDifferences lists the layers on which we mean to differ from upstream,
// so that a change on either side is seen. Sparse files in PAX form and a zlib
// stream behind the last member, which upstream takes and we do not, are among
// the layers of TestBadLayers.
func TestDifferences(t *testing.T) {
	member := func(h testlayers.GzipHeader) []byte {
		d := new(testlayers.Deflate)
		d.Stored(true, make([]byte, 1024))
		return testlayers.Member(h, d)
	}
	cases := []struct {
		name           string
		why            string
		blob           []byte
		compression    testlayers.Compression // as which upstream reads it
		ours, upstream bool                   // who takes it
	}{
		{"empty", "a layer without any bytes is no archive; its zTOC would have no span", nil, testlayers.Uncompressed,
			false, true},
		{"name of 511 bytes", "the longest that compress/gzip takes, and so the snapshotter",
			member(testlayers.GzipHeader{Name: strings.Repeat("n", 511)}), testlayers.Gzip, true, true},
		{"gzip called tar", "upstream goes by the media type, we by the bytes", member(testlayers.GzipHeader{}),
			testlayers.Uncompressed, true, false},
		{"tar called gzip", "the same", make([]byte, 1024), testlayers.Gzip, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want, upstreamErr := buildUpstream(tempBlob(t, c.blob), c.compression, 1000, buildTool)
			got, oursErr := buildOurs(c.blob, 1000, buildTool)
			if (oursErr == nil) != c.ours {
				t.Errorf("we answer %v (%s)", oursErr, c.why)
			}
			if (upstreamErr == nil) != c.upstream {
				t.Errorf("upstream answers %v (%s)", upstreamErr, c.why)
			}
			if c.ours && c.upstream && !bytes.Equal(got, want) {
				t.Error(difference(want, got))
			}
		})
	}
}

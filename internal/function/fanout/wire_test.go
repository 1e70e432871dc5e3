package fanout

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

const largest = 52_000 << 20 // bytes of ECR's largest layer

// biggest are outcomes with the longest JSON of their kind.
func biggest(i Item) []Result {
	long := strings.Repeat("\x00\\\"<é\U0001f600", 500)
	ztoc, err := Built(soci.LayerOutcome{Layer: i.Layer, Size: i.Size, Result: soci.LayerResult{
		Ztoc:             ocispec.Descriptor{Digest: digest.FromString("zTOC"), Size: 2 << 30},
		UncompressedSize: 1 << 40, Spans: 1 << 20, Entries: 4_000_000, Compression: soci.Uncompressed,
	}}, soci.Options{})
	if err != nil {
		panic(err)
	}
	return []Result{ztoc, {Mark: mark(i.Layer, soci.Options{}), Skip: soci.SkipParent},
		{Mark: mark(i.Layer, soci.Options{}), Skip: soci.SkipCompression},
		Failed(i.Layer, &failure.Error{Reason: failure.InvalidReference, Err: errors.New(long)}, soci.Options{}),
		Failed(i.Layer, &failure.Error{Reason: failure.OutOfTime, Err: errors.New(strings.Repeat("x", 1000))},
			soci.Options{})}
}

// An item and a result stay within their sizes, and 127 layers of 8 platforms
// within what passes between states, beside an event of 16,000 bytes.
func TestSizes(t *testing.T) {
	var (
		items   []Item
		longest = Result{}
		size    int
	)
	for n := range 127 * 8 {
		items = append(items, Item{Layer: digest.FromString(fmt.Sprint(n)), Size: largest})
	}
	if b := encoded(t, Item{Layer: items[0].Layer, Size: largest, Zstd: true}); len(b) > maxItem {
		t.Errorf("%d bytes: %s", len(b), b)
	}
	for _, r := range biggest(items[0]) {
		b := encoded(t, r)
		if len(b) > maxResult {
			t.Errorf("%d bytes: %s", len(b), b)
		}
		if len(b) > size {
			size, longest = len(b), r
		}
	}
	results := make([]Result, len(items))
	for i := range results {
		results[i] = longest
	}
	const event = 16_000
	if !Fits(items, event) {
		t.Error("127 layers of 8 platforms do not fit")
	}
	b := encoded(t, map[string]any{"step": "publish", "event": strings.Repeat("e", event-2), "items": items,
		"results": results})
	if len(b) > MaxPayload {
		t.Errorf("the last step has %d bytes", len(b))
	}
	// At the edge: as many bytes more as there is room for, and one more.
	room := MaxPayload - maxRequest
	for _, i := range items {
		room -= len(encoded(t, i)) + maxResult + 2
	}
	if !Fits(items, room) || Fits(items, room+1) {
		t.Errorf("the edge is not at an event of %d bytes", room)
	}
	// Layers of a few bytes, of which more would pass between the states than the
	// history has room for.
	tiny := slices.Repeat([]Item{{Layer: items[0].Layer, Size: 1}}, MaxItems+1)
	if !Fits(tiny[:MaxItems], 500) || Fits(tiny, 500) {
		t.Errorf("the edge is not at %d tiny layers", MaxItems)
	}
	if Fits([]Item{{Layer: digest.SHA512.FromString("a layer"), Size: 1}}, 0) {
		t.Error("an item with a digest by SHA-512 fits")
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A step knows of each layer what it needs, and of one of zstd that it need not be
// read to its end. What a newer version says besides is passed over.
func TestItems(t *testing.T) {
	layers := []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString("gzip"), Size: 1},
		{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.FromString("zstd"), Size: 2},
		{MediaType: "application/vnd.docker.image.rootfs.diff.tar.zstd", Digest: digest.FromString("Docker"), Size: 3},
	}
	for n, i := range Items(layers) {
		var got Item
		newer := append(bytes.TrimSuffix(encoded(t, i), []byte("}")), `,"newer":1}`...)
		d := json.NewDecoder(bytes.NewReader(newer))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		desc := got.Descriptor()
		expect.Equal(t, expect.Facts{
			{"Digest", desc.Digest, layers[n].Digest},
			{"Size", desc.Size, layers[n].Size},
			{"of zstd", soci.IsZstd(desc.MediaType), n > 0},
		}, "layer %d", n)
	}
}

// A result says the same after encoding and decoding.
func TestRoundTrip(t *testing.T) {
	i := Item{Layer: digest.FromString("layer"), Size: 12345}
	ztoc := soci.LayerResult{Ztoc: ocispec.Descriptor{Digest: digest.FromString("zTOC"), Size: 678},
		Compression: soci.Gzip, UncompressedSize: 90123, Spans: 4, Entries: 5}
	plain := ztoc
	plain.Compression, plain.Entries = soci.Uncompressed, 0
	for _, want := range []soci.LayerResult{ztoc, plain, {Reason: soci.SkipSparseFile}} {
		r, err := Built(soci.LayerOutcome{Layer: i.Layer, Size: i.Size, Result: want}, soci.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal(encoded(t, r), &got); err != nil {
			t.Fatal(err)
		}
		o, err := got.Outcome(i, soci.Options{})
		expect.Equal(t, expect.Facts{
			{"error", err, nil},
			{"Layer", o.Layer, i.Layer},
			{"Size", o.Size, i.Size},
			{"Err", o.Err, nil},
			{"Result", string(encoded(t, o.Result)), string(encoded(t, want))},
		}, "decoded")
	}
	f := failure.Of(&soci.LayerError{Layer: i.Layer, Err: fmt.Errorf("%w gzip stream", soci.ErrCorrupt)})
	o, err := Failed(i.Layer, f, soci.Options{}).Outcome(i, soci.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := failure.Of(&soci.LayerError{Layer: i.Layer, Err: o.Err})
	if again.Class != failure.Permanent || again.Reason != failure.Corrupt || again.Error() != f.Error() {
		t.Errorf("%+v, want %+v", again, f)
	}
}

func TestMalformedResults(t *testing.T) {
	i := Item{Layer: digest.FromString("layer"), Size: 1}
	ztoc := strings.Repeat("A", 43)
	for _, r := range []Result{{}, {Failure: "made-up"}, {ZtocSize: 5}, {Skip: "made-up"}, {Skip: soci.SkipTooSmall},
		{Ztoc: ztoc, ZtocSize: -1}, {Ztoc: ztoc, UncompressedSize: -1}, {Ztoc: ztoc, Spans: -1},
		{Ztoc: ztoc, Entries: -1},
		{Ztoc: "A"}, {Ztoc: "A" + ztoc}, {Ztoc: strings.Repeat("0", 64)}, {Ztoc: strings.Repeat("=", 43)}} {
		r.Mark = mark(i.Layer, soci.Options{})
		if _, err := r.Outcome(i, soci.Options{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	other := Item{Layer: digest.FromString("another layer"), Size: 1}
	var swapped []Result
	for _, of := range []Item{other, i} {
		r, err := Built(soci.LayerOutcome{Layer: of.Layer, Size: of.Size, Result: soci.LayerResult{
			Ztoc: ocispec.Descriptor{Digest: digest.FromString(of.Layer.String()), Size: 5}, Compression: soci.Gzip}},
			soci.Options{})
		if err != nil {
			t.Fatal(err)
		}
		swapped = append(swapped, r)
	}
	if _, err := Outcomes([]Item{other, i}, swapped, soci.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := Outcomes([]Item{i, other}, swapped, soci.Options{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("results in another order: %v", err)
	}
	if _, err := Outcomes([]Item{i}, nil, soci.Options{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("too few results: %v", err)
	}
}

// A result that was made with other settings is left out, so that its layer is built
// again: a zTOC of another span size would be wrong, and look right.
func TestResultsOfOtherSettings(t *testing.T) {
	first := Item{Layer: digest.FromString("a layer"), Size: 7}
	second := Item{Layer: digest.FromString("another layer"), Size: 8}
	by := soci.Options{SpanSize: 1 << 20}
	for name, made := range map[string]soci.Options{
		"the same":         by,
		"default tool":     {SpanSize: 1 << 20, BuildToolIdentifier: soci.BuildToolIdentifier},
		"no setting of it": {SpanSize: 1 << 20, MinLayerSize: 5, IndexVersion: soci.V2},
		"span size":        {SpanSize: 2 << 20},
		"default span":     {},
		"build tool":       {SpanSize: 1 << 20, BuildToolIdentifier: "soci-index-builder/2"},
	} {
		var results []Result
		for _, r := range []struct {
			Item
			by soci.Options
		}{{first, made}, {second, by}} {
			b, err := Built(soci.LayerOutcome{Layer: r.Layer, Size: r.Size, Result: soci.LayerResult{
				Ztoc: ocispec.Descriptor{Digest: digest.FromString("zTOC"), Size: 5}, Compression: soci.Gzip}}, r.by)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, b)
		}
		want := []digest.Digest{first.Layer, second.Layer}
		if cmp.Or(made.SpanSize, soci.DefaultSpanSize) != by.SpanSize ||
			cmp.Or(made.BuildToolIdentifier, soci.BuildToolIdentifier) != soci.BuildToolIdentifier {
			want = want[1:]
		}
		outcomes, err := Outcomes([]Item{first, second}, results, by)
		var got []digest.Digest
		for _, o := range outcomes {
			got = append(got, o.Layer)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, want %v", name, err, got, want)
		}
	}
	// A failure with other settings may be none with these.
	failed := Failed(first.Layer, &failure.Error{Reason: failure.LimitExceeded, Err: errors.New("why")}, soci.Options{})
	if outcomes, err := Outcomes([]Item{first}, []Result{failed}, by); err != nil || len(outcomes) != 0 {
		t.Errorf("a failure: %v %+v", err, outcomes)
	}
	for _, none := range []string{"", "0123", "0123456789", "hexadeci"} {
		failed.Mark = none
		if _, err := Outcomes([]Item{first}, []Result{failed}, by); !errors.Is(err, ErrMalformed) {
			t.Errorf("the mark %q: %v", none, err)
		}
	}
}

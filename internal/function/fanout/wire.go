// Package fanout is what the generator and the steps of the state machine share
// about images that are too large for one function: the wire forms between the
// states, the estimate of time and memory, and the start of an execution. Start
// with [Starter.Start] and [Fits].
package fanout

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/pkg/soci"
)

// MaxPayload is the maximum size in bytes of what passes between two states.
// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
const MaxPayload = 256 << 10 // 256 KiB

// The maximum sizes of an item and of a result, in bytes of JSON.
const (
	maxItem   = 110
	maxResult = 140
)

// maxRequest is what a request of the last step has beside the event, the items
// and the results, in bytes: a step's name and the names of the fields.
const maxRequest = 100

// MaxHistory is the maximum number of events in the history of an execution.
// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
const MaxHistory = 25_000

// MaxItems bounds the layers of a plan: each has events of the history, at most as
// many as the state machine has retries and states for it. The tests of the state
// machine hold it below MaxHistory.
const MaxItems = 1_100

// Item is a layer of the plan, which one BuildLayer reads.
type Item struct {
	Layer digest.Digest `json:"d"`
	Size  int64         `json:"s"` // compressed bytes
	Zstd  bool          `json:"z,omitempty"`
}

// UnmarshalJSON passes over fields that are not known, also where all others are
// refused: a newer version may have planned the work, before the functions were
// updated or rolled back.
func (i *Item) UnmarshalJSON(b []byte) error {
	type plain Item
	return json.Unmarshal(b, (*plain)(i))
}

// Items returns the items of a plan's layers, in their order.
func Items(layers []ocispec.Descriptor) []Item {
	items := make([]Item, len(layers))
	for i, l := range layers {
		items[i] = Item{Layer: l.Digest, Size: l.Size, Zstd: soci.IsZstd(l.MediaType)}
	}
	return items
}

// Descriptor returns what BuildLayer needs to read the layer.
func (i Item) Descriptor() ocispec.Descriptor {
	desc := ocispec.Descriptor{Digest: i.Layer, Size: i.Size}
	if i.Zstd {
		desc.MediaType = ocispec.MediaTypeImageLayerZstd
	}
	return desc
}

// Fits reports whether a plan can pass between the states of an execution that
// began with an event of that size in bytes, together with the results of all its
// items, and whether its history has room for them.
func Fits(items []Item, event int) bool {
	if len(items) > MaxItems {
		return false
	}
	size := maxRequest + event
	for _, i := range items {
		b, err := json.Marshal(i)
		if err != nil || len(b) > maxItem {
			return false
		}
		size += len(b) + len(",") + maxResult + len(",")
	}
	return size <= MaxPayload
}

// Result is what became of an item: a zTOC, a reason to skip the layer, or a
// failure that no second attempt changes.
type Result struct {
	// Mark is of the layer and the settings, so that no result is taken for another's.
	Mark             string          `json:"l"`
	Ztoc             string          `json:"z,omitempty"` // the SHA-256 of the zTOC in base64, unpadded, for URLs
	ZtocSize         int64           `json:"s,omitempty"` // bytes
	UncompressedSize int64           `json:"u,omitempty"` // bytes
	Spans            int             `json:"p,omitempty"`
	Entries          int             `json:"f,omitempty"`
	Plain            bool            `json:"n,omitempty"` // the layer is not compressed
	Skip             soci.SkipReason `json:"k,omitempty"`
	Failure          failure.Reason  `json:"e,omitempty"`
	Message          string          `json:"m,omitempty"` // as much of the failure's text as there is room for
}

const markSize = 4 // bytes, twice as many digits

// mark returns what a result has of its layer and of the settings that decide on the
// bytes of a zTOC: eight hexadecimal digits of a SHA-256. The functions may be updated
// while an execution runs.
func mark(layer digest.Digest, o soci.Options) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %q", layer, cmp.Or(o.SpanSize, soci.DefaultSpanSize),
		cmp.Or(o.BuildToolIdentifier, soci.BuildToolIdentifier)))
	return hex.EncodeToString(sum[:markSize])
}

// ErrMalformed: a result or an item is malformed.
var ErrMalformed = errors.New("not what a step answers")

// Built returns the result of a layer that BuildLayer has read, with these options.
func Built(o soci.LayerOutcome, by soci.Options) (Result, error) {
	r := o.Result
	if !r.Indexed() {
		return Result{Mark: mark(o.Layer, by), Skip: r.Reason}, nil
	}
	if a := r.Ztoc.Digest.Algorithm(); a != digest.SHA256 {
		return Result{}, fmt.Errorf("internal error: a zTOC with a digest by %s", a)
	}
	sum, err := hex.DecodeString(r.Ztoc.Digest.Encoded())
	if err != nil {
		return Result{}, fmt.Errorf("internal error: the digest of a zTOC: %w", err)
	}
	return Result{Mark: mark(o.Layer, by), Ztoc: base64.RawURLEncoding.EncodeToString(sum), ZtocSize: r.Ztoc.Size,
		UncompressedSize: r.UncompressedSize,
		Spans:            r.Spans, Entries: r.Entries, Plain: r.Compression == soci.Uncompressed}, nil
}

// Failed returns the result of a layer that failed for good, with these options.
func Failed(layer digest.Digest, f *failure.Error, by soci.Options) Result {
	text := f.Error()
	if l, ok := errors.AsType[*soci.LayerError](f.Err); ok {
		text = l.Err.Error() // the layer is known
	}
	r := Result{Mark: mark(layer, by), Failure: f.Reason}
	for _, c := range strings.ToValidUTF8(text, "?") {
		longer := r
		longer.Message += string(c)
		if b, err := json.Marshal(longer); err != nil || len(b) > maxResult {
			break
		}
		r = longer
	}
	return r
}

// Outcome returns the result of an item as soci.Publish takes it. The error
// matches ErrMalformed.
func (r Result) Outcome(i Item, by soci.Options) (soci.LayerOutcome, error) {
	o := soci.LayerOutcome{Layer: i.Layer, Size: i.Size}
	sum, err := base64.RawURLEncoding.DecodeString(r.Ztoc)
	switch {
	case r.Mark != mark(i.Layer, by):
		return o, fmt.Errorf("%w: the result of layer %s has the mark %.100q of another", ErrMalformed, i.Layer, r.Mark)
	case err != nil || r.Ztoc != "" && len(sum) != sha256.Size:
		return o, fmt.Errorf("%w: of layer %s the zTOC %.100q", ErrMalformed, i.Layer, r.Ztoc)
	case r.Failure != "":
		if failure.ClassOf(r.Failure) == "" {
			return o, fmt.Errorf("%w: of layer %s the failure %q", ErrMalformed, i.Layer, r.Failure)
		}
		o.Err = &failure.Error{Class: failure.Permanent, Reason: r.Failure, Err: errors.New(r.Message)}
	case r.Skip != "" && !r.Skip.OfContent():
		return o, fmt.Errorf("%w: of layer %s the reason %.100q", ErrMalformed, i.Layer, r.Skip)
	case r.Skip != "":
		o.Result.Reason = r.Skip
	case r.Ztoc != "" && min(r.ZtocSize, r.UncompressedSize, int64(r.Spans), int64(r.Entries)) < 0:
		return o, fmt.Errorf("%w: of layer %s a negative number", ErrMalformed, i.Layer)
	case r.Ztoc != "":
		o.Result = soci.LayerResult{
			Ztoc:        ocispec.Descriptor{Digest: digest.NewDigestFromBytes(digest.SHA256, sum), Size: r.ZtocSize},
			Compression: soci.Gzip, UncompressedSize: r.UncompressedSize, Spans: r.Spans, Entries: r.Entries,
		}
		if r.Plain {
			o.Result.Compression = soci.Uncompressed
		}
	default:
		return o, fmt.Errorf("%w: of layer %s neither a zTOC nor a reason that there is none", ErrMalformed, i.Layer)
	}
	return o, nil
}

// Outcomes returns the results of a plan, in its order, without those that were made
// with other settings, before the function was updated: these layers are to be built
// again. The error matches ErrMalformed.
func Outcomes(items []Item, results []Result, by soci.Options) ([]soci.LayerOutcome, error) {
	if len(items) != len(results) {
		return nil, fmt.Errorf("%w: %d results of %d layers", ErrMalformed, len(results), len(items))
	}
	marks := make(map[string]bool, len(items))
	for _, i := range items {
		marks[mark(i.Layer, by)] = true
	}
	outcomes := make([]soci.LayerOutcome, 0, len(items))
	for n, r := range results {
		if b, err := hex.DecodeString(r.Mark); err == nil && len(b) == markSize && !marks[r.Mark] {
			continue
		}
		o, err := r.Outcome(items[n], by)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

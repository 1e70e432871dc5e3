package generator

import (
	"cmp"
	"context"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// FanOut says which images are handed over to the state machine. All fields are
// required.
type FanOut struct {
	// Starter starts the state machine.
	Starter *fanout.Starter

	// From is how many compressed bytes of layers to be read make an image
	// large.
	From int64
}

// handedOver is how the work on an image ends that the state machine goes on
// with.
type handedOver struct {
	fanout.Execution
	layers int
	bytes  int64 // compressed
	why    string
}

func (h *handedOver) Error() string {
	return fmt.Sprintf("%d layers of %s are read by the execution %s: %s", h.layers, bytesize.Format(h.bytes), h.Name,
		h.why)
}

// handOver has the state machine go on with an image that is too large for this
// invocation, and then returns a *handedOver. It returns nil for an image that
// is to be built here: also one whose plan is too large for the state machine.
func (i *invocation) handOver(ctx context.Context, j *job, layers []ocispec.Descriptor) error {
	if i.FanOut == nil || len(layers) == 0 {
		return nil
	}
	h := &handedOver{layers: len(layers)}
	for _, l := range layers {
		h.bytes += l.Size
	}
	if h.why = i.tooLarge(ctx, layers[0].Size, h.bytes); h.why == "" {
		return nil
	}
	if !fanout.Fits(fanout.Items(layers), len(j.input)) {
		i.logger.WarnContext(ctx, "image not handed over", "layers", h.layers, "bytes", h.bytes,
			"reason", "its plan does not fit the state machine")
		return nil
	}
	var err error
	if h.Execution, err = i.FanOut.Starter.Start(ctx, fanout.Name(j.event, j.options), j.input); err != nil {
		return err
	}
	return h
}

// tooLarge says why an image is too large for this invocation, nothing when it
// is not.
func (i *invocation) tooLarge(ctx context.Context, largest, sum int64) string {
	span := cmp.Or(i.Options.SpanSize, soci.DefaultSpanSize)
	deadline, limited := ctx.Deadline()
	switch memory := fanout.Memory(largest, fanout.Ratio, span); {
	case sum > i.FanOut.From:
		return "they are more than " + bytesize.Format(i.FanOut.From)
	case limited && fanout.Time(sum) > time.Until(deadline):
		return fmt.Sprintf("one function would need about %s", fanout.Time(sum).Round(time.Second))
	case memory > i.Options.Limits.MaxMemory && i.Options.Limits.MaxMemory > 0:
		return fmt.Sprintf("the largest may need %s of memory", bytesize.Format(memory))
	}
	return ""
}

package generator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// FanOut says which images are handed over to the state machine.
type FanOut struct {
	// Starter starts the state machine. Required.
	Starter *fanout.Starter

	// From is how many compressed bytes of layers to be read make an image
	// large. Required.
	From int64

	// StepsMemorySizeMiB is the memory of the function that does the steps; 0
	// when it is not known.
	StepsMemorySizeMiB int64
}

// handedOver ends the work on an image that the state machine continues.
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

// errPlanTooLarge: the plan of an image does not fit the state machine.
var errPlanTooLarge = errors.New("its plan does not fit the state machine")

// impossible reports whether an error of begin says that the image cannot be handed
// over, or, without an answer, that it may not be.
func impossible(err error) bool {
	return errors.Is(err, errPlanTooLarge) || errors.Is(err, fanout.ErrOutOfReach)
}

// handOver has the state machine go on with an image that is too large for this
// invocation, and then returns a *handedOver. It returns nil for an image that
// is to be built here: also one whose plan is too large for the state machine, and
// one that could be built by either, if the state machine is out of reach.
func (i *invocation) handOver(ctx context.Context, j *job, layers []ocispec.Descriptor) error {
	if i.FanOut == nil || len(layers) == 0 {
		return nil
	}
	sum := sumOf(layers)
	why := i.tooLarge(ctx, layers[0].Size, sum)
	if why == "" {
		return nil
	}
	err := i.begin(ctx, j, layers, why)
	// Asked after that, which may have taken time.
	if errors.Is(err, errPlanTooLarge) ||
		impossible(err) && i.alone().Beyond(sum, layers[0].Size, timeLeft(ctx)) == "" {
		i.notHandedOver(ctx, layers, err)
		return nil
	}
	return err
}

// handOverShort has the state machine go on with an image that failed here, as a layer
// turned out to need more memory than there is, if the steps have more; then it returns
// a *handedOver. Otherwise it returns the failure with the parameter that would help.
func (i *invocation) handOverShort(ctx context.Context, j *job, layers []ocispec.Descriptor, failed error,
	short *soci.MemoryError) error {
	if i.FanOut == nil || len(layers) == 0 {
		return withParameter(failed, generatorMemory)
	}
	if !i.alone().StepsHaveMore() {
		return withParameter(failed, stepsMemory) // with more there it is handed over
	}
	err := i.begin(ctx, j, layers, "one needs more than "+bytesize.Format(short.Max)+" of memory")
	if !impossible(err) || errors.Is(err, fanout.ErrOutOfReach) && failure.Of(err).Reason != failure.AccessDenied {
		return err // without an answer it may even have begun
	}
	i.notHandedOver(ctx, layers, err)
	return withParameter(failed, generatorMemory)
}

// begin has the state machine work on the image. Its error is a *handedOver when it
// does.
func (i *invocation) begin(ctx context.Context, j *job, layers []ocispec.Descriptor, why string) error {
	if !fanout.Fits(fanout.Items(layers), len(j.input)) {
		return errPlanTooLarge
	}
	x, err := i.FanOut.Starter.Start(ctx, fanout.Name(j.event, j.options), j.input)
	if err != nil {
		return err
	}
	return &handedOver{Execution: x, layers: len(layers), bytes: sumOf(layers), why: why}
}

// notHandedOver logs that an image is built here after all; err is what impossible returned.
func (i *invocation) notHandedOver(ctx context.Context, layers []ocispec.Descriptor, err error) {
	attrs := []any{"layers", len(layers), "bytes", sumOf(layers)}
	if errors.Is(err, errPlanTooLarge) {
		attrs = append(attrs, "reason", err)
	} else {
		f := failure.Of(err)
		attrs = append(attrs, "class", f.Class, "reason", f.Reason, "permission", f.Permission, "error", f)
	}
	i.logger.WarnContext(ctx, "image not handed over", attrs...)
}

// tooLarge says why an image is too large for this invocation, nothing when it
// is not.
func (i *invocation) tooLarge(ctx context.Context, largest, sum int64) string {
	return i.alone().TooLarge(sum, largest, timeLeft(ctx))
}

// alone is this function as one that builds images by itself.
func (i *invocation) alone() fanout.Function {
	f := fanout.Function{From: i.FanOut.From, Budget: i.Options.Limits.MaxMemory,
		Span: cmp.Or(i.Options.SpanSize, soci.DefaultSpanSize)}
	if size := i.FanOut.StepsMemorySizeMiB; size > 0 {
		f.Steps = fanout.Budget(size)
	}
	return f
}

// timeLeft is how long the work may still take.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return fanout.Unlimited
}

func sumOf(layers []ocispec.Descriptor) int64 {
	var sum int64
	for _, l := range layers {
		sum += l.Size
	}
	return sum
}

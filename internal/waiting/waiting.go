// Package waiting waits until an image has its SOCI indexes, or until it is
// certain that it will have none. Start with [Wait.Run].
package waiting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	smithytime "github.com/aws/smithy-go/time"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// The errors when waiting ends without a SOCI index.
var (
	// ErrNone: the image will have no SOCI index.
	ErrNone = errors.New("the image will have no SOCI index")

	// ErrTimeUp: the time is up, and the image may still get one.
	ErrTimeUp = errors.New("the time is up")
)

// Wait waits for one image.
type Wait struct {
	// Source has the image alone; see [One]. Required.
	Source inventory.Source

	// Options say what the image should have. All and Rules matter too: an image
	// that the rules do not choose will have no SOCI index.
	Options inventory.Options

	// TagUnindexed says that the builder makes the suffixed tag also for an image
	// without a layer to index.
	TagUnindexed bool

	// Log is asked what the builder says of the image. Without one (nil) only the
	// registry is.
	Log Log

	// Ended says how an execution of the builder's state machine ended that
	// logged nothing of its end, "" for any other. It is asked of the one that has
	// the image. Without it (nil), or when it fails, which is noted once, such an
	// image is waited for.
	Ended func(ctx context.Context, execution string) (string, error)

	// For is how long to wait at most.
	For time.Duration

	// Note gets what is new, in words for people, and Warn what keeps the waiting
	// from ending early.
	Note, Warn func(text string)

	// Now and Sleep are the clock's by default.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

// Log says what a builder logged of an image.
type Log interface {
	// Read returns what is new since the last call, in the order of time.
	Read(ctx context.Context, image digest.Digest) ([]Decision, error)
}

// Result is how the waiting ended.
type Result struct {
	Record     inventory.Record // of the last look; zero if there was none
	HandedOver bool             // the builder's state machine works on the image, or has
	Failure    string           // the reason of the builder's last attempt, if that failed, in the log's word
	Seconds    float64
}

// The pauses between two looks, which grow: a look reads the image's manifests.
const (
	firstPause = 2 * time.Second
	maxPause   = 15 * time.Second
)

// settle is how long after the builder has finished the registry may take to
// show it.
const settle = 30 * time.Second

// Run waits. The error matches ErrNone or ErrTimeUp and says why, or is that of
// ctx or of the first look at the registry or the log: later ones may pass.
func (w *Wait) Run(ctx context.Context) (*Result, error) {
	now, sleep := w.Now, w.Sleep
	if now == nil {
		now = time.Now
	}
	if sleep == nil {
		sleep = smithytime.SleepWithContext
	}
	start := now()
	r := &Result{}
	defer func() { r.Seconds = now().Sub(start).Seconds() }()
	var (
		builder  builder
		finished time.Time // when the builder was first seen to have finished
		trouble  error     // of the last look
	)
	for pause := firstPause; ; pause = min(pause*3/2, maxPause) {
		first := r.Record.Digest == ""
		if trouble = w.look(ctx, r, &builder); trouble == nil {
			ready, err := w.judge(&r.Record)
			switch {
			case ready || err != nil:
				return r, err
			case builder.none != "":
				return r, fmt.Errorf("%w: %s", ErrNone, builder.none)
			case w.ended(ctx, &builder):
				continue // with another look: it may have published before
			case builder.finished == "":
				finished = time.Time{}
			case finished.IsZero():
				finished = now()
			case now().Sub(finished) >= settle:
				return r, fmt.Errorf("%w: the builder has finished (%s), and %s", ErrNone, builder.finished,
					r.Record.Reason)
			}
		}
		switch {
		case ctx.Err() != nil:
			return r, ctx.Err()
		case first && trouble != nil, errors.Is(trouble, ErrNone):
			return r, trouble
		}
		left := w.For - now().Sub(start)
		if left <= 0 {
			return r, fmt.Errorf("%w, after %s: %s", ErrTimeUp, w.For, w.why(r, &builder, trouble))
		}
		if err := sleep(ctx, min(pause, left)); err != nil {
			return r, err
		}
	}
}

// ended reports whether the execution that has the image ended without a word in
// the log. The builder is then known to have failed, until it logs something
// newer.
func (w *Wait) ended(ctx context.Context, b *builder) bool {
	if w.Ended == nil || b.last.Message != messages.HandedOver {
		return false
	}
	how, err := w.Ended(ctx, b.last.Execution)
	switch {
	case err != nil && ctx.Err() == nil:
		w.Warn(fmt.Sprintf("whether the state machine still works is not known: %v", err))
		w.Ended = nil
	case err == nil && how != "":
		b.none = fmt.Sprintf("the builder failed: the execution %s %s", b.last.Execution, how)
		return true
	}
	return false
}

// why says what is known when the time is up.
func (w *Wait) why(r *Result, b *builder, trouble error) string {
	text := r.Record.Reason
	switch {
	case trouble != nil:
		text = trouble.Error()
	case b.attempt != "":
		text += "; the builder's last attempt failed: " + b.attempt
	case r.HandedOver:
		text += "; the builder's state machine works on it"
	case w.Log != nil && !b.seen:
		text += "; the builder has logged nothing of it: has its event come?"
	}
	return text
}

// look looks at the log, and then at the registry, which therefore has what the
// log says is there. The error matches ErrNone if the image is not what it was.
func (w *Wait) look(ctx context.Context, r *Result, b *builder) error {
	if w.Log != nil && r.Record.Digest != "" {
		if err := w.read(ctx, r, b); err != nil {
			return err
		}
	}
	before := r.Record.Digest
	found, err := w.survey(ctx, w.Options)
	switch {
	case before != "" && errors.Is(err, ecrclient.ErrNotFound):
		return fmt.Errorf("%w: it was deleted: %w", ErrNone, err)
	case err != nil:
		return err
	case found == nil && before == "":
		return errors.New("the image was deleted a moment ago")
	case found == nil:
		return fmt.Errorf("%w: it was deleted", ErrNone)
	case before != "" && found.Digest != before:
		return fmt.Errorf("%w under this tag, which named %s and now names %s", ErrNone, before, found.Digest)
	}
	r.Record = *found
	if w.Log != nil && before == "" {
		return w.read(ctx, r, b)
	}
	return nil
}

// survey returns the image as it is now, nil if it is not there any more. SOCI
// indexes of a platform that was chosen when they were made serve as well.
func (w *Wait) survey(ctx context.Context, o inventory.Options) (*inventory.Record, error) {
	var found *inventory.Record
	for record, err := range inventory.Survey(ctx, w.Source, o) {
		if err != nil {
			return nil, err
		}
		found = &record
	}
	if found == nil || found.State != inventory.StatePlatformNotChosen {
		return found, nil
	}
	o.Platforms = nil
	all, err := w.survey(ctx, o)
	if err == nil && all != nil && all.State == inventory.StateIndexed {
		return all, nil
	}
	return found, err
}

func (w *Wait) read(ctx context.Context, r *Result, b *builder) error {
	decisions, err := w.Log.Read(ctx, r.Record.Digest)
	if err != nil {
		return err
	}
	for _, d := range decisions {
		if note := b.take(&d); note != "" {
			w.Note(note)
		}
		r.HandedOver, r.Failure = r.HandedOver || d.Message == messages.HandedOver, b.reason
	}
	return nil
}

// judge reports whether the image has what it should have. The error matches
// ErrNone if an image in this state never will.
func (w *Wait) judge(r *inventory.Record) (ready bool, err error) {
	if w.Options.IndexVersion == soci.Both && r.Enabled.Tag != "" && r.Enabled.EnabledTag == "" {
		return false, fmt.Errorf("%w v2: %s", ErrNone, r.Enabled.Reason)
	}
	tagged := w.Options.IndexVersion != soci.V1 && r.Enabled.EnabledTag != ""
	switch {
	case r.State == inventory.StateIndexed:
		return true, nil
	case r.State == inventory.StateNothing || r.State == inventory.StateUnindexable:
		switch {
		case tagged && (r.Enabled.State == soci.EnabledUnindexed || r.Enabled.State == soci.EnabledMatches):
			return true, nil
		case tagged && w.TagUnindexed && r.Enabled.State != soci.EnabledForeign:
			return false, nil // its suffixed tag is made too
		}
	case r.State.ToIndex() && !(tagged && r.Enabled.State == soci.EnabledForeign):
		return false, nil
	}
	switch r.State {
	case inventory.StatePlatformNotChosen:
		return false, fmt.Errorf("%w: %s: %s", ErrNone, r.Reason, r.Hint())
	case inventory.StateNoImage:
		return false, fmt.Errorf("%w: it is not an image to index, but: %s", ErrNone, r.Reason)
	}
	return false, fmt.Errorf("%w: %s", ErrNone, cmp.Or(r.Reason, string(r.State)))
}

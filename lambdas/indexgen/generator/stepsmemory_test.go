package generator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// named returns the value of StepsMemorySize that a text names.
func named(t *testing.T, text string) (size int64) {
	t.Helper()
	_, rest, _ := strings.Cut(text, "set StepsMemorySize to ")
	if _, err := fmt.Sscanf(rest, "%d", &size); err != nil {
		t.Fatalf("%q names no value", text)
	}
	return size
}

// Before a layer is read, what cannot be done is refused, and of what may fail the log
// says so; both name a value of the parameter that is enough for the usual ratio.
func TestPlanOfMemory(t *testing.T) {
	const (
		span   = 4 << 20
		memory = 3008 // MB
	)
	budget := fanout.Budget(memory)
	s := &Steps{Handler: &Handler{Options: soci.Options{SpanSize: span, Limits: soci.Limits{MaxMemory: budget}}},
		MemorySizeMiB: memory}
	size := func(ratio float64) int64 { return int64(fanout.RatioWithin(budget, 1, span) / ratio) }
	for _, tt := range []struct {
		name             string
		size             int64
		doubtful, refuse bool
	}{
		{"fits at 2.3", size(fanout.Ratio), false, false},
		{"does not fit at 2.3", size(fanout.Ratio) + span, true, false},
		{"fits at 1", size(1), true, false},
		{"does not fit at 1", size(1) + span, true, true},
		{"ECR's largest", 52_000 << 20, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			items := []fanout.Item{{Layer: digest.FromString("layer"), Size: tt.size},
				{Layer: digest.FromString("b"), Size: 1}}
			err := s.possible(t.Context(), items, 1000)
			if (err != nil) != tt.refuse || tt.refuse && !errors.Is(err, soci.ErrLimit) {
				t.Errorf("refused: %v", err)
			}
			hint := s.doubtful(items)
			if (hint != "") != tt.doubtful {
				t.Errorf("doubtful: %q", hint)
			}
			for _, text := range []string{hint, fmt.Sprint(err)} {
				if text == "" || text == "<nil>" {
					continue
				}
				if !strings.Contains(text, items[0].Layer.String()) {
					t.Errorf("%q does not name the layer", text)
				}
				if !tt.refuse {
					if n := named(t, text); n <= memory ||
						fanout.Budget(n) < fanout.Memory(tt.size, fanout.Ratio, span) {
						t.Errorf("%q: not enough for %d bytes", text, tt.size)
					}
				}
			}
		})
	}
	if s.Options.Limits.MaxMemory = 0; s.doubtful([]fanout.Item{{Size: 1 << 50}}) != "" {
		t.Error("without a limit")
	}
}

// What is named is a value that the parameter can have.
func TestMemoryFor(t *testing.T) {
	s := &Steps{Handler: &Handler{Options: soci.Options{SpanSize: 1 << 20}}, MemorySizeMiB: 3008}
	for size, want := range map[int64]string{
		20_000 << 20: "set StepsMemorySize to 4540 or more, which is enough for layers that unpack to 2.3 times " +
			"their size",
		52_000 << 20: "set StepsMemorySize to 10240, the most, which is enough if the layer unpacks to 2.0 times " +
			"its size",
		1 << 40: "index the image with the command line; no function has more",
	} {
		got := s.memoryFor(fanout.Item{Size: size})
		if got != want {
			t.Errorf("%d: %s, want %s", size, got, want)
		}
		if strings.Contains(got, "set ") && named(t, got) > mostMemory {
			t.Errorf("%d: %s, and the most is %d", size, got, mostMemory)
		}
	}
	s.MemorySizeMiB = mostMemory
	if got := s.memoryFor(fanout.Item{Size: 52_000 << 20}); strings.Contains(got, "set ") {
		t.Errorf("of a function with the most: %s", got)
	}
}

// The log tells of a plan that memory may not be enough for.
func TestPlanWarns(t *testing.T) {
	r := registrytest.Start(t)
	p := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)}}})
	need := fanout.Memory(p.Layers[0].Size, fanout.Ratio, 64<<10)
	for budget, level := range map[int64]string{need: "INFO", need - 1: "WARN"} {
		s := newStepper(t, r)
		s.Options.Limits.MaxMemory = budget
		var plan planned
		if err := s.do(t, &plan, StepPlan, push(p.Manifest.Digest, "v1"), nil); err != nil || len(plan.Items) != 1 {
			t.Fatalf("%v %+v", err, plan)
		}
		lines := logged(t, s.out, "image planned")
		if len(lines) != 1 || lines[0]["level"] != level || (lines[0]["hint"] != nil) != (level == "WARN") {
			t.Errorf("a budget of %d: %v", budget, lines)
		}
	}
}

// A layer that turns out not to fit fails the image in the last step, and the failure
// that the queue has names the value that would do, though little room is left for it
// between the states.
func TestStepsShortOfMemory(t *testing.T) {
	r := registrytest.Start(t)
	p := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)}}})
	event := push(p.Manifest.Digest, "v1")
	s := newStepper(t, r)
	items := []fanout.Item{{Layer: p.Layers[0].Digest, Size: p.Layers[0].Size}}
	results := make([]fanout.Result, 1)
	s.Options.Limits.MaxMemory = 800 << 10
	if err := s.do(t, &results[0], StepLayer, event, map[string]any{"layer": items[0]}); err != nil {
		t.Fatal(err)
	}
	s.Options.Limits.MaxMemory = 0
	var answer map[string]any
	err := s.do(t, &answer, StepPublish, event, map[string]any{"items": items, "results": results})
	f := failure.Of(err)
	if f.Reason != failure.LimitExceeded || f.Class != failure.Permanent ||
		!strings.Contains(f.Error(), p.Layers[0].Digest.String()) {
		t.Fatalf("%v, of %+v", err, results)
	}
	if n := named(t, f.Error()); n <= 0 || n > mostMemory {
		t.Errorf("%v", err)
	}
	// The same of a layer that the last step has to build itself.
	s.Options.Limits.MaxMemory = 800 << 10
	err = s.do(t, &answer, StepPublish, event, nil)
	if f := failure.Of(err); f.Reason != failure.LimitExceeded || named(t, f.Error()) <= 0 {
		t.Errorf("%v", err)
	}
	// The longest of each kind has room.
	for _, e := range []*soci.MemoryError{{Max: 999<<20 + 1, Enough: 2 << 30}, {Max: 5<<30 + 1, Enough: 11 << 30},
		{Max: fanout.Budget(mostMemory), Enough: 20 << 30}} {
		short := shortOfMemory(e)
		r := fanout.Failed(digest.FromString("layer"), permanent(failure.LimitExceeded, short), soci.Options{})
		if r.Message != short.Error() {
			t.Errorf("%q is cut to %q", short, r.Message)
		}
	}
	if err := shortOfMemory(soci.ErrLimit); err != nil {
		t.Errorf("another limit: %v", err)
	}
}

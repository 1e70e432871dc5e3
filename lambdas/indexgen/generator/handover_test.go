package generator

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// manyFiles packs a layer of few bytes and many files, of which the estimate before it
// is read knows nothing.
func manyFiles(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("folder/file-%d", i), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// handsOver returns a handler that hands over images with more bytes than from, what it
// logs and AWS.
func handsOver(t *testing.T, s *registrytest.Server, from int64) (*Handler, *bytes.Buffer, *awstest.Server,
	*awstest.States) {
	t.Helper()
	h, out := setup(t, s)
	aws, states := awstest.Start(t), new(awstest.States)
	aws.Handle("states", states)
	h.FanOut = &FanOut{Starter: fanout.Open(aws.Config(), awstest.StateMachineARN), From: from}
	return h, out, aws, states
}

// An image of which a layer turns out to need more memory than the generator has is
// handed over, if the steps have more; otherwise it fails with what would help.
func TestHandOverShortOfMemory(t *testing.T) {
	r := registrytest.Start(t)
	image := r.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{
		{Content: manyFiles(t, 60_000)}, {Content: layer(t, 2, 2*minSize)}}}).Manifest
	const memory = 120 // MB of the generator
	for _, tt := range []struct {
		name    string
		edit    func(h *Handler, aws *awstest.Server)
		want    failure.Reason // none: it is handed over
		class   failure.Class
		text    string
		refused string // why it is not handed over, in the log
	}{
		{"the steps have more", func(h *Handler, _ *awstest.Server) { h.FanOut.StepsMemorySizeMiB = memory + 100 },
			"", "", "one needs more than 36.0 MiB of memory", ""},
		{"not known", func(*Handler, *awstest.Server) {}, "", "", "one needs more than 36.0 MiB of memory", ""},
		{"they have as much", func(h *Handler, _ *awstest.Server) { h.FanOut.StepsMemorySizeMiB = memory },
			failure.LimitExceeded, failure.Permanent, "set StepsMemorySize to ", ""},
		{"they have less", func(h *Handler, _ *awstest.Server) { h.FanOut.StepsMemorySizeMiB = memory - 20 },
			failure.LimitExceeded, failure.Permanent, "set StepsMemorySize to ", ""},
		{"nothing is handed over", func(h *Handler, _ *awstest.Server) { h.FanOut = nil },
			failure.LimitExceeded, failure.Permanent, "set GeneratorMemorySize to ", ""},
		{"not permitted", func(_ *Handler, aws *awstest.Server) {
			aws.Fail("states", "StartExecution", 1,
				&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
		}, failure.LimitExceeded, failure.Permanent, "set GeneratorMemorySize to ", "access-denied"},
		{"no answer", func(_ *Handler, aws *awstest.Server) {
			aws.Fail("states", "StartExecution", 1, &awstest.Error{})
		}, failure.Unavailable, failure.Transient, "", ""},
		{"throttled", func(_ *Handler, aws *awstest.Server) {
			aws.Fail("states", "StartExecution", 1,
				&awstest.Error{Status: 400, Code: "ThrottlingException", Message: "slow down"})
		}, failure.Throttled, failure.Transient, "slow down", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, out, aws, states := handsOver(t, r, 1<<40)
			h.Options.Limits.MaxMemory, h.Options.SpanSize = fanout.Budget(memory), soci.DefaultSpanSize
			h.Options.BuildToolIdentifier = tt.name // no zTOC of another case is reused
			tt.edit(h, aws)
			answer, err := h.Handle(t.Context(), push(image.Digest, "v1"))
			lines := logged(t, out, "image not handed over")
			if (len(lines) == 1) != (tt.refused != "") || len(lines) == 1 && lines[0]["reason"] != tt.refused {
				t.Errorf("not handed over: %v", lines)
			}
			if tt.want != "" {
				if f := failure.Of(err); err == nil || f.Reason != tt.want || f.Class != tt.class ||
					!strings.Contains(f.Error(), tt.text) {
					t.Errorf("%v %+v", err, answer)
				}
				if n := len(states.Executions()); n != 0 {
					t.Errorf("%d executions", n)
				}
				return
			}
			if err != nil || answer.Outcome != OutcomeHandedOver || !strings.Contains(answer.Reason, tt.text) {
				t.Fatalf("%v %+v", err, answer)
			}
			if n := len(states.Executions()); n != 1 {
				t.Errorf("%d executions", n)
			}
			if lines := logged(t, out, "image handed over"); len(lines) != 1 || lines[0]["layers"] != 2.0 {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

// For want of memory an image goes to the steps only if they have more.
func TestHandOverToLess(t *testing.T) {
	h, _ := setup(t, registrytest.Start(t))
	h.FanOut = &FanOut{From: 1 << 50}
	h.Options.Limits.MaxMemory, h.Options.SpanSize = fanout.Budget(1769), 4<<20
	for steps, want := range map[int64]bool{0: true, 3008: true, 1770: false, 1769: false, 1024: false} {
		h.FanOut.StepsMemorySizeMiB = steps // of which whole MiB count: 1,770 MB have no more than 1,769
		why := h.invocation().tooLarge(t.Context(), 50<<30, 50<<30)
		if (why != "") != want {
			t.Errorf("with %d MB: %q", steps, why)
		}
	}
	h.FanOut.From, h.FanOut.StepsMemorySizeMiB = 1, 1024
	if why := h.invocation().tooLarge(t.Context(), 50<<30, 50<<30); !strings.Contains(why, "more than 1 B") {
		t.Errorf("by size: %q", why)
	}
}

// An image that could be built by either is built by the generator if the state machine
// is out of reach; one that could not be is tried again.
func TestHandOverOutOfReach(t *testing.T) {
	denied := &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"}
	cut := &awstest.Error{} // no answer
	for _, tt := range []struct {
		name  string
		fault *awstest.Error
		edit  func(h *Handler)
		want  failure.Reason // none: it is built here
		log   map[string]any
	}{
		{"denied", denied, func(*Handler) {}, "",
			map[string]any{"reason": "access-denied", "permission": "states:StartExecution", "layers": 2.0}},
		{"no answer", cut, func(*Handler) {}, "", map[string]any{"reason": "unavailable", "permission": ""}},
		{"throttled", &awstest.Error{Status: 400, Code: "ThrottlingException", Message: "slow down"},
			func(*Handler) {}, failure.Throttled, nil},
		{"denied, and too little memory", denied, func(h *Handler) { h.Options.Limits.MaxMemory = 30 << 20 },
			failure.AccessDenied, nil},
		{"no answer, and too little memory", cut, func(h *Handler) { h.Options.Limits.MaxMemory = 30 << 20 },
			failure.Unavailable, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := registrytest.Start(t)
			image := r.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{
				{Content: layer(t, 1, 300_000)}, {Content: layer(t, 2, 200_000)}}}).Manifest
			h, out, aws, states := handsOver(t, r, 400_000)
			tt.edit(h)
			aws.Fail("states", "StartExecution", 1, tt.fault)
			writes := r.Count(http.MethodPut, "") + r.Count(http.MethodPost, "")
			answer, err := h.Handle(t.Context(), push(image.Digest, "v1"))
			lines := logged(t, out, "image not handed over")
			if n := len(states.Executions()); n != 0 {
				t.Errorf("%d executions", n)
			}
			if tt.want != "" {
				if f := failure.Of(err); err == nil || f.Class != failure.Transient || f.Reason != tt.want {
					t.Errorf("%v %+v", err, answer)
				}
				if n := r.Count(http.MethodPut, "") + r.Count(http.MethodPost, ""); n != writes || len(lines) != 0 {
					t.Errorf("%d requests that write; logged %v", n-writes, lines)
				}
				return
			}
			if err != nil || answer.Outcome != soci.OutcomeIndexed || len(referrers(t, r, image.Digest)) != 1 {
				t.Fatalf("%v %+v", err, answer)
			}
			if len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["error"] == nil {
				t.Fatalf("logged %v", lines)
			}
			for name, want := range tt.log {
				if got := lines[0][name]; got != want {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		})
	}
}

// A duplicate of an event joins the execution that runs; the image is counted once.
func TestHandedOverOnce(t *testing.T) {
	r := registrytest.Start(t)
	image := r.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{
		{Content: layer(t, 1, 300_000)}}}).Manifest
	h, out, _, states := handsOver(t, r, 1)
	var measured bytes.Buffer
	h.Metrics = metrics.New(&measured, "my-stack", time.Now)
	for n, joined := range []bool{false, true} {
		answer, err := h.Handle(t.Context(), push(image.Digest, "v1"))
		if err != nil || answer.Outcome != OutcomeHandedOver {
			t.Fatalf("%v %+v", err, answer)
		}
		if lines := logged(t, out, "image handed over"); len(lines) != n+1 || lines[n]["joined"] != joined {
			t.Errorf("logged %v", lines)
		}
		var line map[string]any
		if err := json.Unmarshal(measured.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if (line["ImagesHandedOver"] == 1.0) == joined || line["ImagesSkipped"] != nil || line["Duration"] == nil {
			t.Errorf("measured %v", line)
		}
		measured.Reset()
		states.Age(time.Hour)
	}
}

// prepared does the steps before the last.
func (s *stepper) prepared(t *testing.T, event []byte) map[string]any {
	t.Helper()
	var plan planned
	if err := s.do(t, &plan, StepPlan, event, nil); err != nil {
		t.Fatal(err)
	}
	results := make([]fanout.Result, len(plan.Items))
	for n, item := range plan.Items {
		if err := s.do(t, &results[n], StepLayer, event, map[string]any{"layer": item}); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]any{"items": plan.Items, "results": results}
}

// Layers that were built before the function was updated are built again, if its
// settings decide on other bytes: the SOCI index never says of a zTOC what it is not.
func TestStepsOfOtherSettings(t *testing.T) {
	image := registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)},
		{Content: layer(t, 2, 200_000)}}}
	updates := map[string]func(o *soci.Options){
		"span size":  func(o *soci.Options) { o.SpanSize = 128 << 10 },
		"build tool": func(o *soci.Options) { o.BuildToolIdentifier = "soci-index-builder/2" },
	}
	for name, update := range updates {
		t.Run(name, func(t *testing.T) {
			clean, s := registrytest.Start(t), registrytest.Start(t)
			p := clean.PushImage(t, repository, "v1", image)
			s.PushImage(t, repository, "v1", image)
			event := push(p.Manifest.Digest, "v1")
			updated := newStepper(t, clean)
			update(&updated.Options)
			if _, err := updated.all(t, event); err != nil {
				t.Fatal(err)
			}
			steps := newStepper(t, s)
			more := steps.prepared(t, event)
			update(&steps.Options)
			var answer map[string]any
			if err := steps.do(t, &answer, StepPublish, event, more); err != nil || answer["outcome"] != "indexed" {
				t.Fatalf("%v %v", err, answer)
			}
			want, got := made(t, clean, p.Manifest.Digest), made(t, s, p.Manifest.Digest)
			if len(want) == 0 || !maps.Equal(got, want) {
				t.Errorf("there is %v, want %v", got, want)
			}
			lines := logged(t, steps.out, "results of other settings")
			if len(lines) != 1 || lines[0]["layers"] != 2.0 {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

// The seconds from push to index are measured also if the last step had pushed it when
// it failed, and was tried again.
func TestSincePushOfSecondAttempt(t *testing.T) {
	s := registrytest.Start(t)
	p := s.PushImage(t, repository, "", registrytest.Image{Layers: []registrytest.Layer{
		{Content: layer(t, 1, 2*minSize)}}})
	event := bytes.Replace(push(p.Manifest.Digest, ""), []byte("{"),
		fmt.Appendf(nil, `{"id":"1","time":%q,`, time.Now().UTC().Format(time.RFC3339)), 1)
	steps := newStepper(t, s)
	more := steps.prepared(t, event)
	for attempt := range 2 {
		steps.out.Reset()
		var answer map[string]any
		if err := steps.do(t, &answer, StepPublish, event, more); err != nil {
			t.Fatal(err)
		}
		lines := logged(t, steps.out, "image finished")
		if len(lines) != 1 || lines[0]["pushToIndexSeconds"] == nil ||
			(lines[0]["bytesPushed"] == 0.0) != (attempt == 1) {
			t.Errorf("attempt %d: %v", attempt+1, lines)
		}
	}
}

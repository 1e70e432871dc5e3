package generator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// stepper does what the state machine does, with the steps' real requests.
type stepper struct {
	*Steps
	out *bytes.Buffer
	aws *awstest.Server
	sqs *awstest.SQS
}

func newStepper(t *testing.T, s *registrytest.Server) *stepper {
	h, out := setup(t, s)
	aws, q := awstest.Start(t), awstest.NewSQS(time.Now)
	aws.Handle("sqs", q)
	h.Queue = failurequeue.Open(aws.Config(), q.URL)
	return &stepper{&Steps{Handler: h, MemorySizeMiB: 3008}, out, aws, q}
}

// do sends the request of a step and decodes its answer.
func (s *stepper) do(t *testing.T, answer any, step Step, event []byte, more map[string]any) error {
	t.Helper()
	request := map[string]any{"step": step, "event": json.RawMessage(event)}
	for name, value := range more {
		request[name] = value
	}
	b, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Handle(t.Context(), b)
	if err != nil {
		return err
	}
	if b, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	return json.Unmarshal(b, answer)
}

// all does all steps of an event, and returns the answer of the last.
func (s *stepper) all(t *testing.T, event []byte) (map[string]any, error) {
	t.Helper()
	var (
		plan    planned
		results []fanout.Result
		image   map[string]any
	)
	if err := s.do(t, &plan, StepPlan, event, nil); err != nil {
		return nil, err
	}
	for _, item := range plan.Items {
		var r fanout.Result
		if err := s.do(t, &r, StepLayer, event, map[string]any{"layer": item}); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	err := s.do(t, &image, StepPublish, event, map[string]any{"items": plan.Items, "results": results})
	return image, err
}

// The steps leave the SOCI index that the function itself makes, and tell of it
// once.
func TestSteps(t *testing.T) {
	layers := []registrytest.Layer{{Content: layer(t, 1, 300_000)}, {Content: layer(t, 2, 200_000)},
		{Content: layer(t, 3, 100)}}
	whole, parts := registrytest.Start(t), registrytest.Start(t)
	image := whole.PushImage(t, repository, "v1", registrytest.Image{Layers: layers}).Manifest
	parts.PushImage(t, repository, "v1", registrytest.Image{Layers: layers})
	h, _ := setup(t, whole)
	if _, err := h.Handle(t.Context(), push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	s := newStepper(t, parts)
	answer, err := s.all(t, push(image.Digest, "v1"))
	if err != nil || answer["outcome"] != "indexed" {
		t.Fatalf("%v %v", err, answer)
	}
	a, b := referrers(t, whole, image.Digest), referrers(t, parts, image.Digest)
	if len(a) != 1 || len(b) != 1 || a[0].Digest != b[0].Digest {
		t.Errorf("%v and %v", a, b)
	}
	if n := len(logged(t, s.out, "image finished")); n != 1 {
		t.Errorf("the image is finished %d times", n)
	}
	if n := len(logged(t, s.out, "layer finished")); n != 2 {
		t.Errorf("%d layers are finished, want 2", n)
	}
}

// An image that cannot have a SOCI index says so in its last step, as the
// function itself does.
func TestStepsOfImagesWithoutLayers(t *testing.T) {
	r := registrytest.Start(t)
	s := newStepper(t, r)
	small := r.PushImage(t, repository, "v1", registrytest.Image{}).Manifest
	for outcome, event := range map[soci.Outcome][]byte{
		soci.OutcomeNoLayer: push(small.Digest, "v1"),
		OutcomeImageGone:    push(notThere, "v1"),
	} {
		if answer, err := s.all(t, event); err != nil || answer["outcome"] != string(outcome) {
			t.Errorf("%v %v, want %s", err, answer, outcome)
		}
	}
}

// notThere is the digest of no image.
var notThere = digest.FromString("not there")

// A layer that fails for good is a result, and fails its image in the last step;
// one that may succeed later is an error.
func TestStepsOfFailingLayers(t *testing.T) {
	r := registrytest.Start(t)
	s := newStepper(t, r)
	bad := layer(t, 1, 300_000)
	bad[len(bad)-8] ^= 1
	p := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: bad}, {Content: layer(t, 2, 200_000)}}})
	_, err := s.all(t, push(p.Manifest.Digest, "v1"))
	if f := failure.Of(err); f.Class != failure.Permanent || f.Reason != failure.Corrupt ||
		!strings.Contains(f.Error(), p.Layers[0].Digest.String()+": corrupt gzip stream") {
		t.Errorf("%v", err)
	}
	if found := referrers(t, r, p.Manifest.Digest); len(found) != 0 {
		t.Errorf("a SOCI index %v", found)
	}
	if n := len(logged(t, s.out, "layer failed")); n != 1 {
		t.Errorf("%d lines", n)
	}
	r.Add(registrytest.Rule{Path: "/blobs/" + p.Layers[1].Digest.String(),
		Fault: registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")})
	_, err = s.all(t, push(p.Manifest.Digest, "v1"))
	if f := failure.Of(err); f.Class != failure.Transient || f.Reason != failure.Throttled {
		t.Errorf("%v", err)
	}
	if n := len(s.sqs.Bodies()); n != 0 {
		t.Errorf("%d messages before the step that fails", n)
	}
}

// An impossible request or a missing permission fails before a layer is read.
func TestPlanRefuses(t *testing.T) {
	r := registrytest.Start(t)
	p := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)}}})
	event := push(p.Manifest.Digest, "v1")
	for _, tt := range []struct {
		name   string
		set    func(s *stepper)
		reason failure.Reason
		text   string
	}{
		{"memory", func(s *stepper) { s.Options.Limits.MaxMemory = 30 << 20 }, failure.LimitExceeded,
			"set StepsMemorySize to "},
		{"permission", func(*stepper) {
			r.Add(registrytest.Rule{Method: http.MethodPost,
				Fault: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
		}, failure.AccessDenied, "ecr:InitiateLayerUpload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStepper(t, r)
			tt.set(s)
			r.Clear()
			tt.set(s)
			var answer planned
			err := s.do(t, &answer, StepPlan, event, nil)
			if f := failure.Of(err); err == nil || f.Reason != tt.reason || !strings.Contains(f.Error(), tt.text) {
				t.Errorf("%v %+v", err, answer)
			}
			if n := r.Count(http.MethodGet, "/blobs/"+p.Layers[0].Digest.String()); n != 0 {
				t.Errorf("the layer was read %d times", n)
			}
		})
	}
	s := newStepper(t, r)
	items := []fanout.Item{{Layer: p.Layers[0].Digest, Size: 80_000 << 20}}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	if err := s.possible(ctx, items, 1000); err == nil ||
		!strings.Contains(err.Error(), "longer than a function runs") {
		t.Errorf("%v", err)
	}
	if err := s.possible(ctx, slices.Repeat(items, 1200), 1000); err == nil ||
		!strings.Contains(err.Error(), "1200 layers") {
		t.Errorf("%v", err)
	}
}

// The last step tells the queue of what ended the execution.
func TestStepFail(t *testing.T) {
	cause := func(text string) string {
		b, _ := json.Marshal(map[string]string{"errorMessage": text, "errorType": "x"})
		return string(b)
	}
	for _, tt := range []struct {
		error, cause    string
		reason          failure.Reason
		condition, text string
	}{
		{"corrupt", cause("layer 1 is corrupt"), failure.Corrupt, failurequeue.Condition, "layer 1 is corrupt"},
		{"throttled", cause("slow down"), failure.Throttled, failurequeue.ConditionSteps, "slow down"},
		{"Sandbox.Timedout", cause("Task timed out"), failure.OutOfTime, failurequeue.Condition,
			"Sandbox.Timedout: Task timed out"},
		{"Runtime.OutOfMemory", "killed", failure.LimitExceeded, failurequeue.Condition, "Runtime.OutOfMemory: killed"},
		{"Lambda.TooManyRequestsException", "Rate", failure.Throttled, failurequeue.ConditionSteps,
			"Lambda.TooManyRequestsException: Rate"},
		{"Lambda.ServiceException", "", failure.Unavailable, failurequeue.ConditionSteps, "Lambda.ServiceException: "},
		{"unexpected", cause("why"), failure.Unexpected, failurequeue.ConditionSteps, "why"},
		// What the state machine does not try again.
		{"Runtime.ExitError", "", failure.Unexpected, failurequeue.ConditionStep, "Runtime.ExitError: "},
		{"Lambda.Unknown", "killed", failure.Unexpected, failurequeue.ConditionStep, "Lambda.Unknown: killed"},
		{"Lambda.ResourceNotFoundException", "", failure.Unavailable, failurequeue.ConditionStep,
			"Lambda.ResourceNotFoundException: "},
	} {
		t.Run(tt.error, func(t *testing.T) {
			s := newStepper(t, registrytest.Start(t))
			var measured bytes.Buffer
			s.Metrics = metrics.New(&measured, "my-stack", time.Now)
			event := push(notThere, "v1")
			var answer map[string]any
			err := s.do(t, &answer, StepFail, event, map[string]any{"error": tt.error, "cause": tt.cause})
			if err != nil || answer["outcome"] != "failed" || answer["reason"] != string(tt.reason) {
				t.Fatalf("%v %v", err, answer)
			}
			bodies := s.sqs.Bodies()
			if len(bodies) != 1 {
				t.Fatalf("%d messages", len(bodies))
			}
			var m failurequeue.Message
			if err := json.Unmarshal([]byte(bodies[0]), &m); err != nil {
				t.Fatal(err)
			}
			payload, _ := json.Marshal(m.RequestPayload)
			var want, got any
			if err := errors.Join(json.Unmarshal(event, &want), json.Unmarshal(payload, &got)); err != nil {
				t.Fatal(err)
			}
			expect.Equal(t, expect.Facts{
				{"RequestPayload", got, want},
				{"Reason", m.Reason, tt.reason},
				{"Condition", m.RequestContext.Condition, tt.condition},
				{"ErrorMessage", m.ResponsePayload.ErrorMessage, tt.text},
			}, "the message")
			var metric map[string]any // what was given up is permanent, whatever it was
			if err := json.Unmarshal(measured.Bytes(), &metric); err != nil {
				t.Fatalf("%v in %s", err, measured.Bytes())
			}
			if metric["ImagesFailed"] != 1.0 || metric["Class"] != string(failure.Permanent) ||
				metric["FailureReason"] != string(tt.reason) {
				t.Errorf("the metric is %v", metric)
			}
		})
	}
}

// A step is never an event, and an event never a step.
func TestStepsRefuseEvents(t *testing.T) {
	r := registrytest.Start(t)
	image := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)}}})
	event := push(image.Manifest.Digest, "v1")
	s := newStepper(t, r)
	r.Clear()
	for _, request := range []string{string(event), `{"step":"layer","event":{}}`, `{"step":"all","event":{}}`, `{}`,
		`[]`,
		``,
		`{"step":"plan","event":{"step":"plan"}}`, `{"step":"publish","event":` + string(event) + `,"items":[{}]}`,
		`{"step":"plan","event":` + string(event) + `,"layers":[]}`} {
		if _, err := s.Handle(t.Context(), []byte(request)); failure.Of(err).Reason != failure.InvalidEvent {
			t.Errorf("%s: %v", request, err)
		}
	}
	_, err := s.Handler.Handle(t.Context(), fmt.Appendf(nil, `{"step":"plan","event":%s}`, event))
	if err != nil { // the queue has it
		t.Error(err)
	}
	if n := len(s.sqs.Bodies()); n != 1 {
		t.Errorf("%d messages of a step that came to the generator", n)
	}
	if n := len(r.Requests()); n != 0 {
		t.Errorf("%d requests to the registry", n)
	}
}

// A large image is handed over, once for an event, and again when that has
// ended.
func TestHandOver(t *testing.T) {
	r := registrytest.Start(t)
	image := r.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)},
			{Content: layer(t, 2, 200_000)}}})
	for _, tt := range []struct {
		name string
		from int64
		edit func(h *Handler)
		want soci.Outcome
	}{
		{"small", 600_000, func(*Handler) {}, soci.OutcomeIndexed},
		{"by size", 400_000, func(*Handler) {}, OutcomeHandedOver},
		{"by memory", 600_000, func(h *Handler) { h.Options.Limits.MaxMemory = 30 << 20 }, OutcomeHandedOver},
		{"never", 1, func(h *Handler) { h.FanOut = nil }, soci.OutcomeIndexed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, out := setup(t, r)
			aws, states := awstest.Start(t), new(awstest.States)
			aws.Handle("states", states)
			h.FanOut = &FanOut{Starter: fanout.Open(aws.Config(), awstest.StateMachineARN), From: tt.from}
			h.Options.BuildToolIdentifier = tt.name // no zTOC of another case is reused
			tt.edit(h)
			r.Clear()
			event := push(image.Manifest.Digest, "v1")
			answer, err := h.Handle(t.Context(), event)
			if err != nil || answer.Outcome != tt.want {
				t.Fatalf("%v %+v", err, answer)
			}
			if tt.want != OutcomeHandedOver {
				if n := len(states.Executions()); n != 0 {
					t.Errorf("%d executions", n)
				}
				return
			}
			if n := r.Count(http.MethodPut, "") + r.Count(http.MethodPost, ""); n != 0 {
				t.Errorf("%d requests that write", n)
			}
			x := states.Executions()
			if len(x) != 1 {
				t.Fatalf("%d executions, want 1", len(x))
			}
			expect.Equal(t, expect.Facts{
				{"Input", x[0].Input, string(event)},
				{"named in the answer", strings.Contains(answer.Reason, x[0].Name), true},
				{"number of lines", len(logged(t, out, "image handed over")), 1},
			}, "handed over as %s, answered %q", x[0].Name, answer.Reason)
			for _, status := range []string{"RUNNING", "SUCCEEDED", "FAILED"} {
				states.Close(status)
				if _, err := h.Handle(t.Context(), event); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(states.Executions()); n != 3 {
				t.Errorf("%d executions, want 3", n)
			}
		})
	}
}

// An image is handed over when one function would not be done in time.
func TestHandOverByTime(t *testing.T) {
	h, _ := setup(t, registrytest.Start(t))
	h.FanOut = &FanOut{From: 1 << 50}
	h.Options.Limits.MaxMemory = 1 << 40
	i := h.invocation()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	most := int64(10*60-5) * fanout.Rate
	if why := i.tooLarge(ctx, 1, most); why != "" {
		t.Errorf("what is done in 10 minutes is handed over: %s", why)
	}
	if why := i.tooLarge(ctx, 1, most+10*fanout.Rate); !strings.Contains(why, "one function would need about 10m5s") {
		t.Errorf("what takes longer: %q", why)
	}
	if why := i.tooLarge(t.Context(), 1, 1<<45); why != "" {
		t.Errorf("without a deadline: %s", why)
	}
}

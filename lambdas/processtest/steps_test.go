package processtest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
)

// do has a function do a step, and decodes its answer.
func do(t *testing.T, f *lambdaruntime.Function, answer any, request map[string]any) error {
	t.Helper()
	b, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Invoke(t.Context(), b)
	if err != nil {
		return err
	}
	return json.Unmarshal(got, answer)
}

// The process that does the steps leads an image to its SOCI index, which is
// announced and measured once, by the last step, and a failure to the queue.
func TestStepsProcess(t *testing.T) {
	s := registrytest.Start(t)
	p := s.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20), layer(t, 2, 3<<20)}})
	event := json.RawMessage(push(t, p.Manifest.Digest, "v1", ""))
	queue, bus := newQueue(t), newBus(t)
	env := reporting(queue, bus)
	env["SOCI_HANDLER"] = "steps"
	f := startIndexgen(t, s, lambdaruntime.Options{Env: env})

	var plan struct{ Items []fanout.Item }
	if err := do(t, f, &plan, map[string]any{"step": "plan", "event": event}); err != nil {
		t.Fatal(err)
	}
	if len(plan.Items) != 2 || plan.Items[0].Layer != p.Layers[1].Digest {
		t.Fatalf("the plan is %+v, want the larger layer first", plan)
	}
	results := make([]fanout.Result, 2)
	for i, item := range plan.Items {
		if err := do(t, f, &results[i], map[string]any{"step": "layer", "event": event, "layer": item}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.Metrics(t)) + len(takeEvents(t, bus)); n != 0 {
		t.Errorf("%d metrics and announcements before the last step", n)
	}
	var image struct{ Outcome, Digest string }
	err := do(t, f, &image, map[string]any{"step": "publish", "event": event, "items": plan.Items, "results": results})
	if err != nil || image.Outcome != "indexed" || image.Digest != p.Manifest.Digest.String() {
		t.Fatalf("%v %+v", err, image)
	}
	if all := takeEvents(t, bus); len(all) != 1 || all[0].DetailType != "SOCI Index Created" {
		t.Errorf("announced: %v", all)
	}
	metrics := f.Metrics(t)
	if len(metrics) != 1 || metrics[0]["ImagesIndexed"] != 1.0 ||
		metrics[0]["BytesRead"] != float64(p.Layers[0].Size+p.Layers[1].Size) {
		t.Errorf("measured: %v", metrics)
	}

	// An event of ECR is refused with a reason that the state machine knows.
	_, err = f.Invoke(t.Context(), event)
	if err == nil || !strings.Contains(err.Error(), "is not a step") {
		t.Errorf("an event: %v, want that it is not a step", err)
	}
	if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok && e.Type != "invalid-event" {
		t.Errorf("an event: the reason is %s, want invalid-event", e.Type)
	}
	err = do(t, f, &image, map[string]any{"step": "fail", "event": event, "error": "Lambda.TooManyRequestsException",
		"cause": "Rate Exceeded"})
	if err != nil || image.Outcome != "failed" {
		t.Errorf("%v %+v", err, image)
	}
	all := takeMessages(t, queue)
	if len(all) != 1 {
		t.Fatalf("the queue has %s", all)
	}
	validate(t, "failure-message.schema.json", all[0])
	if all := takeEvents(t, bus); len(all) != 1 || all[0].DetailType != "SOCI Index Failed" {
		t.Errorf("announced: %v", all)
	}
	if !slices.ContainsFunc(f.Log(t), func(line map[string]any) bool {
		return line["message"] == "image failed" && line["reason"] == "throttled"
	}) {
		t.Error("no line of the image that failed")
	}
}

// The generator's process hands a large image over, and builds nothing of it.
func TestHandOverProcess(t *testing.T) {
	s := registrytest.Start(t)
	p := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	event := push(t, p.Manifest.Digest, "v1", "")
	states := newService(t, "states", "AWSStepFunctions.StartExecution", func(body []byte) any {
		return map[string]any{"executionArn": "arn:aws:states:us-west-2:123456789012:execution:index:x",
			"startDate": time.Now().Unix()}
	})
	f := startIndexgen(t, s, lambdaruntime.Options{Env: map[string]string{
		"SOCI_STATE_MACHINE_ARN": "arn:aws:states:us-west-2:123456789012:stateMachine:index",
		"SOCI_FAN_OUT_FROM_GIB":  "1", "SOCI_MAX_MEMORY_MIB": "30", "AWS_ENDPOINT_URL_SFN": states.URL,
	}})
	answer, err := f.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if r := decode[struct{ Outcome, Reason string }](t, answer); r.Outcome != "handed-over" {
		t.Errorf("%s", answer)
	}
	states.mu.Lock()
	defer states.mu.Unlock()
	if len(states.bodies) != 1 {
		t.Fatalf("%d executions", len(states.bodies))
	}
	if in := decode[struct{ Name, Input string }](t, states.bodies[0]); in.Input != string(event) ||
		len(in.Name) != 42 {
		t.Errorf("%+v", in)
	}
	metrics := f.Metrics(t)
	if len(metrics) != 1 || metrics[0]["ImagesHandedOver"] != 1.0 || metrics[0]["ImagesSkipped"] != nil {
		t.Errorf("measured: %v", metrics)
	}
}

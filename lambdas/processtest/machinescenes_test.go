package processtest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// answers returns what was answered to the steps of a kind.
func answers[T any](t *testing.T, l *lambdaOfSteps, step string) (all []T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.steps {
		if s.step == step && s.failed == "" {
			all = append(all, decode[T](t, s.answer))
		}
	}
	return all
}

// measured returns the metrics of all processes.
func (l *lambdaOfSteps) measured(t *testing.T) (all []map[string]any) {
	t.Helper()
	for _, f := range l.processes {
		all = append(all, f.Metrics(t)...)
	}
	return all
}

// One of 40 layers is corrupt: nothing is published, and the queue, the bus and the
// metrics are told once, as by the generator itself. The zTOCs of the other layers stay as
// blobs. The execution itself is in order, so that its rule adds nothing.
func TestMachineOfCorruptLayer(t *testing.T) {
	m := newMachine(t)
	const layers = 40
	var image registrytest.Image
	for i := range layers {
		image.Layers = append(image.Layers, layer(t, uint64(i+1), 20_000+1000*i))
	}
	image.Layers[23] = corruptLayer(t)
	p := m.s.PushImage(t, repository, "v1", image)
	before := len(m.s.Stored())
	if _, err := m.execute(t, push(t, p.Manifest.Digest, "v1", "")); err != nil {
		t.Fatal(err)
	}
	if got := [3]int{m.count("layer", ""), m.count("publish", "corrupt"), m.count("fail", "")}; got != [3]int{layers, 1,
		1} {
		t.Errorf("layers, publish and fail: %v", got)
	}

	if n := m.ztocs(t, p.Manifest); n != 0 || m.s.Manifest(t, repository, "v1-soci") != nil {
		t.Errorf("a SOCI index with %d zTOCs, or a suffixed tag", n)
	}
	if n := len(m.s.Stored()); n != before {
		t.Errorf("%d manifests were stored", n-before)
	}
	repo, err := ecrclient.New(m.s.Registry.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	blobs := 0
	for _, r := range answers[fanout.Result](t, m.lambdaOfSteps, "layer") {
		var o soci.LayerOutcome
		i := slices.IndexFunc(p.Layers, func(l ocispec.Descriptor) (is bool) {
			var err error
			o, err = r.Outcome(fanout.Item{Layer: l.Digest, Size: l.Size}, soci.Options{SpanSize: 1 << 20})
			return err == nil
		})
		if i == 23 {
			if r.Failure != "corrupt" || r.Ztoc != "" {
				t.Errorf("the corrupt layer: %+v", r)
			}
			continue
		}
		if i < 0 {
			t.Fatalf("of no layer: %+v", r)
		}
		if n, err := repo.BlobSize(t.Context(), o.Result.Ztoc); err != nil || n != o.Result.Ztoc.Size {
			t.Errorf("the zTOC of layer %d: %d bytes, %v", i, n, err)
		}
		blobs++
	}
	if blobs != layers-1 {
		t.Errorf("%d zTOCs, want %d", blobs, layers-1)
	}

	all := takeMessages(t, m.queue)
	if len(all) != 1 {
		t.Fatalf("the queue has %s, want one message", all)
	}
	for _, want := range []string{`"reason":"corrupt"`, p.Manifest.Digest.String(), p.Layers[23].Digest.String()} {
		if !strings.Contains(string(all[0]), want) {
			t.Fatalf("the message is %s, want %s in it", all[0], want)
		}
	}
	validate(t, "failure-message.schema.json", all[0])
	if events := takeEvents(t, m.bus); len(events) != 1 || events[0].DetailType != "SOCI Index Failed" {
		t.Errorf("announced: %v", events)
	}
	lines := m.measured(t)
	if len(lines) != 1 {
		t.Fatalf("%d lines of metrics, want 1: %v", len(lines), lines)
	}
	expect.Equal(t, expect.Facts{
		{"ImagesFailed", lines[0]["ImagesFailed"], 1.0},
		{"FailureReason", lines[0]["FailureReason"], "corrupt"},
		{"ImagesIndexed", lines[0]["ImagesIndexed"], nil},
	}, "measured")
}

// The generator hands a large image over, and the state machine runs. The event comes
// again while a layer is being read, and once more when the image has its SOCI
// index: there is one execution, which announces the image once, and no layer is read
// twice.
func TestMachineOfDuplicateEvent(t *testing.T) {
	m := newMachine(t)
	p := m.push(t, 1, 12)
	event := push(t, p.Manifest.Digest, "v1", "")
	aws, states := awstest.Start(t), new(awstest.States)
	aws.Handle("states", states)
	env := reporting(m.queue, m.bus)
	maps.Copy(env, map[string]string{
		"SOCI_STATE_MACHINE_ARN": awstest.StateMachineARN, "SOCI_FAN_OUT_FROM_GIB": "1", "SOCI_MIN_LAYER_SIZE_MIB": "0",
		"SOCI_MAX_MEMORY_MIB": "30", "AWS_ENDPOINT_URL_SFN": aws.URL(),
	})
	generator := startIndexgen(t, m.s, lambdaruntime.Options{Env: env})
	handOver := func() (reason string) {
		t.Helper()
		answer, err := generator.Invoke(t.Context(), event)
		if err != nil {
			t.Fatal(err)
		}
		r := decode[struct{ Outcome, Reason string }](t, answer)
		if r.Outcome != "handed-over" {
			t.Fatalf("%s", answer)
		}
		return r.Reason
	}

	reached, release := make(chan bool), make(chan bool)
	var once sync.Once
	m.before = func(request map[string]any) *messages.InvokeResponse_Error {
		if request["step"] == "layer" {
			once.Do(func() {
				close(reached)
				<-release
			})
		}
		return nil
	}
	first := handOver()
	started := states.Executions()
	if len(started) != 1 {
		t.Fatalf("%d executions", len(started))
	}
	ended := make(chan error, 1)
	go func() {
		_, err := m.execute(t, []byte(started[0].Input))
		ended <- err
	}()
	select {
	case <-reached:
	case err := <-ended:
		t.Fatalf("the machine has ended: %v", err)
	}
	if again := handOver(); again != first || len(states.Executions()) != 1 {
		t.Errorf("while it runs: %q, first it was %q; %d executions", again, first, len(states.Executions()))
	}
	close(release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	states.Close("SUCCEEDED")
	if n := m.ztocs(t, p.Manifest); n != 12 || m.count("layer", "") != 12 {
		t.Errorf("the SOCI index has %d zTOCs, and %d layers were read", n, m.count("layer", ""))
	}

	if events := takeEvents(t, m.bus); len(events) != 1 || events[0].DetailType != "SOCI Index Created" {
		t.Errorf("announced: %v", events)
	}

	// The generator finds the zTOCs, so that there is nothing to hand over.
	m.s.Clear()
	answer, err := generator.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if r := decode[struct{ Outcome string }](t, answer); r.Outcome != "indexed" || len(states.Executions()) != 1 {
		t.Errorf("after it: %s, %d executions", answer, len(states.Executions()))
	}
	for _, l := range p.Layers {
		if n := m.s.Count(http.MethodGet, "/blobs/"+l.Digest.String()); n != 0 {
			t.Errorf("layer %s was read %d times after it", l.Digest, n)
		}
	}
	if all := takeMessages(t, m.queue); len(all) != 0 {
		t.Errorf("the queue has %s", all)
	}
}

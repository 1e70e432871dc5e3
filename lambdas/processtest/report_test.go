package processtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
)

// reporting is the environment of a function that says how it went.
func reporting(queue, bus *service, more ...string) map[string]string {
	env := map[string]string{
		"SOCI_FAILURE_QUEUE_URL": queueURL, "AWS_ENDPOINT_URL_SQS": queue.URL,
		"SOCI_EVENT_BUS": "default", "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.URL,
		"SOCI_STACK_NAME":  "my-stack",
		"AWS_MAX_ATTEMPTS": "1", // the SDK's own attempts take their time
	}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

// failureMessage is what a test looks at of a queue's message.
type failureMessage struct {
	RequestContext  struct{ RequestID, FunctionARN string }
	RequestPayload  json.RawMessage
	ResponsePayload struct{ ErrorMessage, ErrorType string }
	Reason          string
}

func corruptLayer(t *testing.T) registrytest.Layer {
	t.Helper()
	l := layer(t, 1, 2<<20)
	l.Content[len(l.Content)-6] ^= 1 // in the CRC
	return l
}

// An event that fails permanently goes to the queue, and the function reports
// success.
func TestPermanentFailuresReachTheQueue(t *testing.T) {
	s := registrytest.Start(t)
	bad := s.PushImage(t, repository, "bad", registrytest.Image{Layers: []registrytest.Layer{corruptLayer(t)}})
	queue, bus := newQueue(t), newBus(t)
	filter := startFilter(t, newAWSLambda(t, http.StatusAccepted, ""), reporting(queue, bus))
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})

	tests := []struct {
		name      string
		function  *lambdaruntime.Function
		event     string
		reason    string
		message   string // of the log line at ERROR
		announced bool
	}{
		{"filter: invalid event", filter, `{"source":"aws.s3","detail":{"<":"&"}}`, "invalid-event", "event failed",
			false},
		{"filter: another kind of event", filter,
			strings.Replace(string(push(t, bad.Manifest.Digest, "bad", "")), "Image Action", "Image Scan", 1),
			"invalid-event", "event failed", false},
		{"indexgen: invalid event", indexgen, `[]`, "invalid-event", "image failed", false},
		{"indexgen: corrupt layer", indexgen, string(push(t, bad.Manifest.Digest, "bad", "")), "corrupt",
			"image failed",
			true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, measured := len(tt.function.Log(t)), len(tt.function.Metrics(t))
			answer, err := tt.function.Invoke(t.Context(), []byte(tt.event))
			if err != nil {
				t.Fatalf("the function fails with %v", err)
			}
			result := decode[struct{ Decision, Outcome, Reason string }](t, answer)
			if result.Decision+result.Outcome != "failed" || result.Reason != tt.reason {
				t.Errorf("the function answers %s", answer)
			}

			all := takeMessages(t, queue)
			if len(all) != 1 {
				t.Fatalf("the queue has %d messages, want 1", len(all))
			}
			m := decode[failureMessage](t, all[0])
			expect.Equal(t, expect.Facts{
				{"Reason", m.Reason, tt.reason},
				{"ResponsePayload.ErrorType", m.ResponsePayload.ErrorType, tt.reason},
				{`m.ResponsePayload.ErrorMessage == ""`, m.ResponsePayload.ErrorMessage == "", false},
				{`strings.HasPrefix(m.RequestContext.RequestID, "00000000-")`,
					strings.HasPrefix(m.RequestContext.RequestID, "00000000-"), true},
				{`strings.HasPrefix(m.RequestContext.FunctionARN, "arn:aws:lambda:")`,
					strings.HasPrefix(m.RequestContext.FunctionARN, "arn:aws:lambda:"), true},
			}, "message %s", all[0])
			if got, want := decode[any](t, m.RequestPayload),
				decode[any](t, []byte(tt.event)); !reflect.DeepEqual(got, want) {
				t.Errorf("the message has the event %v, want %v", got, want)
			}

			lines := tt.function.Log(t)[before:]
			if tt.reason == "corrupt" { // the manifest first
				if lines[0]["message"] != "manifest finished" || lines[0]["outcome"] != "failed" ||
					lines[0]["level"] != "WARN" {
					t.Errorf("log line %v", lines[0])
				}
				lines = lines[1:]
			}
			at := slices.IndexFunc(lines, func(l map[string]any) bool { return l["level"] == "ERROR" })
			if len(lines) != 2 {
				t.Fatalf("log lines %v", lines)
			}
			expect.Equal(t, expect.Facts{
				{"at", at, 0},
				{`lines[0]["message"]`, lines[0]["message"], tt.message},
				{`lines[0]["class"]`, lines[0]["class"], "permanent"},
				{`lines[0]["reason"]`, lines[0]["reason"], tt.reason},
				{`lines[1]["message"]`, lines[1]["message"], "event queued"},
				{`lines[0]["requestId"]`, lines[0]["requestId"], m.RequestContext.RequestID},
			}, "log lines %v", lines)
			metrics := tt.function.Metrics(t)[measured:]
			if len(metrics) != 1 {
				t.Fatalf("metrics %v", metrics)
			}
			if metrics[0]["ImagesFailed"] != 1.0 || metrics[0]["Class"] != "permanent" ||
				metrics[0]["StackName"] != "my-stack" {
				t.Errorf("metrics %v", metrics)
			}

			events := takeEvents(t, bus)
			if !tt.announced {
				if len(events) != 0 {
					t.Errorf("announced: %v", events)
				}
				return
			}
			if len(events) != 1 {
				t.Fatalf("announced: %v", events)
			}
			expect.Equal(t, expect.Facts{
				{"events[0].DetailType", events[0].DetailType, "SOCI Index Failed"},
				{`events[0].Detail["imageDigest"]`, events[0].Detail["imageDigest"], bad.Manifest.Digest.String()},
				{`events[0].Detail["reason"]`, events[0].Detail["reason"], tt.reason},
				{`events[0].Detail["repository"]`, events[0].Detail["repository"], repository},
				{`events[0].Detail["tag"]`, events[0].Detail["tag"], "bad"},
			}, "announced: %v", events)
		})
	}
}

// As long as the queue or the bus does not take what it should, Lambda tries
// again; afterwards it is as if nothing had been.
func TestQueueOrBusDown(t *testing.T) {
	s := registrytest.Start(t)
	good := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 2, 2<<20)}})
	bad := s.PushImage(t, repository, "bad", registrytest.Image{Layers: []registrytest.Layer{corruptLayer(t)}})
	queue, bus := newQueue(t), newBus(t)
	filter := startFilter(t, newAWSLambda(t, http.StatusAccepted, ""), reporting(queue, bus))
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})
	badPush, goodPush := push(t, bad.Manifest.Digest, "bad", ""), push(t, good.Manifest.Digest, "v1", "")

	tests := []struct {
		name     string
		function *lambdaruntime.Function
		event    []byte
		down     func()
		want     []string // in the message of the failure
		line     string   // of the log, beside that of the failure
	}{
		{"filter: queue denies", filter, []byte(`{}`), func() { queue.down(400, "AccessDeniedException") },
			[]string{queueURL, "needs sqs:SendMessage", "source is"}, "event not queued"},
		{"indexgen: queue throttles", indexgen, badPush, func() { queue.down(400, "ThrottlingException") },
			[]string{queueURL, "ThrottlingException", "corrupt"}, "event not queued"},
		{"indexgen: queue is not there", indexgen, badPush, func() { queue.down(400, "QueueDoesNotExist") },
			[]string{queueURL, "QueueDoesNotExist", "corrupt"}, "event not queued"},
		{"indexgen: queue resets", indexgen, badPush, func() { queue.down(0, "") }, []string{queueURL, "corrupt"},
			"event not queued"},
		{"indexgen: bus denies", indexgen, goodPush, func() { bus.down(400, "AccessDeniedException") },
			[]string{"event bus default", "needs events:PutEvents"}, ""},
		{"indexgen: bus is down", indexgen, goodPush, func() { bus.down(500, "InternalFailure") },
			[]string{"event bus default", "500"}, ""},
		{"indexgen: bus takes no event", indexgen, goodPush, func() {
			bus.answers(`{"FailedEntryCount":1,"Entries":[{"ErrorCode":"ThrottlingException","ErrorMessage":"slowly"}]}`)
		}, []string{"event bus default", "ThrottlingException", "slowly"}, ""},
		{"indexgen: bus resets, permanent failure", indexgen, badPush, func() { bus.down(0, "") },
			[]string{"event bus default", "corrupt"}, "failure not announced"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.down()
			before := len(tt.function.Log(t))
			answer, err := tt.function.Invoke(t.Context(), tt.event)
			var failure messages.InvokeResponse_Error
			if !errors.As(err, &failure) {
				t.Fatalf("the function answers %s, %v, want a failure", answer, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(failure.Message, want) {
					t.Errorf("the message does not have %q: %s", want, failure.Message)
				}
			}
			lines := tt.function.Log(t)[before:]
			if tt.line != "" && !slices.ContainsFunc(lines, func(l map[string]any) bool {
				return l["message"] == tt.line && l["level"] == "ERROR" && l["class"] == "transient"
			}) {
				t.Errorf("log lines %v, want %q", lines, tt.line)
			}
			queue.up()
			bus.up()
			queue.take()
			bus.take()

			if _, err := tt.function.Invoke(t.Context(), tt.event); err != nil {
				t.Fatalf("the second attempt: %v", err)
			}
			if failed, queued := !slices.Equal(tt.event, goodPush),
				len(takeMessages(t, queue)); failed != (queued == 1) {
				t.Errorf("%d messages in the queue", queued)
			}
			if announced := len(takeEvents(t, bus)); (tt.function == indexgen) != (announced == 1) {
				t.Errorf("%d events on the bus", announced)
			}
		})
	}
}

// Transient failures are Lambda's: they are neither queued nor announced.
func TestTransientFailuresAreReturned(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.Status(403, "DENIED", "not authorized")})
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})
	_, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", ""))
	var failure messages.InvokeResponse_Error
	if !errors.As(err, &failure) || failure.Type != "access-denied" ||
		!strings.Contains(failure.Message, "needs ecr:PutImage") {
		t.Fatalf("the error is %v, want access-denied, naming ecr:PutImage", err)
	}
	if n, e := len(takeMessages(t, queue)), len(takeEvents(t, bus)); n != 0 || e != 0 {
		t.Errorf("%d messages and %d events of a transient failure", n, e)
	}
	lines := indexgen.Log(t)
	last := lines[len(lines)-1]
	expect.Equal(t, expect.Facts{
		{`last["message"]`, last["message"], "image failed"},
		{`last["class"]`, last["class"], "transient"},
		{`last["reason"]`, last["reason"], "access-denied"},
		{`last["permission"]`, last["permission"], "ecr:PutImage"},
	}, "log line %v", last)
}

// Out of time is for good, and there is time left to say so.
func TestOutOfTimeReachesTheQueue(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 4<<20)}})
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: s.StallAfter(2 << 20)})
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Timeout: 4 * time.Second, Env: reporting(queue, bus)})
	if _, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", "")); err != nil {
		t.Fatal(err)
	}
	all := takeMessages(t, queue)
	if len(all) != 1 {
		t.Fatalf("the queue has %d messages", len(all))
	}
	m := decode[failureMessage](t, all[0])
	if m.Reason != "out-of-time" ||
		!strings.Contains(m.ResponsePayload.ErrorMessage, "0 layers were read to the end and 1 in part") {
		t.Errorf("message %s", all[0])
	}
	if events := takeEvents(t, bus); len(events) != 1 || events[0].Detail["reason"] != "out-of-time" {
		t.Errorf("announced: %v", events)
	}
}

// An index is announced also when it was there before, and measured.
func TestAnnouncedAndMeasured(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Platform: "linux/arm64",
		Layers: []registrytest.Layer{layer(t, 1, 2<<20), layer(t, 2, 1000), layer(t, 1, 2<<20)}})
	queue, bus := newQueue(t), newBus(t)
	// The level governs the log alone.
	indexgen := startIndexgen(t, s,
		lambdaruntime.Options{Env: reporting(queue, bus, "LOG_LEVEL", "ERROR", "SOCI_INDEX_VERSION", "V1")})
	for round := range 2 {
		measured := len(indexgen.Metrics(t))
		answer, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", ""))
		if err != nil {
			t.Fatal(err)
		}
		index := decode[struct {
			Manifests []struct {
				Platform string
				Index    struct{ Digest string }
			}
		}](t, answer).Manifests[0]
		events := takeEvents(t, bus)
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		layers := map[string]any{"indexed": 1.0, "skipped": 1.0}
		want := announcement{"SOCI Index Created", map[string]any{
			"repository": repository, "tag": "v1", "imageDigest": image.Manifest.Digest.String(), "outcome": "indexed",
			"indexDigests": []any{index.Index.Digest}, "layers": layers,
			"platforms": []any{map[string]any{"platform": index.Platform,
				"manifestDigest": image.Manifest.Digest.String(),
				"indexV1Digest":  index.Index.Digest, "layers": layers}},
		}}
		if !reflect.DeepEqual(events[0], want) {
			t.Errorf("announced\n%v, want\n%v", events[0], want)
		}
		metrics := indexgen.Metrics(t)[measured:]
		if len(metrics) != 1 {
			t.Fatalf("%d lines of metrics", len(metrics))
		}
		m := metrics[0]
		for name, want := range map[string]any{"ImagesIndexed": 1.0, "LayersBuilt": 1.0 - float64(round),
			"LayersReused": float64(round), "LayersSkipped": 1.0, "LayersSkippedZstd": 0.0,
			"StackName": "my-stack", "Function": "indexgen", "Repository": repository, "Tag": "v1",
			"Digest": image.Manifest.Digest.String()} {
			if m[name] != want {
				t.Errorf("%s is %v, want %v", name, m[name], want)
			}
		}
		for _, name := range []string{"Duration", "PeakMemory"} {
			if n, ok := m[name].(float64); !ok || n <= 0 {
				t.Errorf("%s is %v", name, m[name])
			}
		}
		if n, ok := m["BytesRead"].(float64); !ok || (n > 0) != (round == 0) {
			t.Errorf("BytesRead is %v in round %d", m["BytesRead"], round)
		}
	}
	if lines := indexgen.Log(t); len(lines) != 0 {
		t.Errorf("log lines at LOG_LEVEL ERROR: %v", lines)
	}
}

// A deployment can use the suffixed tag as soon as it is announced, with an
// index or without.
func TestSociEnabledImageIsAnnounced(t *testing.T) {
	s := registrytest.Start(t)
	arm := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	amd := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/amd64", Layers: []registrytest.Layer{layer(t, 2, 2<<20)}})
	images := map[string]digest.Digest{
		"multi": s.PushIndex(t, repository, "multi", false, arm.Manifest, amd.Manifest).Digest,
		"small": s.PushImage(t, repository, "small",
			registrytest.Image{Layers: []registrytest.Layer{layer(t, 3, 1000)}}).Manifest.Digest,
	}
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus, "SOCI_TAG_SUFFIX", ".lazy")})
	tests := []struct {
		tag, outcome string
		indexes      int
		platforms    int
	}{
		{"multi", "indexed", 4, 2},
		{"small", "no-layer-to-index", 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.tag, func(t *testing.T) {
			if _, err := indexgen.Invoke(t.Context(), push(t, images[tt.tag], tt.tag, "")); err != nil {
				t.Fatal(err)
			}
			events := takeEvents(t, bus)
			if len(events) != 1 || events[0].DetailType != "SOCI Index Created" {
				t.Fatalf("announced: %v", events)
			}
			d := events[0].Detail
			there := digest.FromBytes(s.Manifest(t, repository, tt.tag+".lazy"))
			expect.Equal(t, expect.Facts{
				{"outcome", d["outcome"], tt.outcome},
				{"sociTag", d["sociTag"], tt.tag + ".lazy"},
				{"sociDigest", d["sociDigest"], there.String()},
				{"number of indexDigests", len(d["indexDigests"].([]any)), tt.indexes},
				{"number of platforms", len(d["platforms"].([]any)), tt.platforms},
			}, "announced")
			for _, index := range d["indexDigests"].([]any) {
				s.Manifest(t, repository, index.(string)) // is there
			}
		})
	}
}

// Without a bus nothing is announced, and no AWS service is called.
func TestNoBus(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus, "SOCI_EVENT_BUS", "")})
	if _, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", "")); err != nil {
		t.Fatal(err)
	}
	if n, e := len(queue.take()), len(bus.take()); n != 0 || e != 0 {
		t.Errorf("%d messages and %d events", n, e)
	}
}

// An image of platforms that are not chosen is no failure: it has a count of its
// own, and no event announces it.
func TestPlatformNotChosenIsNoFailure(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1",
		registrytest.Image{Platform: "windows/amd64", Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})
	answer, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", ""))
	if err != nil || decode[struct{ Outcome string }](t, answer).Outcome != "platform-not-chosen" {
		t.Fatalf("%v %s", err, answer)
	}
	for _, m := range indexgen.Metrics(t) {
		expect.Equal(t, expect.Facts{
			{"ImagesSkipped", m["ImagesSkipped"], 1.0},
			{"Reason", m["Reason"], "platform-not-chosen"},
			{"ImagesFailed", m["ImagesFailed"], nil},
			{"ImagesIndexed", m["ImagesIndexed"], nil},
		}, "measured")
	}
	if n := len(indexgen.Metrics(t)); n != 1 {
		t.Errorf("%d metrics", n)
	}
	lines := indexgen.Log(t)
	if len(lines) != 1 {
		t.Fatalf("log lines %v", lines)
	}
	expect.Equal(t, expect.Facts{
		{`lines[0]["level"]`, lines[0]["level"], "INFO"},
		{`lines[0]["message"]`, lines[0]["message"], "image finished"},
		{`lines[0]["outcome"]`, lines[0]["outcome"], "platform-not-chosen"},
		{`lines[0]["reason"]`, lines[0]["reason"], "the image has windows/amd64, and chosen are linux"},
	}, "log lines %v", lines)
	if all := takeMessages(t, queue); len(all) != 0 {
		t.Errorf("the queue has %s", all)
	}
	if events := takeEvents(t, bus); len(events) != 0 {
		t.Errorf("announced: %v", events)
	}
	if index := s.Manifest(t, repository, "v1-soci"); index != nil {
		t.Errorf("there is a suffixed tag: %s", index)
	}
}

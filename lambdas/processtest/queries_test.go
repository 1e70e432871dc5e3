package processtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/testkit/insights"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
)

// reports are the lines that Lambda itself writes, of a cold start, of an
// invocation that it ended and of one that died.
// https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report
const reports = `
{"time":"2026-01-02T12:30:00.000Z","type":"platform.start","record":{"requestId":"r-1","version":"$LATEST"}}
{"time":"2026-01-02T12:30:00.000Z","type":"platform.report","record":{"requestId":"r-1","status":"success","metrics":{"durationMs":1500.5,"billedDurationMs":1561,"memorySizeMB":1024,"maxMemoryUsedMB":100,"initDurationMs":60.5}}}
{"time":"2026-01-02T12:45:00.000Z","type":"platform.report","record":{"requestId":"r-2","status":"timeout","metrics":{"durationMs":900000.0,"billedDurationMs":900000,"memorySizeMB":1024,"maxMemoryUsedMB":1000}}}
{"time":"2026-01-02T12:50:00.000Z","type":"platform.report","record":{"requestId":"r-3","status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":10.0,"billedDurationMs":71,"memorySizeMB":1024,"maxMemoryUsedMB":1024}}}
`

// written returns what the functions write when various things happen to images.
func written(t *testing.T) map[logquery.Group][]fields {
	t.Helper()
	s := registrytest.Start(t)
	queue, bus := newQueue(t), newBus(t)
	filter := startFilter(t, newAWSLambda(t, http.StatusAccepted, ""), reporting(queue, bus))
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})
	cloudFormation := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(cloudFormation.Close)
	reponame := lambdaruntime.Start(t, bootstrap(t, "reponame"), lambdaruntime.Options{ARN: generatorARN})

	image := func(tag string, layers ...registrytest.Layer) []byte {
		return push(t, s.PushImage(t, repository, tag, registrytest.Image{Layers: layers}).Manifest.Digest, tag, "")
	}
	invoke := func(f *lambdaruntime.Function, event []byte) {
		_, _ = f.Invoke(t.Context(), event) // its log tells how it went
	}
	good := image("good", layer(t, 1, 2<<20))
	for _, event := range [][]byte{
		good,
		image("1-debug", layer(t, 1, 2<<20)),
		image("", layer(t, 1, 2<<20)),
		[]byte(strings.Replace(string(good), `"good"`, `"good-soci"`, 1)),
		[]byte(`{}`),
	} {
		invoke(filter, event)
	}
	throttled := registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slowly", "Retry-After", "0")
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 1, Fault: throttled})
	invoke(indexgen, good)
	invoke(indexgen, image("small", layer(t, 2, 1000)))
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, testlayers.Noise(3, 2<<20)...)
	invoke(indexgen, image("zstd", registrytest.Layer{Content: zstd, MediaType: ocispec.MediaTypeImageLayerZstd}))
	invoke(indexgen, image("bad", corruptLayer(t)))
	queue.down(http.StatusBadRequest, "AccessDeniedException")
	invoke(indexgen, image("bad", corruptLayer(t)))
	queue.up()
	moved := image("moved", layer(t, 4, 2<<20))
	image("moved", layer(t, 5, 2<<20))
	invoke(indexgen, moved)
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "not authorized")})
	invoke(indexgen, image("denied", layer(t, 6, 2<<20)))
	for _, filters := range []string{`"team/*:*"`, `"Bad:*"`} {
		invoke(reponame, fmt.Appendf(nil,
			`{"RequestType":"Create","RequestId":"r","ResponseURL":%q,"ResourceType":"Custom::X","LogicalResourceId":"l","StackId":"s","ResourceProperties":{`+
				`"ServiceToken":"t","Filters":%s,"FilterEnvironment":{"A":"b"}}}`, cloudFormation.URL, filters))
	}

	lines := map[logquery.Group][]fields{logquery.Generator: writtenOfLarge(t)}
	for group, f := range map[logquery.Group]*lambdaruntime.Function{
		logquery.Filter: filter, logquery.Generator: indexgen, logquery.Repositories: reponame,
	} {
		for _, line := range append(f.Log(t), f.Metrics(t)...) {
			lines[group] = append(lines[group], flatten(line))
		}
	}
	for line := range strings.Lines(strings.TrimSpace(reports)) {
		report := decode[map[string]any](t, []byte(line))
		for group := range lines {
			lines[group] = append(lines[group], flatten(report))
		}
	}
	return lines
}

// writtenOfLarge returns what is written of an image that is handed over and has a
// layer that fails.
func writtenOfLarge(t *testing.T) []fields {
	t.Helper()
	s := registrytest.Start(t)
	p := s.PushImage(t, repository, "large", registrytest.Image{Layers: []registrytest.Layer{corruptLayer(t)}})
	event := json.RawMessage(push(t, p.Manifest.Digest, "large", ""))
	queue, bus := newQueue(t), newBus(t)
	states := newService(t, "states", "AWSStepFunctions.StartExecution", func([]byte) any {
		return map[string]any{"executionArn": "arn:aws:states:us-west-2:123456789012:execution:index:x", "startDate": 1}
	})
	f := startIndexgen(t, s, lambdaruntime.Options{Env: map[string]string{
		"SOCI_STATE_MACHINE_ARN": "arn:aws:states:us-west-2:123456789012:stateMachine:index",
		"SOCI_FAN_OUT_FROM_GIB":  "1", "SOCI_MAX_MEMORY_MIB": "30", "AWS_ENDPOINT_URL_SFN": states.URL,
	}})
	steps := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus, "SOCI_HANDLER", "steps")})
	if _, err := f.Invoke(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	for _, request := range []map[string]any{
		{"step": "plan", "event": event},
		{"step": "layer", "event": event, "layer": fanout.Item{Layer: p.Layers[0].Digest, Size: p.Layers[0].Size}},
	} {
		var answer any
		if err := do(t, steps, &answer, request); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = steps.Invoke(t.Context(), event) // no step
	var lines []fields
	for _, line := range append(f.Log(t), steps.Log(t)...) {
		lines = append(lines, flatten(line))
	}
	return lines
}

// fields of a line, by their names in Logs Insights, which joins those of nested
// objects with dots.
type fields map[string]any

func flatten(line map[string]any) fields {
	flat := fields{"@timestamp": "", "@message": "", "@log": ""} // which Logs Insights adds
	var add func(prefix string, object map[string]any)
	add = func(prefix string, object map[string]any) {
		for name, value := range object {
			if inner, ok := value.(map[string]any); ok {
				add(prefix+name+".", inner)
			} else if value != "" {
				flat[prefix+name] = value
			}
		}
	}
	add("", line)
	return flat
}

// rare are the values for which queries look and to which written does not lead;
// docs/logs.md has them all the same.
var rare = []string{"referrer left alone", "image gone", "response not sent", "resource deleted", "failure"}

// Each query looks for lines that the functions write, with values that they
// have, and reads nothing that none of these lines has. The lines about one image
// are those of any tag here.
func TestQueriesReadWhatIsWritten(t *testing.T) {
	lines := written(t)
	for _, query := range logquery.All() {
		t.Run(query.Name, func(t *testing.T) {
			q, err := insights.Read(query.Sample())
			if err != nil {
				t.Fatal(err)
			}
			delete(q.Values, "tag")
			var all, found []fields
			for _, group := range query.Groups {
				all = append(all, lines[group]...)
			}
			for _, line := range all {
				if matches(line, q.Values) {
					found = append(found, line)
				}
			}
			if len(found) == 0 {
				t.Errorf("no line has %v:\n%s", q.Values, query.Sample())
			}
			for _, field := range q.Fields {
				if !slices.ContainsFunc(found, func(line fields) bool { return line[field] != nil }) {
					t.Errorf("field %s is in none of the %d lines that have %v", field, len(found), q.Values)
				}
			}
			for field, values := range q.Values {
				for _, value := range values {
					there := slices.ContainsFunc(all, func(line fields) bool { return line[field] == value })
					if there == slices.Contains(rare, value) {
						t.Errorf("a line with %s %q: %t", field, value, there)
					}
				}
			}
		})
	}
}

// matches reports whether a line has one of the values that each field may have.
func matches(line fields, values map[string][]string) bool {
	for field, allowed := range values {
		if value, ok := line[field].(string); !ok || !slices.Contains(allowed, value) {
			return false
		}
	}
	return true
}

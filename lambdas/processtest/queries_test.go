package processtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/testkit/awstest/logsql"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
)

// groups names the log group of each function.
var groups = map[logquery.Group]string{
	logquery.Filter: "filter", logquery.Generator: "indexgen", logquery.Repositories: "reponame",
}

// reports are the lines that Lambda itself writes, of a cold start and of an
// invocation that it ended.
// https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report
const reports = `
{"time":"2026-01-02T12:30:00.000Z","type":"platform.start","record":{"requestId":"r-1","version":"$LATEST"}}
{"time":"2026-01-02T12:30:00.000Z","type":"platform.report","record":{"requestId":"r-1","status":"success","metrics":{"durationMs":1500.5,"billedDurationMs":1561,"memorySizeMB":1024,"maxMemoryUsedMB":100,"initDurationMs":60.5}}}
{"time":"2026-01-02T12:45:00.000Z","type":"platform.report","record":{"requestId":"r-2","status":"timeout","metrics":{"durationMs":900000.0,"billedDurationMs":900000,"memorySizeMB":1024,"maxMemoryUsedMB":1000}}}
`

// written gives what the functions write when this and that happens to images,
// a line each second.
func written(t *testing.T) []logsql.Line {
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
	moved := image("moved", layer(t, 4, 2<<20))
	image("moved", layer(t, 5, 2<<20))
	invoke(indexgen, moved)
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/", Fault: registrytest.Status(http.StatusForbidden, "DENIED", "not authorized")})
	invoke(indexgen, image("denied", layer(t, 6, 2<<20)))
	for _, filters := range []string{`"team/*:*"`, `"Bad:*"`} {
		invoke(reponame, fmt.Appendf(nil, `{"RequestType":"Create","RequestId":"r","ResponseURL":%q,"ResourceType":"Custom::X","LogicalResourceId":"l","StackId":"s","ResourceProperties":{`+
			`"ServiceToken":"t","Filters":%s,"FilterEnvironment":{"A":"b"}}}`, cloudFormation.URL, filters))
	}

	var lines []logsql.Line
	add := func(group, message string) {
		lines = append(lines, logsql.Line{Group: group, Message: message, Time: time.Date(2026, 1, 2, 12, 0, len(lines), 0, time.UTC)})
	}
	for i, f := range []*lambdaruntime.Function{filter, indexgen, reponame} {
		for _, line := range append(f.Log(t), f.Metrics(t)...) {
			b, err := json.Marshal(line)
			if err != nil {
				t.Fatal(err)
			}
			add([]string{"filter", "indexgen", "reponame"}[i], string(b))
		}
	}
	for line := range strings.Lines(strings.TrimSpace(reports)) {
		add("indexgen", strings.TrimSpace(line))
	}
	return lines
}

// Each query finds in what the functions write the answer to its question.
func TestQueriesAnswer(t *testing.T) {
	lines := written(t)
	tests := []struct {
		query, image string
		rows         int
		want         []string // each is cells of one row
	}{
		{"why", "good", 3, []string{
			"message=image passed on filter=team/*:*",
			"message=manifest finished platform=linux/amd64 outcome=indexed",
			"message=image finished outcome=indexed sociOutcome=tagged",
		}},
		{"why", "1-debug", 1, []string{"message=image not chosen filter=!*:*-debug"}},
		{"why", "small", 2, []string{"message=image finished outcome=no-layer-to-index"}},
		{"why", "zstd", 3, []string{"message=layer skipped reason=zstd hint=build the image"}},
		{"why", "bad", 3, []string{"message=manifest finished platform=linux/amd64 outcome=failed", "message=image failed class=permanent reason=corrupt", "message=event queued"}},
		{"why", "moved", 2, []string{"message=image finished sociOutcome=superseded"}},
		{"why", "denied", 1, []string{"message=image failed reason=access-denied permission=ecr:PutImage"}},
		{"why", "never-pushed", 0, nil},
		{"failures", "", 4, []string{
			"times=1 message=event failed class=permanent reason=invalid-event",
			"times=1 message=image failed class=permanent reason=corrupt repository=team/app",
			"times=1 message=image failed class=transient reason=access-denied repository=team/app",
			"times=1 message=filters refused class=permanent",
		}},
		{"failures", "bad", 1, []string{"reason=corrupt"}},
		{"decisions", "", 9, []string{
			"events=1 message=image passed on", "events=1 message=image not chosen", "events=1 message=untagged image left alone",
			"events=1 message=own artifact left alone", "events=1 message=event failed", "events=1 message=image finished outcome=indexed", "events=1 message=image finished outcome=superseded",
			"events=2 message=image finished outcome=no-layer-to-index", "events=2 message=image failed",
		}},
		{"filters", "", 2, []string{"images=1 message=image passed on filter=team/*:* exampleTag=good", "images=1 message=image not chosen filter=!*:*-debug exampleTag=1-debug"}},
		{"indexed", "", 1, []string{"tag=good sociTag=good-soci sociOutcome=tagged readMiB=2"}},
		{"small-images", "", 1, []string{"manifests=1 smallLayers=1 repository=team/app tag=small"}},
		{"zstd", "", 1, []string{"layers=1 MiB=2 repository=team/app tag=zstd"}},
		{"skipped-layers", "", 1, []string{"layers=1 reason=zstd repository=team/app whatToDo=build the image"}},
		{"superseded", "", 1, []string{"tag=moved sociTag=moved-soci"}},
		{"permissions", "", 1, []string{"times=1 permission=ecr:PutImage repository=team/app"}},
		{"queued", "", 2, []string{"message=event queued tag=bad"}},
		{"retries", "", 1, []string{"times=1 attempts=1 op=fetch blob status=429 repository=team/app example=429 Too Many Requests"}},
		{"slowest", "", 6, []string{"Repository=team/app Tag=good"}},
		{"crashes", "", 1, []string{"status=timeout seconds=900 usedMB=1000 memoryMB=1024 requestId=r-2 @log=1:indexgen"}},
		{"limits", "", 1, []string{"seconds=900 usedMB=1000 memoryMB=1024 requestId=r-2"}},
		{"capacity", "", 1, []string{"@log=1:indexgen invocations=2 maxSeconds=900 usedMB=1000 memoryMB=1024"}},
		{"cold-starts", "", 1, []string{"@log=1:indexgen starts=1 avgMs=60.5 p90Ms=60.5 maxMs=60.5"}},
		{"cost", "", 1, []string{"@log=1:indexgen invocations=2 billedSeconds=901.561 GBSeconds=901.561"}},
		{"repositories", "", 2, []string{"message=repositories named @message=repository/team/*", "message=filters refused error=Bad:*"}},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		tested[tt.query] = true
		t.Run(strings.TrimSpace(tt.query+" "+tt.image), func(t *testing.T) {
			q, err := logquery.Find(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			var p logquery.Params
			if tt.image != "" {
				p.Image = names.Image{Repository: repository, Tag: tt.image}
			}
			text, err := q.Text(p)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := logsql.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			var asked []logsql.Line
			for _, line := range lines {
				if slices.ContainsFunc(q.Groups, func(g logquery.Group) bool { return groups[g] == line.Group }) {
					asked = append(asked, line)
				}
			}
			rows := parsed.Run(asked, logsql.Options{Account: "1"})
			if other := parsed.Run(asked, logsql.Options{Account: "1", MissingDiffers: true}); fmt.Sprint(rows) != fmt.Sprint(other) {
				t.Errorf("the answer depends on whether a field that is missing differs from a value:\n%v\n%v", rows, other)
			}
			if len(rows) != tt.rows {
				t.Errorf("%d rows, want %d: %v\n%s", len(rows), tt.rows, rows, text)
			}
			for _, want := range tt.want {
				if !slices.ContainsFunc(rows, func(row []logsql.Cell) bool { return hasCells(row, want) }) {
					t.Errorf("no row has %s: %v\n%s", want, rows, text)
				}
			}
		})
	}
	for _, q := range logquery.All() {
		if !tested[q.Name] {
			t.Errorf("query %s is not tried", q.Name)
		}
	}
}

// hasCells tells whether a row has all of "name=value name=value", as the
// beginning of the cell's value or, of a longer text, within it.
func hasCells(row []logsql.Cell, want string) bool {
	for _, one := range cellsOf(want) {
		if !slices.ContainsFunc(row, func(c logsql.Cell) bool {
			long := c.Field == "@message" || c.Field == "error"
			return c.Field == one.Field && (c.Value == one.Value || strings.HasPrefix(c.Value, one.Value+".") || strings.HasPrefix(c.Value, one.Value+" ") || long && strings.Contains(c.Value, one.Value))
		}) {
			return false
		}
	}
	return true
}

// cellsOf splits before each word with a = in it.
func cellsOf(text string) []logsql.Cell {
	var cells []logsql.Cell
	for word := range strings.FieldsSeq(text) {
		if name, value, ok := strings.Cut(word, "="); ok {
			cells = append(cells, logsql.Cell{Field: name, Value: value})
		} else {
			cells[len(cells)-1].Value += " " + word
		}
	}
	return cells
}

package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/backfill/pace"
	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

// clock moves by sleeping alone.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return ctx.Err()
}

func newHandover(t *testing.T) (*Handover, *awstest.Server, *awstest.Lambda, *clock) {
	server, functions := awstest.Start(t), awstest.NewLambda()
	server.Handle("lambda", functions)
	functions.Function("filter", nil)
	c := &clock{newest}
	return &Handover{
		Invoker: lambda.NewFromConfig(server.RetryingConfig(3)), FilterARN: awstest.FunctionARN("filter"),
		Account: awstest.Account, Region: awstest.Region, Rate: Rate{Version: soci.Both},
		Pacer: &pace.Pacer{Now: c.time, Sleep: c.sleep}, Now: c.time,
	}, server, functions, c
}

func items(n int) []Item {
	all := make([]Item, n)
	for i := range all {
		all[i] = Item{
			Repository: fmt.Sprintf("team/app%d", i), Tag: "v1", Digest: digest.FromString(fmt.Sprint(i)), Manifests: 1,
			Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest},
			Artifact:   ocispec.MediaTypeImageConfig,
		}
	}
	return all
}

func TestHandover(t *testing.T) {
	h, server, functions, c := newHandover(t)
	// AWS throttles, answers late, and once not at all: the SDK tries again.
	invoke := "POST /2015-03-31/functions/" + h.FilterARN + "/invocations"
	server.Fail("lambda", invoke, 1,
		&awstest.Error{Status: 429, Code: "TooManyRequestsException", Message: "Rate exceeded"})
	server.Fail("lambda", invoke, 1, &awstest.Error{})
	server.Fail("lambda", invoke, 1, &awstest.Error{After: 20 * time.Millisecond})
	all := items(3)
	all[2].Tag = ""
	var results []Result
	if err := h.Run(t.Context(), all, func(r Result) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	invocations := functions.Invocations()
	if len(results) != 3 || len(invocations) != 3 {
		t.Fatalf("%d results, %d invocations", len(results), len(invocations))
	}
	for i, r := range results {
		id := fmt.Sprintf("backfill-20260102T030405Z-%06d", i+1)
		if r.Err != nil || r.Item != &all[i] || r.EventID != id {
			t.Errorf("result %+v", r)
		}
		e, err := ecrevent.Parse(invocations[i].Payload)
		if err != nil {
			t.Fatal(err)
		}
		want := ecrevent.Detail{RepositoryName: all[i].Repository, ImageDigest: all[i].Digest.String(),
			ImageTag: all[i].Tag,
			Result:   "SUCCESS", ActionType: "PUSH", ManifestMediaType: ocispec.MediaTypeImageManifest,
			ArtifactMediaType: ocispec.MediaTypeImageConfig}
		expect.Equal(t, expect.Facts{
			{"Detail", e.Detail, want},
			{"ID", e.ID, id},
			{"Account", e.Account, awstest.Account},
			{"Region", e.Region, awstest.Region},
			{"DetailType", e.DetailType, ecrevent.ImageAction},
		}, "event %s", invocations[i].Payload)
		if invocations[i].Type != "Event" {
			t.Errorf("invoked as %s", invocations[i].Type)
		}
	}
	// Four manifests of each image at five per second.
	if got, want := c.now.Sub(newest), 1600*time.Millisecond; got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

func TestHandoverFails(t *testing.T) {
	tests := []struct {
		name    string
		answer  *awstest.Error // to the second and, when it fails, its repetitions
		results int
		want    error // nil: whatever the answer became
	}{
		{"one image", &awstest.Error{Status: 400, Code: "InvalidParameterValueException", Message: "no"}, 4, ErrFailed},
		{"no right", &awstest.Error{Status: 403, Code: "AccessDeniedException", Message: "no"}, 2, nil},
		{"no function", &awstest.Error{Status: 404, Code: "ResourceNotFoundException", Message: "no"}, 2, nil},
		{"down", &awstest.Error{Status: 500, Code: "ServiceException", Message: "no"}, 4, ErrFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _, functions, _ := newHandover(t)
			all := items(4)
			functions.Function("filter", func(payload []byte) error {
				e, err := ecrevent.Parse(payload)
				if err != nil {
					return err
				}
				if e.Detail.RepositoryName == "team/app1" {
					return tt.answer
				}
				return nil
			})
			var results []Result
			err := h.Run(t.Context(), all, func(r Result) { results = append(results, r) })
			if err == nil || (tt.want != nil) != errors.Is(err, ErrFailed) {
				t.Errorf("Run = %v", err)
			}
			if len(results) != tt.results || results[0].Err != nil || results[1].Err == nil {
				t.Fatalf("results %+v, want %d, of which the second failed", results, tt.results)
			}
			if tt.results == 4 &&
				results[3].Err != nil {
				t.Errorf("results %+v, want %d, of which the second failed", results, tt.results)
			}
		})
	}
}

// Events that the filter would refuse are not sent to it.
func TestHandoverInvalid(t *testing.T) {
	h, _, functions, _ := newHandover(t)
	all := items(2)
	all[0].Repository = "Team/App"
	var first Result
	err := h.Run(t.Context(), all, func(r Result) {
		if first.Item == nil {
			first = r
		}
	})
	if !errors.Is(err, ErrFailed) || !errors.Is(first.Err, ecrevent.ErrInvalid) || len(functions.Invocations()) != 1 {
		t.Errorf("Run = %v, first %v, %d invocations", err, first.Err, len(functions.Invocations()))
	}
}

func TestHandoverInterrupted(t *testing.T) {
	h, _, functions, _ := newHandover(t)
	ctx, cancel := context.WithCancel(t.Context())
	functions.Function("filter", func([]byte) error { cancel(); return nil })
	var results []Result
	err := h.Run(ctx, items(3), func(r Result) { results = append(results, r) })
	if !errors.Is(err, context.Canceled) || len(results) != 1 || results[0].Err != nil {
		t.Errorf("Run = %v, results %+v, want the first image done", err, results)
	}
}

// metrics answers with the next of some values for each question.
func metrics(throttles, age []float64) func(map[string]any) (map[string]any, error) {
	n := 0
	return func(in map[string]any) (map[string]any, error) {
		if _, ok := in["MetricDataQueries"].([]any); !ok {
			return nil, errors.New("no queries")
		}
		out := []any{
			map[string]any{"Id": "throttles", "Values": []any{0.0, throttles[n]}},
			map[string]any{"Id": "age", "Values": []any{age[n]}},
		}
		n++
		return map[string]any{"MetricDataResults": out}, nil
	}
}

func TestWatcher(t *testing.T) {
	server := awstest.Start(t)
	ms := func(d time.Duration) float64 { return float64(d / time.Millisecond) }
	server.Handle("monitoring", awstest.CBOR(map[string]func(map[string]any) (map[string]any, error){
		"GetMetricData": metrics(
			[]float64{0, 3, 1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9},
			[]float64{ms(time.Second), 0, 0, ms(2 * time.Minute), ms(2*time.Minute + 1e9), 0, 0, 0, 0, 0, 0, 0, 0}),
	}))
	var told []int
	w := &Watcher{Metrics: cloudwatch.NewFromConfig(server.Config()), Function: "generator",
		Tell: func(factor int, err error) {
			if err != nil {
				t.Error(err)
			}
			told = append(told, factor)
		}}
	var got []int
	for n := range 13 {
		got = append(got, w.Factor(t.Context(), newest.Add(time.Duration(n)*watchEvery)))
		// Between two questions nothing is asked.
		if again := w.Factor(t.Context(), newest.Add(time.Duration(n)*watchEvery+watchEvery-1)); again != got[n] {
			t.Errorf("after %d questions %d, then %d", n+1, got[n], again)
		}
	}
	if want := []int{1, 2, 4, 2, 4, 2, 4, 8, 16, 32, 32, 32, 32}; !slices.Equal(got, want) {
		t.Errorf("factors %v, want %v", got, want)
	}
	if want := []int{2, 4, 2, 4, 2, 4, 8, 16, 32}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// Without permission to read metrics it goes on at its computed rate.
func TestWatcherBlind(t *testing.T) {
	server := awstest.Start(t)
	server.Handle("monitoring", awstest.CBOR(nil))
	server.Fail("monitoring", "*", 1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
	told := 0
	w := &Watcher{Metrics: cloudwatch.NewFromConfig(server.Config()), Tell: func(_ int, err error) {
		if err == nil {
			t.Error("no error is told")
		}
		told++
	}}
	for n := range 3 {
		if f := w.Factor(t.Context(), newest.Add(time.Duration(n)*time.Hour)); f != 1 {
			t.Errorf("factor %d", f)
		}
	}
	if told != 1 || len(server.Requests()) != 1 {
		t.Errorf("told %d times, asked %d times, want once", told, len(server.Requests()))
	}
}

// A failure of the metrics does not make it blind for good.
func TestWatcherSeesAgain(t *testing.T) {
	server := awstest.Start(t)
	server.Handle("monitoring", awstest.CBOR(map[string]func(map[string]any) (map[string]any, error){
		"GetMetricData": metrics([]float64{5, 5}, []float64{0, 0}),
	}))
	var told []bool
	cfg := server.Config()
	cfg.RetryMaxAttempts = 1
	w := &Watcher{Metrics: cloudwatch.NewFromConfig(cfg), Function: "generator",
		Tell: func(_ int, err error) { told = append(told, err != nil) }}
	server.Fail("monitoring", "*", 2, &awstest.Error{Status: 500, Code: "InternalFailure", Message: "no"})
	var got []int
	for n := range 3 {
		got = append(got, w.Factor(t.Context(), newest.Add(time.Duration(n)*watchEvery)))
	}
	if !slices.Equal(got, []int{1, 1, 2}) || !slices.Equal(told, []bool{true, false}) {
		t.Errorf("factors %v, failures told %v; want it once, and the pace slower then", got, told)
	}
}

// The pauses follow the watcher.
func TestHandoverSlows(t *testing.T) {
	h, server, _, c := newHandover(t)
	server.Handle("monitoring", awstest.CBOR(map[string]func(map[string]any) (map[string]any, error){
		"GetMetricData": metrics([]float64{5}, []float64{0}),
	}))
	h.Watcher = &Watcher{Metrics: cloudwatch.NewFromConfig(server.Config()), Function: "generator",
		Tell: func(int, error) {}}
	if err := h.Run(t.Context(), items(3), func(Result) {}); err != nil {
		t.Fatal(err)
	}
	if got, want := c.now.Sub(newest), 3200*time.Millisecond; got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

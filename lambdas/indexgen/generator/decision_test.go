package generator

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/lambdas/filter/eventfilter"
	"soci-index-builder/pkg/soci"
)

// decided is what a function did with an event.
type decided struct {
	decision filters.Decision
	reason   string
	message  string // its only line in the log, of what was left alone
}

// newDecided is decided with the message of the log's only line.
func newDecided(t *testing.T, decision filters.Decision, reason string, log []byte) decided {
	t.Helper()
	if decision == filters.Matched {
		return decided{decision: decision}
	}
	var line struct{ Message string }
	if err := json.Unmarshal(log, &line); err != nil {
		t.Fatalf("%v in %q", err, log)
	}
	return decided{decision, reason, line.Message}
}

// accepting stands for Lambda, which takes every invocation.
type accepting struct{}

func (accepting) Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	return &lambda.InvokeOutput{StatusCode: 202}, nil
}

// filterDecides is what the filter function does when its filters choose every
// image.
func filterDecides(t *testing.T, suffix string, event []byte) decided {
	t.Helper()
	config, err := eventfilter.ReadConfig(func(name string) string {
		return map[string]string{
			"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "*:*", "SOCI_INDEX_UNTAGGED_IMAGES": "true", "SOCI_TAG_SUFFIX": suffix,
			"SOCI_INDEX_GENERATOR_LAMBDA_ARN": "arn:aws:lambda:us-west-2:123456789012:function:generator",
		}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	h := &eventfilter.Handler{Config: config, Invoker: accepting{}, Logger: lambdafn.NewLogger(&out, slog.LevelInfo)}
	r, err := h.Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	return newDecided(t, r.Decision, r.Reason, out.Bytes())
}

// generatorDecides is what the generator does, in whose registry there is no
// image: it looks for the image if it would index it.
func generatorDecides(t *testing.T, s *registrytest.Server, suffix string, event []byte) decided {
	t.Helper()
	h, out := setup(t, s)
	h.Options.TagSuffix = suffix
	before := len(s.Requests())
	r, err := h.Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	decision := filters.Decision(r.Outcome)
	if r.Outcome == OutcomeImageGone {
		decision = filters.Matched
	}
	if asked := len(s.Requests()) > before; asked != (decision == filters.Matched) {
		t.Errorf("the outcome is %s, and the registry was asked: %t", r.Outcome, asked)
	}
	return newDecided(t, decision, r.Reason, out.Bytes())
}

// Whatever invokes the generator, it leaves alone what the filter does, for the
// same reason. Repositories of the functions' own images are no part of it: the
// generator's role denies it these.
func TestDecidesAsTheFilter(t *testing.T) {
	files, err := filepath.Glob("../../../internal/ecrevent/testdata/valid/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no events: %v", err)
	}
	events := map[string][]byte{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Event json.RawMessage }
		if err := json.Unmarshal(b, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		events[filepath.Base(name)] = file.Event
	}
	for _, tag := range []string{"", "v1", "v1-soci", "v1_lazy", "_lazy", "v1-SOCI", "v1-soci-1"} {
		for _, artifact := range []string{"", soci.ArtifactTypeV1, soci.ArtifactTypeV2, filters.DeploymentRecord,
			"application/vnd.oci.image.config.v1+json"} {
			for _, referrer := range []bool{false, true} {
				event := bytes.Replace(push(digest.FromString("gone"), tag), []byte(`"image-tag"`),
					[]byte(`"artifact-media-type":"`+artifact+`","image-tag"`), 1)
				if referrer {
					event = bytes.Replace(event, []byte("Image Action"), []byte("Referrer Action"), 1)
				}
				events[string(event)] = event
			}
		}
	}

	s := registrytest.Start(t)
	for _, suffix := range []string{"", "-soci", "_lazy"} {
		count := map[filters.Decision]int{}
		for _, name := range slices.Sorted(maps.Keys(events)) {
			filter, generator := filterDecides(t, suffix, events[name]), generatorDecides(t, s, suffix, events[name])
			if filter != generator {
				t.Errorf("suffix %q: the filter has %+v, the generator %+v: %s", suffix, filter, generator, name)
			}
			count[filter.decision]++
		}
		for _, d := range []filters.Decision{filters.Matched, filters.OwnArtifact, filters.Referrer} {
			if count[d] < 5 {
				t.Errorf("suffix %q: only %d events are %s", suffix, count[d], d)
			}
		}
	}
}

package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/pkg/soci"
)

func event(id, tag string) *ecrevent.Event {
	return &ecrevent.Event{ID: id, Detail: ecrevent.Detail{RepositoryName: "team/app", ImageDigest: "sha256:1",
		ImageTag: tag}}
}

// The name is that of the event and of what decides on the result.
func TestName(t *testing.T) {
	first := fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1})
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(first) {
		t.Errorf("%q", first)
	}
	if again := fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, Concurrency: 7}); again != first {
		t.Errorf("the same event and settings: %s and %s", first, again)
	}
	order := soci.Options{Choice: []string{"linux/amd64", "linux/arm64"}}
	other := soci.Options{Choice: []string{"linux/arm64", "linux/amd64", "linux/arm64"}}
	if fanout.Name(event("1", "v1"), order) != fanout.Name(event("1", "v1"), other) {
		t.Error("the same platforms in another order have another name")
	}
	for _, other := range []string{fanout.Name(event("2", "v1"), soci.Options{SpanSize: 1}),
		fanout.Name(event("1", "v2"), soci.Options{SpanSize: 1}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 2}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, IndexVersion: soci.V2}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, TagSuffix: "-lazy"}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, MinLayerSize: 1}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, TagUnindexed: true}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, BuildToolIdentifier: "other"}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, PrefetchLabel: true}),
		fanout.Name(event("1", "v1"), soci.Options{SpanSize: 1, Choice: []string{"linux"}})} {
		if other == first {
			t.Error("another event or setting has the same name")
		}
	}
	repository, image := event("1", "v1"), event("1", "v1")
	repository.Detail.RepositoryName, image.Detail.ImageDigest = "team/other", "sha256:2"
	for _, other := range []*ecrevent.Event{repository, image} {
		if fanout.Name(other, soci.Options{SpanSize: 1}) == first {
			t.Errorf("%+v has the same name", other.Detail)
		}
	}
}

// A tag that goes from one image to another and back has an execution for each of
// the pushes, the last one too while the first still runs, and so has an image
// that is pushed again after it was deleted: only a duplicate of an event joins.
func TestPushesOfOneImage(t *testing.T) {
	aws, states := awstest.Start(t), new(awstest.States)
	aws.Handle("states", states)
	s := fanout.Open(aws.Config(), awstest.StateMachineARN)
	names := map[string]bool{}
	for i, push := range []struct {
		id, image string
		joined    bool
	}{{"1", "sha256:a", false}, {"2", "sha256:b", false}, {"3", "sha256:a", false}, {"3", "sha256:a", true},
		{"4", "sha256:a", false}} {
		e := event(push.id, "v1")
		e.Detail.ImageDigest = push.image
		if i == 4 { // after its deletion
			states.Close("SUCCEEDED")
		}
		// Lambda does not send a duplicate's bytes in the same form for certain.
		x, err := s.Start(t.Context(), fanout.Name(e, soci.Options{}), fmt.Appendf(nil, `{"n":%d}`, i))
		if err != nil || x.Joined != push.joined || names[x.Name] != push.joined {
			t.Errorf("push %d: %+v %v", i, x, err)
		}
		names[x.Name] = true
	}
}

// An event whose execution runs joins it; when that has ended, however it did,
// the event has another one.
func TestStart(t *testing.T) {
	aws, states := awstest.Start(t), new(awstest.States)
	aws.Handle("states", states)
	s := fanout.Open(aws.Config(), awstest.StateMachineARN)
	start := func(input, name string, joined bool) {
		t.Helper()
		x, err := s.Start(t.Context(), "name", []byte(input))
		if err != nil || x.Name != name || x.Joined != joined {
			t.Errorf("%+v %v, want %s, %t", x, err, name, joined)
		}
	}
	start(`{"a":1}`, "name-1", false)
	start(`{"a":1}`, "name-1", false) // Step Functions itself takes it for the same
	start(`{ "a":1}`, "name-1", true)
	states.Age(time.Hour)
	start(`{"a":1}`, "name-1", true) // which shows by the time of its start alone
	states.Close("SUCCEEDED")
	start(`{"a":1}`, "name-2", false)
	start(`{ "a":1}`, "name-2", true)
	for _, status := range []string{"FAILED", "TIMED_OUT", "ABORTED"} {
		states.Close(status)
	}
	start(`{"a":1}`, "name-3", false)
	if n := len(states.Executions()); n != 3 {
		t.Errorf("%d executions, want 3", n)
	}
	// One that is forgotten between the two questions.
	aws.Fail("states", "DescribeExecution", 1,
		&awstest.Error{Status: http.StatusBadRequest, Code: "ExecutionDoesNotExist", Message: "gone"})
	start(`{ "a":1}`, "name-3", true)
}

func TestStartErrors(t *testing.T) {
	aws, states := awstest.Start(t), new(awstest.States)
	aws.Handle("states", states)
	s := fanout.Open(aws.Config(), awstest.StateMachineARN)
	for range 50 {
		if _, err := s.Start(t.Context(), "name", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		states.Close("FAILED")
	}
	if _, err := s.Start(t.Context(), "name", []byte("{}")); !errors.Is(err, fanout.ErrTooManyExecutions) {
		t.Errorf("%v", err)
	}
	for _, tt := range []struct {
		operation, permission string
	}{{"StartExecution", "states:StartExecution"}, {"DescribeExecution", "states:DescribeExecution"}} {
		aws.Fail("states", tt.operation, 1,
			&awstest.Error{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "no"})
		_, err := s.Start(t.Context(), "name", []byte("{}"))
		if f := failure.Of(err); f.Reason != failure.AccessDenied || f.Permission != tt.permission {
			t.Errorf("%s: %+v", tt.operation, f)
		}
	}
}

// Only what no other attempt changes is out of reach: a missing permission, or a network
// in which nothing answers.
func TestStartOutOfReach(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tt := range []struct {
		name  string
		fault *awstest.Error // nil: nothing listens
		want  bool
	}{
		{"denied", &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"}, true},
		{"denied otherwise", &awstest.Error{Status: 403, Code: "UnrecognizedClientException", Message: "no"}, true},
		{"nothing listens", nil, true},
		{"cut off", &awstest.Error{}, true},
		{"throttled", &awstest.Error{Status: 400, Code: "ThrottlingException", Message: "slow down"}, false},
		{"unavailable", &awstest.Error{Status: 503, Code: "ServiceUnavailable", Message: "later"}, false},
		{"not there", &awstest.Error{Status: 400, Code: "StateMachineDoesNotExist", Message: "which"}, false},
	} {
		server := awstest.Start(t)
		server.Handle("states", new(awstest.States))
		cfg := server.Config()
		if tt.fault != nil {
			server.Fail("states", "StartExecution", 1, tt.fault)
		} else {
			cfg.BaseEndpoint = aws.String(gone.URL)
		}
		_, err := fanout.Open(cfg, awstest.StateMachineARN).Start(t.Context(), "name", []byte("{}"))
		if err == nil || errors.Is(err, fanout.ErrOutOfReach) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if f := failure.Of(err); f.Class != failure.Transient {
			t.Errorf("%s: %s", tt.name, f.Class)
		}
	}
	// The caller's own end is none of the network's.
	server := awstest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := fanout.Open(server.Config(), awstest.StateMachineARN).Start(ctx, "name", []byte("{}"))
	if err == nil || errors.Is(err, fanout.ErrOutOfReach) {
		t.Errorf("cancelled: %v", err)
	}
}

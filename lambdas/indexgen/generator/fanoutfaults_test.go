package generator

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// searches are the requests that look for reusable zTOCs; without an answer all
// layers are read.
var searches = regexp.MustCompile("/referrers/|-soci$|/tags/list$")

// Every request of handing over fails once in each way, or all do: those to the
// registry, and those to Step Functions. The failure is transient and has its
// reason, nothing is pushed, and the next attempt hands the image over.
func TestHandOverFaults(t *testing.T) {
	start := func(t *testing.T, s *registrytest.Server, attempts int) (*Handler, *awstest.Server, *awstest.States) {
		h := handlerOf(s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts, MinWait: time.Millisecond,
			MaxWait: time.Millisecond}))
		server, states := awstest.Start(t), new(awstest.States)
		server.Handle("states", states)
		cfg := server.Config()
		cfg.Retryer = func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = attempts, time.Millisecond
			})
		}
		h.FanOut = &FanOut{Starter: fanout.Open(cfg, awstest.StateMachineARN), From: 1}
		h.Options.Limits.MaxMemory = 30 << 20 // too little: no image is built here instead
		return h, server, states
	}
	event := func(t *testing.T, s *registrytest.Server) []byte {
		image, _ := multiImage(t, s)
		return push(image.Digest, "v1")
	}
	clean := registrytest.Start(t)
	h, _, _ := start(t, clean, 1)
	if r, err := h.Handle(t.Context(), event(t, clean)); err != nil || r.Outcome != OutcomeHandedOver {
		t.Fatalf("%v %+v", err, r)
	}
	ofRegistry := clean.Requests()
	if len(ofRegistry) < 4 {
		t.Fatalf("%d requests", len(ofRegistry))
	}
	for _, fault := range []struct {
		status    int
		code, aws string
		want      failure.Reason
		retried   bool
	}{
		{401, "UNAUTHORIZED", "UnrecognizedClientException", failure.AccessDenied, false},
		{403, "DENIED", "AccessDeniedException", failure.AccessDenied, false},
		{429, "TOOMANYREQUESTS", "ThrottlingException", failure.Throttled, true},
		{500, "UNKNOWN", "InternalServerError", failure.Unavailable, true},
	} {
		for attempts, mode := range map[int]string{1: "from there on", 3: "once"} {
			t.Run(fmt.Sprintf("%d %s", fault.status, mode), func(t *testing.T) {
				for k := range len(ofRegistry) + 2 { // and StartExecution, DescribeExecution
					s := registrytest.Start(t)
					event := event(t, s)
					h, server, states := start(t, s, attempts)
					times := 1
					if attempts == 1 {
						times = 1000
					}
					where := "StartExecution"
					answer := &awstest.Error{Status: fault.status, Code: fault.aws, Message: "why"}
					executions := 1
					switch k - len(ofRegistry) {
					case 0:
						server.Fail("states", where, times, answer)
					case 1:
						// The execution of another attempt, whose input differs.
						where, executions = "DescribeExecution", 2
						if _, err := h.Handle(t.Context(), append([]byte(" "), event...)); err != nil {
							t.Fatal(err)
						}
						states.Close("FAILED")
						server.Fail("states", where, times, answer)
					default:
						where = fmt.Sprintf("request %d, like %s %s", k+1, ofRegistry[k].Method, ofRegistry[k].Path)
						s.Add(registrytest.Rule{Skip: k, Times: times,
							Fault: registrytest.Status(fault.status, fault.code, "why")})
					}
					r, err := h.Handle(t.Context(), event)
					switch {
					case err != nil:
						if f := failure.Of(err); f.Class != failure.Transient || f.Reason != fault.want {
							t.Errorf("%s: %s, %s: %v", where, f.Class, f.Reason, err)
						}
						if attempts > 1 && fault.retried {
							t.Errorf("%s: not tried again: %v", where, err)
						}
					case r.Outcome != OutcomeHandedOver:
						t.Errorf("%s: %+v", where, r)
					case attempts == 1 && !searches.MatchString(where):
						t.Errorf("%s: no failure", where)
					}
					s.Clear()
					h, server, _ = start(t, s, 1)
					server.Handle("states", states)
					if r, err := h.Handle(t.Context(), event); err != nil || r.Outcome != OutcomeHandedOver {
						t.Errorf("%s: the second attempt: %v", where, err)
					}
					if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 0 {
						t.Errorf("%s: %d requests that write", where, n)
					}
					if n := len(states.Executions()); n != executions {
						t.Errorf("%s: %d executions, want %d", where, n, executions)
					}
				}
			})
		}
	}
}

// Every request of the steps fails once, or all do from one on; the state machine
// then tries the step again or ends. Whatever there is is whole, and another
// execution leaves what one without faults leaves.
func TestStepsFaults(t *testing.T) {
	clean := registrytest.Start(t)
	image, platform := multiImage(t, clean)
	stepsOf := func(t *testing.T, s *registrytest.Server) *stepper {
		steps := newStepper(t, s)
		h := handlerOf(s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
		h.Queue = steps.Queue
		steps.Steps = &Steps{Handler: h, MemorySizeMiB: 3008}
		return steps
	}
	if _, err := stepsOf(t, clean).all(t, push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	requests, want := clean.Requests(), made(t, clean, platform)
	if len(want) != 2 || len(requests) < 15 {
		t.Fatalf("%d requests make %v", len(requests), want)
	}
	for _, fault := range []struct {
		status int
		code   string
		want   failure.Reason
	}{{403, "DENIED", failure.AccessDenied}, {404, "NOT_FOUND", failure.NotFound},
		{429, "TOOMANYREQUESTS", failure.Throttled}, {500, "UNKNOWN", failure.Unavailable}} {
		for times, mode := range map[int]string{1: "once", 1000: "from there on"} {
			t.Run(fmt.Sprintf("%d %s", fault.status, mode), func(t *testing.T) {
				t.Parallel()
				outcomes := map[string]int{}
				for k := range requests {
					if testing.Short() && k%5 != 0 {
						continue
					}
					s := registrytest.Start(t)
					image, platform := multiImage(t, s)
					s.Add(registrytest.Rule{Skip: k, Times: times,
						Fault: registrytest.Status(fault.status, fault.code, "why")})
					steps := stepsOf(t, s)
					where := fmt.Sprintf("request %d, like %s %s", k+1, requests[k].Method, requests[k].Path)
					answer, err := steps.all(t, push(image.Digest, "v1"))
					switch {
					case err != nil:
						f := failure.Of(err)
						outcomes[string(f.Reason)]++
						if f.Class != failure.Transient || f.Reason != fault.want {
							t.Errorf("%s: %s, %s: %v", where, f.Class, f.Reason, err)
						}
					default:
						outcomes[fmt.Sprint(answer["outcome"])]++
						if times > 1 && fault.status != 404 {
							t.Errorf("%s: no failure but %v", where, answer["outcome"])
						}
					}
					if n := len(steps.sqs.Bodies()); n != 0 {
						t.Errorf("%s: %d messages before the step that fails", where, n)
					}
					made(t, s, platform)
					s.Clear()
					if _, err := steps.all(t, push(image.Digest, "v1")); err != nil {
						t.Errorf("%s: the second attempt: %v", where, err)
					}
					if got := made(t, s, platform); !maps.Equal(got, want) {
						t.Errorf("%s: after the second attempt there is %v, want %v", where, got, want)
					}
				}
				if times > 1 && outcomes[string(fault.want)]+outcomes[string(OutcomeImageGone)] == 0 {
					t.Errorf("no request failed with %s: %v", fault.want, outcomes)
				}
			})
		}
	}
}

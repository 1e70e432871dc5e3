package stack

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
)

// TestRetries: what was throttled by Lambda is tried again over a quarter of an
// hour, other passing failures at times that differ from layer to layer, and a
// layer at most five times in all.
func TestRetries(t *testing.T) {
	text, task, _, _ := definition()
	var state struct {
		Retry []struct {
			ErrorEquals     []string
			IntervalSeconds float64
			BackoffRate     float64
			MaxAttempts     int
			MaxDelaySeconds float64
			JitterStrategy  string
		}
	}
	if err := json.Unmarshal([]byte("{"+task+"}"), &state); err != nil {
		t.Fatal(err)
	}
	retries := 0
	seconds := map[string]float64{} // of the pauses, by jitter
	for _, r := range state.Retry {
		retries += r.MaxAttempts
		for n := range r.MaxAttempts {
			seconds[r.JitterStrategy] += r.IntervalSeconds * math.Pow(r.BackoffRate, float64(n))
		}
		if r.MaxDelaySeconds != 0 {
			t.Errorf("the pauses after %q are cut at %v s", r.ErrorEquals, r.MaxDelaySeconds)
		}
		throttled := strings.Contains(strings.Join(r.ErrorEquals, " "), "Lambda.TooManyRequestsException")
		if jitter := r.JitterStrategy == "FULL"; jitter == throttled {
			t.Errorf("after %q the jitter is %q", r.ErrorEquals, r.JitterStrategy)
		}
	}
	if retries > 5 || len(state.Retry) != 2 {
		t.Errorf("%d retries of %d kinds", retries, len(state.Retry))
	}
	if seconds[""] < 15*60 || seconds["FULL"] < 60 {
		t.Errorf("the pauses are %v s", seconds)
	}
	if want := `"MaxConcurrency":${` + deployed.ParamFanOutConcurrency + `}`; !strings.Contains(text, want) {
		t.Errorf("no %s in %s", want, text)
	}
}

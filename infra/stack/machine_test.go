package stack

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/fanout"
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
		for _, name := range r.ErrorEquals { // by which the last step says whether there was another attempt
			if !failure.TriedAgain(name) {
				t.Errorf("%q is not said to be tried again", name)
			}
		}
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

// state is a state of the state machine, as far as the events of its history depend
// on it.
type state struct {
	Type          string
	Retry         []struct{ MaxAttempts *int }
	ItemProcessor struct{ States map[string]state }
}

// attempts returns how often a state is tried at most.
func (s state) attempts() int {
	n := 1
	for _, r := range s.Retry {
		if r.MaxAttempts == nil {
			n += 3 // the default
		} else {
			n += *r.MaxAttempts
		}
	}
	return n
}

// events returns how many events of the history a state with the given items causes at
// most: it is entered and exited, each attempt at a task is scheduled, begins and
// ends, and a Map begins and ends with each attempt, as each of its iterations does.
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
func (s state) events(items int) int {
	switch s.Type {
	case "Task":
		return 2 + 3*s.attempts()
	case "Map":
		iteration := 2
		for _, inner := range s.ItemProcessor.States {
			iteration += inner.events(items)
		}
		return 2 + s.attempts()*(2+items*iteration)
	}
	return 2
}

// TestHistory: the plan with the most layers fits the history of an execution, even if
// every state fails as often as it is tried again.
func TestHistory(t *testing.T) {
	_, task, _, _ := definition()
	var machine struct{ States map[string]state }
	if err := json.Unmarshal([]byte(whole(t)), &machine); err != nil {
		t.Fatal(err)
	}
	history := func() int {
		n := 2 // the execution begins and ends
		for _, s := range machine.States {
			n += s.events(fanout.MaxItems)
		}
		return n
	}
	if n := history(); n > fanout.MaxHistory {
		t.Errorf("%d layers have %d events, and an execution has %d at most", fanout.MaxItems, n, fanout.MaxHistory)
	}
	// The Map is the one of the layers, and counts what each of them does.
	layers, ok := machine.States["Layers"]
	if !ok || !strings.Contains(task, "MaxAttempts") {
		t.Fatalf("no state Layers, or no MaxAttempts: %+v of %s", machine, task)
	}
	if all, each := len(machine.States), len(layers.ItemProcessor.States); all != 4 || each != 1 {
		t.Fatalf("%d states, and %d of each layer, want 4 and 1: %+v", all, each, machine)
	}
	one := layers.ItemProcessor.States["BuildLayer"]
	if one.Type != "Task" || one.attempts() != 1+transientRetries+lambdaRetries {
		t.Errorf("a layer is tried %d times", one.attempts())
	}
	// What another retry, or another state, would add does not fit.
	more := 1
	one.Retry = append(one.Retry, struct{ MaxAttempts *int }{&more})
	layers.ItemProcessor.States["BuildLayer"] = one
	if n := history(); n <= fanout.MaxHistory {
		t.Errorf("a sixth retry would go unnoticed: %d events", n)
	}
	one.Retry = one.Retry[:len(one.Retry)-1]
	layers.ItemProcessor.States["BuildLayer"] = one
	layers.ItemProcessor.States["Another"] = state{Type: "Pass"}
	if n := history(); n <= fanout.MaxHistory {
		t.Errorf("another state would go unnoticed: %d events", n)
	}
}

// whole returns the definition with what stands for its variables.
func whole(t *testing.T) string {
	t.Helper()
	text, task, caught, input := definition()
	text = strings.NewReplacer("${Task}", task, "${Catch}", caught, "${Event}", input,
		"${"+deployed.ParamFanOutConcurrency+"}", "20").Replace(text)
	if !json.Valid([]byte(text)) {
		t.Fatalf("the definition is %s", text)
	}
	return text
}

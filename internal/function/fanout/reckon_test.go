package fanout_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/templates"
)

func TestInParts(t *testing.T) {
	const second = fanout.Rate // bytes
	for _, tt := range []struct {
		layers []int64
		atOnce int
		want   time.Duration
	}{
		{nil, 20, 6 * time.Second},
		{[]int64{10 * second}, 20, 18 * time.Second},
		{[]int64{10 * second, 10 * second}, 20, 18 * time.Second},
		{[]int64{10 * second, 10 * second}, 1, 30 * time.Second},
		{[]int64{second, 10 * second, 5 * second, 2 * second}, 2, 20 * time.Second}, // 10; 5, 2 and 1
		{[]int64{second, second, second}, 0, 15 * time.Second},
	} {
		if got := fanout.InParts(tt.layers, tt.atOnce); got != tt.want {
			t.Errorf("%v, %d at once: %s, want %s", tt.layers, tt.atOnce, got, tt.want)
		}
	}
	if got := fanout.Alone([]int64{second, 3 * second}); got != 6*time.Second {
		t.Errorf("alone it takes %s", got)
	}
}

// The defaults that the documentation reckons with are the template's.
func TestDefaults(t *testing.T) {
	var template struct {
		Parameters map[string]struct{ Default any }
	}
	if err := json.Unmarshal(templates.Zip, &template); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{deployed.ParamFanOutConcurrency: fanout.DocAtOnce,
		deployed.ParamGeneratorMemorySize: fanout.DocMemory} {
		if got := template.Parameters[name].Default; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v by default, reckoned is with %v", name, got, want)
		}
	}
}

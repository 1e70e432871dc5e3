package guided

import (
	"bytes"
	"encoding/json"
	"testing"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
)

// AlarmsOf counts the template's alarms that depend on no parameter, and those that
// depend on one of these.
func AlarmsOf(t *testing.T, parameters ...string) int {
	t.Helper()
	text, err := embedded.Template(embedded.Zip, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Conditions map[string]json.RawMessage
		Resources  map[string]struct{ Type, Condition string }
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for _, r := range template.Resources {
		if r.Type != "AWS::CloudWatch::Alarm" {
			continue
		}
		on := ""
		for _, p := range []string{deployed.ParamFanOutFromGiB, deployed.ParamIndexReplicated,
			deployed.ParamIndexPullThrough} {
			if bytes.Contains(template.Conditions[r.Condition], []byte(`"Ref":"`+p+`"`)) {
				on = p
			}
		}
		if on == "" && r.Condition != "" {
			t.Errorf("on what does the alarms' condition %s depend?", r.Condition)
		}
		by[on]++
	}
	n := by[""]
	for _, p := range parameters {
		if by[p] == 0 {
			t.Errorf("no alarm depends on %s", p)
		}
		n += by[p]
	}
	return n
}

// The alarms that cost something are those of the stack with its parameters.
func TestAlarms(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"", "", AlarmsOf(t, deployed.ParamFanOutFromGiB)},
		{deployed.ParamFanOutFromGiB, "0", AlarmsOf(t)},
		{deployed.ParamFanOutFromGiB, "100", AlarmsOf(t, deployed.ParamFanOutFromGiB)},
		{deployed.ParamIndexReplicated, "true",
			AlarmsOf(t, deployed.ParamFanOutFromGiB, deployed.ParamIndexReplicated)},
		{deployed.ParamIndexPullThrough, "true",
			AlarmsOf(t, deployed.ParamFanOutFromGiB, deployed.ParamIndexPullThrough)},
	} {
		stack := map[string]string{tt.name: tt.value}
		if n := alarms(func(name string) string { return settings.Given{}.Parameter(name, stack) }); n != tt.want {
			t.Errorf("%s=%s: %d alarms, want %d", tt.name, tt.value, n, tt.want)
		}
	}
}

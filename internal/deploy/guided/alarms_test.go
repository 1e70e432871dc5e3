package guided

import (
	"testing"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
)

// The alarms that cost something are those of the stack with its parameters.
func TestAlarms(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"", "", 12}, {deployed.ParamFanOutFromGiB, "0", 11}, {deployed.ParamFanOutFromGiB, "100", 12},
		{deployed.ParamIndexReplicated, "true", 13},
	} {
		stack := map[string]string{tt.name: tt.value}
		if n := alarms(func(name string) string { return settings.Given{}.Parameter(name, stack) }); n != tt.want {
			t.Errorf("%s=%s: %d alarms, want %d", tt.name, tt.value, n, tt.want)
		}
	}
}

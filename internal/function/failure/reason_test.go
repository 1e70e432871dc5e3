package failure

import (
	"testing"
)

func TestClassOf(t *testing.T) {
	tests := []struct {
		reason Reason
		want   Class
	}{
		{OutOfTime, Permanent},
		{Corrupt, Permanent},
		{LimitExceeded, Permanent},
		{AccessDenied, Transient},
		{NotFound, Transient},
		{Unexpected, Transient},
		{"Sandbox.Timedout", ""},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.reason), func(t *testing.T) {
			if got := ClassOf(tt.reason); got != tt.want {
				t.Errorf("ClassOf(%q) = %q, want %q", tt.reason, got, tt.want)
			}
		})
	}
}

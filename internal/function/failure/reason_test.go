package failure

import (
	"testing"

	"soci-index-builder/internal/function/lambdafn"
)

func TestClassOf(t *testing.T) {
	tests := []struct {
		reason Reason
		want   lambdafn.Class
	}{
		{OutOfTime, lambdafn.Permanent},
		{Corrupt, lambdafn.Permanent},
		{LimitExceeded, lambdafn.Permanent},
		{AccessDenied, lambdafn.Transient},
		{NotFound, lambdafn.Transient},
		{Unexpected, lambdafn.Transient},
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

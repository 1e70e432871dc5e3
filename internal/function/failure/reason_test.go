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

// What a state machine tries again is what passes, of this function and of Lambda.
func TestTriedAgain(t *testing.T) {
	for name, want := range map[string]bool{
		"throttled": true, "unexpected": true, "corrupt": false, "out-of-time": false,
		"Lambda.TooManyRequestsException": true, "Lambda.SdkClientException": true, "Lambda.Unknown": false,
		"Runtime.ExitError": false, "States.Timeout": false, "": false,
	} {
		if got := TriedAgain(name); got != want {
			t.Errorf("TriedAgain(%q) = %t, want %t", name, got, want)
		}
	}
	for _, name := range LambdaErrors() {
		if !TriedAgain(name) {
			t.Errorf("%s is not tried again", name)
		}
	}
}

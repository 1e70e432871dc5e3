package names

import "testing"

func TestExecutionARN(t *testing.T) {
	const want = "arn:aws:states:eu-west-1:123456789012:execution:large:x-1"
	if got := ExecutionARN("arn:aws:states:eu-west-1:123456789012:stateMachine:large", "x-1"); got != want {
		t.Errorf("ExecutionARN = %q, want %q", got, want)
	}
}

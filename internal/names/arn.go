package names

import "strings"

// ExecutionARN returns the ARN of an execution of a state machine, from the machine's.
func ExecutionARN(machine, execution string) string {
	return strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + execution
}

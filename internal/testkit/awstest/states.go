package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// StateMachineARN is the ARN of the state machine of States.
const StateMachineARN = "arn:aws:states:" + Region + ":" + Account + ":stateMachine:index"

// Execution is one of a state machine.
type Execution struct {
	Name, Input, Status string // RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED

	age time.Duration // how long ago StartExecution says that it began
}

// States is AWS Step Functions with one standard state machine, for
// [Server.Handle] under "states". It runs nothing: the test says with
// [States.Close] how an execution ends.
type States struct {
	mu         sync.Mutex
	executions []*Execution
}

// Executions returns copies of all executions, in the order of their start.
func (s *States) Executions() []Execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Execution, len(s.executions))
	for i, x := range s.executions {
		all[i] = *x
	}
	return all
}

// Close ends all executions that run, with a status.
func (s *States) Close(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.executions {
		if x.Status == "RUNNING" {
			x.Status = status
		}
	}
}

// Age has all executions have begun so much earlier.
func (s *States) Age(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.executions {
		x.age += d
	}
}

// ServeHTTP implements http.Handler.
func (s *States) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	JSON(map[string]func([]byte) (any, error){"StartExecution": s.start, "DescribeExecution": s.describe,
		"ListExecutions": s.list}).ServeHTTP(w, r)
}

const executionARN = "arn:aws:states:" + Region + ":" + Account + ":execution:index:"

func (s *States) find(name string) *Execution {
	for _, x := range s.executions {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// start is idempotent as long as the execution runs with the same input.
// https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
func (s *States) start(body []byte) (any, error) {
	var in struct{ StateMachineArn, Name, Input string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	switch {
	case in.StateMachineArn != StateMachineARN:
		return nil, &Error{Status: http.StatusBadRequest, Code: "StateMachineDoesNotExist", Message: in.StateMachineArn}
	case len(in.Name) == 0 || len(in.Name) > 80:
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidName", Message: in.Name}
	case !json.Valid([]byte(in.Input)):
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidExecutionInput", Message: in.Input}
	}
	x := s.find(in.Name)
	if x != nil && (x.Status != "RUNNING" || x.Input != in.Input) {
		return nil, &Error{Status: http.StatusBadRequest, Code: "ExecutionAlreadyExists",
			Message: fmt.Sprintf("Execution Already Exists: '%s'", executionARN+in.Name)}
	}
	if x == nil {
		x = &Execution{Name: in.Name, Input: in.Input, Status: "RUNNING"}
		s.executions = append(s.executions, x)
	}
	return map[string]any{"executionArn": executionARN + in.Name, "startDate": time.Now().Add(-x.age).Unix()}, nil
}

func (s *States) describe(body []byte) (any, error) {
	var in struct{ ExecutionArn string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	var x *Execution
	// arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME, of whichever machine.
	if part := strings.Split(in.ExecutionArn, ":"); len(part) == 8 && part[5] == "execution" {
		x = s.find(part[7])
	}
	if x == nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "ExecutionDoesNotExist", Message: in.ExecutionArn}
	}
	return map[string]any{"executionArn": in.ExecutionArn, "stateMachineArn": StateMachineARN, "name": x.Name,
		"status": x.Status, "startDate": time.Now().Unix(), "input": x.Input}, nil
}

// Run starts an execution, of whichever state machine is asked for.
func (s *States) Run(name, input string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.executions = append(s.executions, &Execution{Name: name, Input: input, Status: "RUNNING"})
}

// list returns the latest first, three in a page.
func (s *States) list(body []byte) (any, error) {
	var in struct{ StatusFilter, NextToken string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	found := []any{}
	for _, x := range slices.Backward(s.executions) {
		if in.StatusFilter == "" || x.Status == in.StatusFilter {
			found = append(found,
				map[string]any{"executionArn": executionARN + x.Name, "name": x.Name, "status": x.Status,
					"stateMachineArn": StateMachineARN, "startDate": time.Now().Unix()})
		}
	}
	first, _ := strconv.Atoi(in.NextToken)
	last := min(first+3, len(found))
	out := map[string]any{"executions": found[first:last]}
	if last < len(found) {
		out["nextToken"] = strconv.Itoa(last)
	}
	return out, nil
}

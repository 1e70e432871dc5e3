package redrive

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

// ownMessage is what a function sends.
func ownMessage(t *testing.T, event string) string {
	t.Helper()
	ctx := lambdacontext.NewContext(context.Background(),
		&lambdacontext.LambdaContext{AwsRequestID: "r-2", InvokedFunctionArn: functions.Generator})
	b, err := failurequeue.NewMessage(ctx, []byte(event), failure.Of(soci.ErrCorrupt), start.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// executionEvent is what Step Functions says of an execution that has ended.
func executionEvent(t *testing.T, status, input string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "source": "aws.states",
		"detail-type": "Step Functions Execution Status Change", "time": "2026-01-02T03:00:00Z",
		"detail": map[string]any{"executionArn": "arn:execution", "stateMachineArn": functions.Machine,
			"status": status,
			"input":  input, "inputDetails": map[string]any{"included": input != ""}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFormats(t *testing.T) {
	rule := map[string]string{
		"RULE_ARN": "arn:aws:events:eu-west-1:123456789012:rule/push", "TARGET_ARN": functions.Filter,
		"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "may not invoke",
		"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "2",
	}
	record := func(rest string) string {
		return `{"version":"1.0","timestamp":"2026-01-02T03:00:00Z","requestContext":{"requestId":"r-1","functionArn":"` +
			functions.Filter + `",` + rest
	}
	failed := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	image := Message{Event: json.RawMessage(event("team/app")), EventID: "13cde686-328b-6117-af20-0e5566167482",
		Repository: "team/app", Tag: "v1", Digest: digestOf}
	of := func(m Message, with Message) Message {
		m.Event, m.EventID, m.Repository, m.Tag, m.Digest = with.Event, with.EventID, with.Repository, with.Tag,
			with.Digest
		return m
	}
	tests := []struct {
		name       string
		body       string
		attributes map[string]string
		want       Message
		arn        string
		err        error // of Functions.Of
	}{
		{"of the rule", event("team/app"), rule,
			of(Message{Origin: Rule, FunctionARN: functions.Filter, Attempts: 3, Condition: "MaximumRetryAttempts",
				Failed: start, Reason: "NO_PERMISSIONS", Error: "may not invoke"}, image),
			functions.Filter, nil},
		{"of the steps", strings.ReplaceAll(ownMessage(t, event("team/app")), functions.Generator, functions.Steps),
			nil,
			of(Message{Origin: Function, FunctionARN: functions.Steps, RequestID: "r-2", Condition: "PermanentFailure",
				Attempts: 1, Failed: start.Add(-time.Hour), Class: failure.Permanent, Reason: "corrupt",
				Error: soci.ErrCorrupt.Error()},
				Message{Event: json.RawMessage(compact(t, event("team/app"))), EventID: image.EventID,
					Repository: "team/app",
					Tag:        "v1", Digest: digestOf}), functions.Generator, nil},
		{"of an execution", executionEvent(t, "TIMED_OUT", event("team/app")), nil,
			of(Message{Origin: Execution, FunctionARN: functions.Machine, RequestID: "arn:execution",
				Condition: "TIMED_OUT",
				Attempts:  1, Failed: failed, Reason: "TIMED_OUT"}, image), functions.Generator, nil},
		{"of an execution without its input", executionEvent(t, "FAILED", ""), nil,
			Message{Origin: Execution, FunctionARN: functions.Machine, RequestID: "arn:execution", Condition: "FAILED",
				Attempts: 1, Failed: failed, Reason: "FAILED"}, "", ErrNoEvent},
		{"of Lambda", lambdaRecord("team/app"), nil,
			of(Message{Origin: Lambda, FunctionARN: functions.Generator + ":$LATEST", RequestID: "r-1", Attempts: 3,
				Condition: "RetriesExhausted",
				Failed:    failed, Class: failure.Transient, Reason: "access-denied", Error: "why"}, image),
			functions.Generator, nil},
		{"of Lambda, ended", record(`"condition":"RetriesExhausted","approximateInvokeCount":1},"requestPayload":` +
			event("team/app") +
			`,"responsePayload":{"errorType":"Sandbox.Timedout","errorMessage":"Task timed out after 900.00 seconds"}}`), nil,
			of(Message{Origin: Lambda, FunctionARN: functions.Filter, RequestID: "r-1", Attempts: 1,
				Condition: "RetriesExhausted", Failed: failed,
				Reason: "Sandbox.Timedout", Error: "Task timed out after 900.00 seconds"}, image),
			functions.Filter, nil},
		{"of Lambda, too old", record(`"condition":"EventAgeExceeded","approximateInvokeCount":7},"requestPayload":` +
			event("team/app") + `}`), nil,
			of(Message{Origin: Lambda, FunctionARN: functions.Filter, RequestID: "r-1", Attempts: 7,
				Condition: "EventAgeExceeded", Failed: failed, Reason: "EventAgeExceeded"}, image),
			functions.Filter, nil},
		{"of Lambda, response a text",
			record(`"condition":"RetriesExhausted"},"requestPayload":{},"responsePayload":"gone"}`), nil,
			Message{Origin: Lambda, FunctionARN: functions.Filter, RequestID: "r-1", Condition: "RetriesExhausted",
				Failed: failed, Reason: "RetriesExhausted",
				Error: "gone", Event: json.RawMessage("{}")},
			functions.Filter, nil},
		{"of a function", ownMessage(t, event("team/app")), nil,
			of(Message{Origin: Function, FunctionARN: functions.Generator, RequestID: "r-2", Attempts: 1,
				Condition: "PermanentFailure",
				Failed:    start.Add(-time.Hour), Class: failure.Permanent, Reason: "corrupt", Error: "corrupt"},
				Message{Event: json.RawMessage(compact(t, event("team/app"))), EventID: image.EventID,
					Repository: "team/app",
					Tag:        "v1", Digest: digestOf}),
			functions.Generator, nil},
		{"of a function, event not JSON", ownMessage(t, "x"), nil,
			Message{Origin: Function, FunctionARN: functions.Generator, RequestID: "r-2", Attempts: 1,
				Condition: "PermanentFailure",
				Failed:    start.Add(-time.Hour), Class: failure.Permanent, Reason: "corrupt", Error: "corrupt",
				Event: json.RawMessage(`"x"`)},
			functions.Generator, nil},
		{"of a function, event cut", ownMessage(t, `"`+strings.Repeat("x", 256<<10)+`"`), nil,
			Message{Origin: Function, FunctionARN: functions.Generator, RequestID: "r-2", Attempts: 1,
				Condition: "PermanentFailure",
				Failed:    start.Add(-time.Hour), Class: failure.Permanent, Reason: "corrupt", Error: "corrupt"},
			"", ErrEventCut},
		{"of another stack", strings.ReplaceAll(lambdaRecord("team/app"), "function:generator", "function:generator2"),
			nil,
			of(Message{Origin: Lambda, FunctionARN: functions.Generator + "2:$LATEST", RequestID: "r-1", Attempts: 3,
				Condition: "RetriesExhausted",
				Failed:    failed, Class: failure.Transient, Reason: "access-denied", Error: "why"}, image),
			"", ErrOtherFunction},
		{"without an event", record(`"condition":"RetriesExhausted"},"responsePayload":{}}`), nil,
			Message{Origin: Lambda, FunctionARN: functions.Filter, RequestID: "r-1", Condition: "RetriesExhausted",
				Failed: failed, Reason: "RetriesExhausted"},
			"", ErrNoEvent},
		{"an event alone", event("team/app"), nil, of(Message{Origin: Bare, Failed: start}, image), functions.Filter,
			nil},
		{"names that are none", strings.Replace(strings.Replace(event("team/app"), "v1", `v\u001b[2J`, 1), "team/app",
			"Team App", 1), rule,
			Message{Origin: Rule, FunctionARN: functions.Filter, Attempts: 3, Condition: "MaximumRetryAttempts",
				Failed: start,
				Reason: "NO_PERMISSIONS", Error: "may not invoke",
				Event: json.RawMessage(strings.Replace(strings.Replace(event("team/app"), "v1", `v\u001b[2J`, 1),
					"team/app",
					"Team App", 1)),
				EventID: image.EventID, Digest: digestOf},
			functions.Filter, nil},
		{"a text", "hello", nil, Message{Origin: Unknown, Failed: start}, "", ErrUnknownFormat},
		{"a text of the rule", "hello", rule, Message{Origin: Unknown, Failed: start}, "", ErrUnknownFormat},
		{"another object", `{"requestContext":{"condition":1}}`, nil, Message{Origin: Unknown, Failed: start}, "",
			ErrUnknownFormat},
		{"another list", `[1]`, nil, Message{Origin: Unknown, Failed: start}, "", ErrUnknownFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			id := a.sqs.Put(tt.body, tt.attributes)
			l := a.receive(0)
			if len(l.Messages()) != 1 {
				t.Fatalf("%d messages", len(l.Messages()))
			}
			got := l.Messages()[0]
			arn, err := functions.Of(got)
			if arn != tt.arn || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Of = %q, %v, want %q, %v", arn, err, tt.arn, tt.err)
			}
			expect.Equal(t, expect.Facts{
				{"ID", got.ID, id},
				{"Received", got.Received, 1},
				{"Sent", got.Sent.UTC(), start.UTC()},
				{"Body", got.Body, tt.body},
				{"number of attributes", len(got.Attributes), len(tt.attributes)},
			}, "the message")
			if (got.Cut != nil) != (tt.err == ErrEventCut) {
				t.Errorf("cut %+v", got.Cut)
			}
			if !got.Failed.Equal(tt.want.Failed) {
				t.Errorf("failed %v, want %v", got.Failed, tt.want.Failed)
			}
			if string(got.Event) != string(tt.want.Event) {
				t.Errorf("event\n%s, want\n%s", got.Event, tt.want.Event)
			}
			names := func(m *Message) [12]string {
				return [12]string{string(m.Origin), m.EventID, m.Repository, m.Tag, m.Digest, m.FunctionARN,
					m.RequestID, m.Condition, string(m.Class), m.Reason, m.Error, m.Image()}
			}
			if names(got) != names(&tt.want) || got.Attempts != tt.want.Attempts {
				t.Errorf("message\n%q, %d attempts, want\n%q, %d", names(got), got.Attempts, names(&tt.want),
					tt.want.Attempts)
			}
			if err := l.Return(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	if err := e.Encode(json.RawMessage(s)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func TestSelection(t *testing.T) {
	m := &Message{ID: "1", Repository: "team/app", Tag: "v1", Digest: digestOf, Reason: "corrupt"}
	other := "sha256:" + strings.Repeat("0", 64)
	tests := []struct {
		name    string
		images  []string
		reasons []string
		ids     []string
		want    bool
	}{
		{"all", nil, nil, nil, true},
		{"repository", []string{"team/app"}, nil, nil, true},
		{"repository of a registry", []string{"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app"}, nil, nil, true},
		{"tag", []string{"team/app:v1"}, nil, nil, true},
		{"digest", []string{"team/app@" + digestOf}, nil, nil, true},
		{"tag and digest", []string{"team/app:v1@" + digestOf}, nil, nil, true},
		{"another repository", []string{"team/ap"}, nil, nil, false},
		{"another tag", []string{"team/app:v2"}, nil, nil, false},
		{"another digest", []string{"team/app:v1@" + other}, nil, nil, false},
		{"one of several", []string{"team/ap", "team/app"}, nil, nil, true},
		{"reason", nil, []string{"limit-exceeded", "corrupt"}, nil, true},
		{"another reason", nil, []string{"limit-exceeded"}, nil, false},
		{"id", nil, nil, []string{"1"}, true},
		{"another id", nil, nil, []string{"2"}, false},
		{"of each kind one", []string{"team/app"}, []string{"corrupt"}, []string{"1"}, true},
		{"of one kind none", []string{"team/app"}, []string{"truncated"}, []string{"1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Selection{Reasons: tt.reasons, IDs: tt.ids}
			for _, text := range tt.images {
				image, err := names.ParseECR(text)
				if err != nil {
					t.Fatal(err)
				}
				s.Images = append(s.Images, image)
			}
			if got := s.Matches(m); got != tt.want {
				t.Errorf("Matches = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestSelectionInvalid(t *testing.T) {
	for _, text := range []string{"", "Team/app", "team/app:", "team/app@", "team/app@sha256:12", "team/app:v 1",
		"https://host/app:1"} {
		if image, err := names.ParseECR(text); !errors.Is(err, names.ErrInvalid) {
			t.Errorf("%q is %v, %v, want names.ErrInvalid", text, image, err)
		}
	}
}

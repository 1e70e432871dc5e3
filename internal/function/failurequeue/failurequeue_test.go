package failurequeue

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/pkg/soci"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))

func TestNewMessage(t *testing.T) {
	ctx := lambdacontext.NewContext(t.Context(),
		&lambdacontext.LambdaContext{AwsRequestID: "id-1", InvokedFunctionArn: "arn:f"})
	b, err := NewMessage(ctx, []byte(`{ "a": 1.50 }`), failure.Of(soci.ErrCorrupt), now)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":"1.0","timestamp":"2026-01-02T02:04:05.679Z",` +
		`"requestContext":{"requestId":"id-1","functionArn":"arn:f","condition":"PermanentFailure"},` +
		`"requestPayload":{"a":1.50},"responsePayload":{"errorMessage":"corrupt","errorType":"corrupt"},"class":"permanent","reason":"corrupt"}`
	if string(b) != want {
		t.Errorf("message\n%s, want\n%s", b, want)
	}
}

func TestNewMessageIsBounded(t *testing.T) {
	long := errors.New(strings.Repeat("ü", 1<<20))
	tests := []struct {
		name  string
		event string
		cut   bool
	}{
		{"not JSON", "{", false},
		{"nothing", "", false},
		{"not UTF-8", "{\"a\":\"\xff\"}", false},
		{"characters that no queue takes", `{"a":"` + "\uffff\ufffe" + `"}`, false},
		{"as large as an event can be", `"` + strings.Repeat("x", 256<<10-2) + `"`, true},
		{"characters of several bytes", `"` + strings.Repeat("ü€", 100<<10) + `"`, true},
		{"quotes", strings.Repeat(`"`, 256<<10), true},
		{"zeros, each six characters long", strings.Repeat("\x00", 256<<10), true},
		{"much larger", strings.Repeat("[", 6<<20), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := NewMessage(context.Background(), []byte(tt.event), failure.Of(long), now)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > MaxSize {
				t.Fatalf("message of %d bytes: %.200q", len(b), b)
			}
			if !json.Valid(b) || !utf8.Valid(b) || strings.ContainsAny(string(b), "\uffff\ufffe") {
				t.Errorf("message of %d bytes: %.200q", len(b), b)
			}
			var m Message
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			if n := len(m.ResponsePayload.ErrorMessage); n == 0 || n > maxText {
				t.Errorf("a text of %d bytes", n)
			}
			if (m.EventCut != nil) != tt.cut {
				t.Fatalf("cut %+v, want %t", m.EventCut, tt.cut)
			}
			if !tt.cut {
				return
			}
			if m.RequestPayload != nil || m.EventCut.Size != len(tt.event) || len(m.EventCut.SHA256) != 64 {
				t.Fatalf("cut to %.100q of %d bytes", m.EventCut.Begin, m.EventCut.Size)
			}
			if m.EventCut.Begin == "" || !strings.HasPrefix(tt.event, m.EventCut.Begin) {
				t.Errorf("cut to %.100q of %d bytes", m.EventCut.Begin, m.EventCut.Size)
			}
		})
	}
}

type sender struct {
	sent int
	err  error
}

func (s *sender) SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput,
	error) {
	s.sent++
	return &sqs.SendMessageOutput{}, s.err
}

func TestSettle(t *testing.T) {
	down := errors.New("down")
	permanent, transient := failure.Of(soci.ErrCorrupt), failure.Of(soci.ErrDigestMismatch)
	tests := []struct {
		name   string
		sender *sender // nil: no queue
		f      *failure.Error
		want   error
		class  failure.Class
		sent   int
	}{
		{"permanent", &sender{}, permanent, nil, "", 1},
		{"transient", &sender{}, transient, soci.ErrDigestMismatch, failure.Transient, 0},
		{"permanent, no queue", nil, permanent, soci.ErrCorrupt, failure.Permanent, 0},
		{"permanent, queue down", &sender{err: down}, permanent, down, failure.Transient, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q *Queue
			if tt.sender != nil {
				q = &Queue{Sender: tt.sender, URL: "https://queue", Now: time.Now}
			}
			err := q.Settle(t.Context(), slog.New(slog.NewJSONHandler(io.Discard, nil)), []byte("{}"), tt.f)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("Settle = %v, want %v", err, tt.want)
			}
			if err != nil && failure.Of(err).Class != tt.class {
				t.Errorf("the error is %s, want %s", failure.Of(err).Class, tt.class)
			}
			if tt.sender != nil && tt.sender.sent != tt.sent {
				t.Errorf("%d messages, want %d", tt.sender.sent, tt.sent)
			}
		})
	}
}

// A failure of a kind that passes, but did not in many attempts, is reported as such.
func TestNewMessageOfSteps(t *testing.T) {
	for reason, want := range map[failure.Reason]string{
		failure.Throttled: ConditionSteps + " transient", failure.Corrupt: Condition + " permanent",
		failure.Unexpected: ConditionStep + " transient",
	} {
		f := &failure.Error{Class: failure.Permanent, Reason: reason, Once: reason == failure.Unexpected,
			Err: errors.New("why")}
		b, err := NewMessage(t.Context(), []byte("{}"), f, now)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := json.Unmarshal(b, &m); err != nil || m.RequestContext.Condition+" "+string(m.Class) != want {
			t.Errorf("%s: %s %s, %v; want %s", reason, m.RequestContext.Condition, m.Class, err, want)
		}
	}
}

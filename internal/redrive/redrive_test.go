package redrive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"soci-index-builder/internal/testkit/awstest"
)

var functions = Functions{Filter: awstest.FunctionARN("filter"), Generator: awstest.FunctionARN("generator"),
	Steps: awstest.FunctionARN("steps"), Machine: awstest.StateMachineARN}

// account has a queue and two functions. Time passes only where a test says so.
type account struct {
	t      *testing.T
	server *awstest.Server
	sqs    *awstest.SQS
	lambda *awstest.Lambda
	queue  *Queue
	invoke Invoker
	ticks  chan time.Time

	mu  sync.Mutex
	now time.Time
}

func newAccount(t *testing.T) *account {
	a := &account{t: t, server: awstest.Start(t), lambda: awstest.NewLambda(), now: start, ticks: make(chan time.Time)}
	a.sqs = awstest.NewSQS(a.time)
	a.server.Handle("sqs", a.sqs)
	a.server.Handle("lambda", a.lambda)
	a.lambda.Function("filter", nil)
	a.lambda.Function("generator", nil)
	cfg := a.server.RetryingConfig(3)
	a.invoke = lambda.NewFromConfig(cfg)
	a.queue = &Queue{Client: sqs.NewFromConfig(cfg), URL: a.sqs.URL,
		Ticks: func(time.Duration) (<-chan time.Time, func()) { return a.ticks, func() {} }}
	return a
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (a *account) time() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *account) pass(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

// tick has held messages renewed, and waits until they are.
func (a *account) tick() {
	a.ticks <- time.Time{}
	a.ticks <- time.Time{}
}

func (a *account) receive(limit int) *Lease {
	a.t.Helper()
	l, err := a.queue.Receive(a.t.Context(), limit)
	if err != nil {
		a.t.Fatal(err)
	}
	return l
}

func (a *account) put(n int) (ids []string) {
	for i := range n {
		ids = append(ids, a.sqs.Put(lambdaRecord(fmt.Sprintf("team/app%d", i)), nil))
	}
	return ids
}

func lambdaRecord(repository string) string {
	return `{"version":"1.0","timestamp":"2026-01-02T03:00:00Z","requestContext":{"requestId":"r-1","functionArn":"` +
		functions.Generator +
		`:$LATEST","condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":` + event(repository) +
		`,` +
		`"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},` +
		`"responsePayload":{"errorMessage":"why","errorType":"access-denied"}}`
}

const digestOf = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12345678"

// event is one of ECR, with blanks that must survive.
func event(repository string) string {
	return `{"version":"0","id":"13cde686-328b-6117-af20-0e5566167482","detail-type":"ECR Image Action","source":"aws.ecr",` +
		`"account":"123456789012","time":"2026-01-02T02:59:00Z","region":"eu-west-1", "resources":[ ],` +
		`"detail":{"result":"SUCCESS","repository-name":"` + repository + `","image-digest":"` + digestOf +
		`","action-type":"PUSH","image-tag":"v1"}}`
}

func idsOf(l *Lease) []string {
	ids := []string{}
	for _, m := range l.Messages() {
		ids = append(ids, m.ID)
	}
	return ids
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// Looking changes nothing: everybody sees all messages again at once.
func TestReceiveAll(t *testing.T) {
	a := newAccount(t)
	ids := a.put(37)
	a.sqs.DeliverTwice(ids[3])
	a.server.Fail("sqs", "ReceiveMessage", 2, awstest.Throttled)
	l := a.receive(0)
	if !sameSet(idsOf(l), ids) || !l.Complete() {
		t.Errorf("%d messages, complete %t, want 37, each once", len(l.Messages()), l.Complete())
	}
	if got := a.sqs.Visible(); len(got) != 0 {
		t.Errorf("others see %d messages meanwhile", len(got))
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.sqs.Visible(); !sameSet(got, ids) {
		t.Errorf("%d messages are visible afterwards, want all", len(got))
	}
}

func TestReceiveTwiceDelivered(t *testing.T) {
	a := newAccount(t)
	ids := a.put(12)
	a.sqs.DeliverTwice(ids[0])
	a.sqs.DeliverTwice(ids[11])
	l := a.receive(0)
	for _, m := range l.Messages() { // by the later receipt
		if err := l.Discard(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if left := a.sqs.IDs(); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestReceiveLimit(t *testing.T) {
	a := newAccount(t)
	a.put(25)
	l := a.receive(13)
	if len(l.Messages()) != 13 || l.Complete() {
		t.Errorf("%d messages, complete %t, want 13 of more", len(l.Messages()), l.Complete())
	}
	if visible, held, err := l.Elsewhere(t.Context()); visible != 12 || held != 0 || err != nil {
		t.Errorf("Elsewhere = %d, %d, %v, want 12 visible", visible, held, err)
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestReceiveFails(t *testing.T) {
	denied := &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"}
	a := newAccount(t)
	ids := a.put(15)
	a.sqs.InFlight = 10 // the second request is answered OverLimit
	l := a.receive(0)
	if len(l.Messages()) != 10 || l.Complete() {
		t.Errorf("%d messages, complete %t, want the 10 that may be in flight", len(l.Messages()), l.Complete())
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.server.Fail("sqs", "ReceiveMessage", 1, denied)
	if _, err := a.queue.Receive(t.Context(), 0); err == nil {
		t.Error("no error")
	}
	if got := a.sqs.Visible(); !sameSet(got, ids) {
		t.Errorf("%d messages are visible, want all", len(got))
	}
}

// Work can take longer than a message stays invisible by itself.
func TestHeldMeanwhile(t *testing.T) {
	a := newAccount(t)
	a.put(12)
	l := a.receive(0)
	for range 10 {
		a.pass(defaultHold * 3 / 4)
		a.tick()
		if got := a.sqs.Visible(); len(got) != 0 {
			t.Fatalf("%d messages became visible", len(got))
		}
	}
	for _, m := range l.Messages() {
		if err := l.Retry(t.Context(), m, functions, a.invoke); err != nil {
			t.Error(err)
		}
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := a.sqs.IDs(); len(left) != 0 || len(a.lambda.Invocations()) != 12 {
		t.Errorf("%q are left, %d invocations", left, len(a.lambda.Invocations()))
	}
}

// A message that could not be renewed in time belongs to whoever gets it.
func TestLapsed(t *testing.T) {
	a := newAccount(t)
	a.put(1)
	l := a.receive(0)
	a.pass(defaultHold + time.Second)
	other := newLease(a)
	a.tick()
	if err := l.Retry(t.Context(), l.Messages()[0], functions, a.invoke); !errors.Is(err, ErrLapsed) {
		t.Errorf("Retry = %v, want ErrLapsed", err)
	}
	if n := len(a.lambda.Invocations()); n != 0 {
		t.Errorf("%d invocations", n)
	}
	if err := l.Return(t.Context()); err != nil {
		t.Errorf("Return = %v", err)
	}
	if got := a.sqs.Visible(); len(got) != 0 {
		t.Error("it was taken from the other one")
	}
	if err := other.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// newLease is somebody else's, without renewal.
func newLease(a *account) *Lease {
	a.t.Helper()
	q := *a.queue
	q.Ticks = func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }
	l, err := q.Receive(a.t.Context(), 0)
	if err != nil {
		a.t.Fatal(err)
	}
	return l
}

func TestRetry(t *testing.T) {
	a := newAccount(t)
	a.sqs.Put(lambdaRecord("team/app"), nil)
	a.sqs.Put(event("team/other"),
		map[string]string{"RULE_ARN": "arn:r", "TARGET_ARN": functions.Filter, "ERROR_CODE": "NO_PERMISSIONS"})
	l := a.receive(0)
	for _, m := range l.Messages() {
		if err := l.Retry(t.Context(), m, functions, a.invoke); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"generator": event("team/app"), "filter": event("team/other")}
	all := a.lambda.Invocations()
	for _, i := range all {
		if i.Type != "Event" || i.Qualifier != "" || string(i.Payload) != want[i.Function] {
			t.Errorf("%s was invoked as %s:%s with\n%s, want\n%s", i.Function, i.Type, i.Qualifier, i.Payload,
				want[i.Function])
		}
	}
	if left := a.sqs.IDs(); len(all) != 2 || len(left) != 0 {
		t.Errorf("%d invocations, %q are left", len(all), left)
	}
}

func TestRetryFails(t *testing.T) {
	denied := &awstest.Error{Status: 403, Code: "AccessDeniedException", Message: "no"}
	tests := []struct {
		name        string
		prepare     func(*account)
		invocations int
	}{
		{"not invoked", func(a *account) { a.lambda.Function("generator", func([]byte) error { return denied }) }, 0},
		{"not deleted", func(a *account) { a.server.Fail("sqs", "DeleteMessage", 1, denied) }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			ids := a.put(1)
			l := a.receive(0)
			tt.prepare(a)
			if err := l.Retry(t.Context(), l.Messages()[0], functions, a.invoke); err == nil {
				t.Error("no error")
			}
			if err := l.Return(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := a.sqs.Visible(); !slices.Equal(got, ids) || len(a.lambda.Invocations()) != tt.invocations {
				t.Errorf("%q are visible after %d invocations, want %q after %d", got, len(a.lambda.Invocations()), ids,
					tt.invocations)
			}
		})
	}
}

// An interruption ends the work between two messages.
func TestInterrupted(t *testing.T) {
	a := newAccount(t)
	ids := a.put(5)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := a.queue.Receive(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	a.lambda.Function("generator", func([]byte) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	var errs []error
	for _, m := range l.Messages() {
		errs = append(errs, l.Retry(ctx, m, functions, a.invoke))
	}
	for i, err := range errs {
		if i < 2 && err != nil || i >= 2 && !errors.Is(err, context.Canceled) {
			t.Errorf("Retry %d = %v", i+1, err)
		}
	}
	if err := l.Return(ctx); err != nil {
		t.Fatal(err)
	}
	if got := a.sqs.Visible(); !slices.Equal(got, ids[2:]) || len(a.lambda.Invocations()) != 2 {
		t.Errorf("%q are visible after %d invocations, want %q after 2", got, len(a.lambda.Invocations()), ids[2:])
	}
}

func TestReturnPartly(t *testing.T) {
	a := newAccount(t)
	ids := a.put(12)
	l := a.receive(0)
	if len(l.Messages()) != 12 {
		t.Fatalf("%d messages; requests %v", len(l.Messages()), a.server.Requests())
	}
	a.sqs.FailEntries("ChangeMessageVisibilityBatch", 3, "InternalError")
	if err := l.Return(t.Context()); err != nil {
		t.Errorf("Return = %v", err)
	}
	if got := a.sqs.Visible(); !sameSet(got, ids) {
		t.Errorf("%d messages are visible, want all", len(got))
	}
}

func TestReturnFails(t *testing.T) {
	a := newAccount(t)
	a.put(1)
	l := a.receive(0)
	a.sqs.FailEntries("ChangeMessageVisibilityBatch", 100, "InternalError")
	if err := l.Return(t.Context()); !errors.Is(err, ErrNotReturned) {
		t.Errorf("Return = %v, want ErrNotReturned", err)
	}
	a.pass(defaultHold)
	if len(a.sqs.Visible()) != 1 {
		t.Error("the message does not come back")
	}
}

// Whichever request is lost, on its way there or on its way back, each message
// has been retried, or is still in the queue.
func TestNothingIsLost(t *testing.T) {
	for k := range 14 {
		for _, answered := range []bool{false, true} {
			t.Run(fmt.Sprintf("request %d, done %t", k, answered), func(t *testing.T) {
				a := newAccount(t)
				a.queue.Client = sqs.NewFromConfig(a.server.Config()) // one attempt
				a.invoke = lambda.NewFromConfig(a.server.Config())
				ids := a.put(4)
				var n atomic.Int64
				faulty := func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if n.Add(1)-1 != int64(k) {
							next.ServeHTTP(w, r)
							return
						}
						if answered {
							next.ServeHTTP(&nowhere{}, r)
						}
						panic(http.ErrAbortHandler)
					})
				}
				a.server.Handle("sqs", faulty(a.sqs))
				a.server.Handle("lambda", faulty(a.lambda))
				if l, err := a.queue.Receive(t.Context(), 0); err == nil {
					for _, m := range l.Messages() {
						_ = l.Retry(t.Context(), m, functions, a.invoke)
					}
					_ = l.Return(t.Context())
				}
				a.pass(defaultHold)
				left := a.sqs.Visible()
				if !slices.Equal(left, a.sqs.IDs()) {
					t.Errorf("%q of %q come back", left, a.sqs.IDs())
				}
				if len(a.lambda.Invocations())+len(left) < len(ids) {
					t.Errorf("%d invocations, %d messages are left of %d", len(a.lambda.Invocations()), len(left),
						len(ids))
				}
			})
		}
	}
}

// nowhere is an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}
func (*nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (*nowhere) WriteHeader(int)             {}

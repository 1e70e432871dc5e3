package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
)

// queueWorld is what the stack "soci-index-builder" of a script has behind it: its failure
// queue, its metrics and its two functions, which do nothing unless
// functionsWorld makes them. Time stands still. These commands go with it:
//
//	message FILE [NAME=VALUE...]  put FILE's content into the queue, with
//	                              message attributes; ids end in ...001, ...002;
//	                              $DIGEST in it is the environment's
//	queued N                      N messages are there, all to be seen
//	invoked FUNCTION N [FILE]     Filter or Generator was invoked N times, the
//	                              last time with FILE's content
//	await FUNCTION N              waits until it was invoked N times
//	refuse FUNCTION STATUS CODE   have it refuse its next invocation
type queueWorld struct {
	sqs    *awstest.SQS
	lambda *awstest.Lambda
}

func newQueueWorld(server *awstest.Server) *queueWorld {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	q := &queueWorld{sqs: awstest.NewSQS(func() time.Time { return at }), lambda: awstest.NewLambda()}
	q.sqs.URL = "https://sqs." + awstest.Region + ".amazonaws.com/" + awstest.Account +
		"/soci-index-builder-FailureQueue"
	q.lambda.Function("soci-index-builder-Filter", nil)
	q.lambda.Function("soci-index-builder-Generator", nil)
	server.Handle("sqs", q.sqs)
	server.Handle("lambda", q.lambda)
	server.Handle("monitoring", awstest.CBOR(map[string]func(map[string]any) (map[string]any, error){
		"GetMetricData": func(map[string]any) (map[string]any, error) {
			return map[string]any{"MetricDataResults": []any{}},
				nil
		},
	}))
	return q
}

func (q *queueWorld) message(ts *testscript.TestScript, _ bool, args []string) {
	attributes := map[string]string{}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%s is not NAME=VALUE", arg)
		}
		attributes[name] = value
	}
	q.sqs.Put(strings.ReplaceAll(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "$DIGEST", ts.Getenv("DIGEST")),
		attributes)
}

func (q *queueWorld) queued(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if all, visible := q.sqs.IDs(), q.sqs.Visible(); len(all) != want || !slices.Equal(all, visible) {
		ts.Fatalf("the queue has %q, to be seen %q, want %d", all, visible, want)
	}
}

func (q *queueWorld) invoked(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	payloads := q.payloads(args[0])
	if len(payloads) != want {
		ts.Fatalf("%s was invoked %d times, want %d", args[0], len(payloads), want)
	}
	if len(args) > 2 {
		if event := strings.TrimSuffix(ts.ReadFile(args[2]), "\n"); payloads[want-1] != event {
			ts.Fatalf("%s was invoked with\n%s, want\n%s", args[0], payloads[want-1], event)
		}
	}
}

func (q *queueWorld) payloads(function string) []string {
	var all []string
	for _, i := range q.lambda.Invocations() {
		if i.Function == "soci-index-builder-"+function && i.Type == "Event" {
			all = append(all, string(i.Payload))
		}
	}
	return all
}

func (q *queueWorld) await(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range 6000 {
		if len(q.payloads(args[0])) >= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s was not invoked %d times within a minute", args[0], want)
}

func (q *queueWorld) refuse(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	refused := false
	q.lambda.Function("soci-index-builder-"+args[0], func([]byte) error {
		if refused {
			return nil
		}
		refused = true
		return &awstest.Error{Status: status, Code: args[2], Message: "as the script wants it"}
	})
}

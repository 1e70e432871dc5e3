package processtest

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

const queueURL = "https://sqs.us-west-2.amazonaws.com/123456789012/failures"

// awsLambda stands for the Lambda service: it takes asynchronous invocations.
type awsLambda struct {
	*httptest.Server
	payloads chan []byte
}

func newAWSLambda(t *testing.T, status int, body string) *awsLambda {
	t.Helper()
	l := &awsLambda{payloads: make(chan []byte, 8)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(r.Body)
		want := "/2015-03-31/functions/" + generatorARN + "/invocations"
		if path, _ := url.PathUnescape(r.URL.EscapedPath()); err != nil || r.Method != http.MethodPost || path != want {
			t.Errorf("%s %s, %v, want POST %s", r.Method, path, err, want)
		}
		if how := r.Header.Get("X-Amz-Invocation-Type"); how != "Event" {
			t.Errorf("invocation type %q, want Event", how)
		}
		signed(t, r, "lambda")
		l.payloads <- payload
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(l.Close)
	return l
}

func signed(t *testing.T, r *http.Request, service string) {
	t.Helper()
	if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "/us-west-2/"+service+"/aws4_request") {
		t.Errorf("authorization %q is not signed for %s in the function's region", auth, service)
	}
}

// service stands for SQS or EventBridge: a JSON service with one operation.
type service struct {
	*httptest.Server

	mu      sync.Mutex
	bodies  [][]byte                    // of the requests that were taken
	refuse  func(w http.ResponseWriter) // if set, answers in place of the service
	refused int
}

func newService(t *testing.T, name, target string, answer func(body []byte) any) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if got := r.Header.Get("X-Amz-Target"); err != nil || got != target {
			t.Errorf("target %q, %v, want %s", got, err, target)
		}
		signed(t, r, name)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refuse != nil {
			s.refused++
			s.refuse(w)
			return
		}
		s.bodies = append(s.bodies, body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(answer(body)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// down has every request answered with an error from now on; a status of 0
// ends the connection. up ends that.
func (s *service) down(status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = func(w http.ResponseWriter) {
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":"why"}`, code)
	}
}

// answers has every request answered with this from now on.
func (s *service) answers(body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, body)
	}
}

func (s *service) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = nil
}

// take returns the bodies so far and forgets them.
func (s *service) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	bodies := s.bodies
	s.bodies = nil
	return bodies
}

// newQueue stands for SQS.
func newQueue(t *testing.T) *service {
	return newService(t, "sqs", "AmazonSQS.SendMessage", func(body []byte) any {
		var in struct{ MessageBody string }
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		return map[string]string{"MessageId": "1",
			"MD5OfMessageBody": fmt.Sprintf("%x", md5.Sum([]byte(in.MessageBody)))}
	})
}

// messages returns the messages of a queue so far, each of which must be what
// the schema says, and forgets them.
func takeMessages(t *testing.T, queue *service) []json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	for _, body := range queue.take() {
		in := decode[struct{ QueueUrl, MessageBody string }](t, body)
		if in.QueueUrl != queueURL {
			t.Errorf("queue %q, want %q", in.QueueUrl, queueURL)
		}
		if len(in.MessageBody) > 256<<10 {
			t.Errorf("a message has %d bytes", len(in.MessageBody))
		}
		validate(t, "failure-message.schema.json", []byte(in.MessageBody))
		all = append(all, json.RawMessage(in.MessageBody))
	}
	return all
}

// newBus stands for EventBridge.
func newBus(t *testing.T) *service {
	return newService(t, "events", "AWSEvents.PutEvents", func([]byte) any {
		return map[string]any{"FailedEntryCount": 0, "Entries": []map[string]string{{"EventId": "1"}}}
	})
}

// announcement is an event as EventBridge delivers it, less what it adds.
type announcement struct {
	DetailType string
	Detail     map[string]any
}

// takeEvents returns the events of a bus so far, each of which must be what the
// schema says, and forgets them.
func takeEvents(t *testing.T, bus *service) []announcement {
	t.Helper()
	schemas := map[string]string{
		"SOCI Index Created": "soci-index-created.schema.json",
		"SOCI Index Failed":  "soci-index-failed.schema.json",
	}
	var all []announcement
	for _, body := range bus.take() {
		in := decode[struct {
			Entries []struct{ EventBusName, Source, DetailType, Detail string }
		}](t, body)
		for _, e := range in.Entries {
			schema, ok := schemas[e.DetailType]
			if !ok || e.Source != "soci-index-builder" || e.EventBusName != "default" {
				t.Fatalf("event %+v", e)
			}
			validate(t, schema, []byte(e.Detail))
			all = append(all, announcement{e.DetailType, decode[map[string]any](t, []byte(e.Detail))})
		}
	}
	return all
}

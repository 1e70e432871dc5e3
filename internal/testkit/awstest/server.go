// Package awstest stands for AWS over HTTP, so that tests send the SDK's real
// requests and read real answers: pages, throttling, partial failures, late
// answers.
//
// Start with [Start], then [Server.Handle] for each service that is spoken to.
package awstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"soci-index-builder/internal/awsconfig"
)

// The account and the region of everything.
const (
	Account = "123456789012"
	Region  = "eu-west-1"
)

// Request is one that arrived.
type Request struct {
	Service   string // as in the signature: ecr, sqs, lambda, cloudformation, logs, events, iam, monitoring
	Operation string // for example DescribeImages; for REST services method and path
	Query     string // of the URL
	Body      []byte
}

// Server is AWS, as far as services were given to it. Its methods may be
// called while requests arrive.
type Server struct {
	t    testing.TB
	http *httptest.Server

	mu       sync.Mutex
	services map[string]http.Handler
	faults   []*fault
	refuse   func(Request) *Error
	requests []Request
}

// Start starts an AWS that answers GetCallerIdentity (STS), and no other service. A
// request to a service that has no handler fails the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, services: map[string]http.Handler{"sts": STS()}}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

// URL is the endpoint of every service.
func (s *Server) URL() string { return s.http.URL }

// Handle has h answer the requests that are signed for service.
func (s *Server) Handle(service string, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[service] = h
}

// Config is for clients within the test, which send each request once.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(s.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		HTTPClient:   awsconfig.NewHTTPClient(nil),
		Retryer: func() aws.Retryer {
			return aws.NopRetryer{}
		},
	}
}

// RetryingConfig is Config for clients that make up to the given number of attempts,
// as the SDK decides, but without its pauses.
func (s *Server) RetryingConfig(attempts int) aws.Config {
	cfg := s.Config()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			o.RateLimiter = ratelimit.None
		})
	}
	return cfg
}

// Env is the environment, as name and value, of a process that finds this AWS
// and no other.
func (s *Server) Env() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":            s.URL(),
		"AWS_REGION":                  Region,
		"AWS_ACCESS_KEY_ID":           "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY":       "secret",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	}
}

// Requests returns what has arrived, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count tells how often an operation of a service was asked for.
func (s *Server) Count(service, operation string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Service == service && r.Operation == operation {
			n++
		}
	}
	return n
}

// Error is an answer of AWS that something went wrong.
type Error struct {
	Status        int
	Code, Message string
	After         time.Duration // the answer comes so late
	Page          bool          // it is a web page with that status, as of a proxy
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// Throttled is the answer to a caller that sends too many requests.
var Throttled = &Error{Status: http.StatusBadRequest, Code: "ThrottlingException", Message: "Rate exceeded"}

type fault struct {
	service, operation string
	times              int
	err                *Error
}

// Fail has the next requests for an operation, times of them, answered with err;
// an operation of "*" is any. A Status of 0 ends the connection; an
// error with no Code only delays the answer.
func (s *Server) Fail(service, operation string, times int, err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{service, operation, times, err})
}

// Refuse has every request looked at before its service is asked: one for which
// refuse returns an error is answered with that. nil ends it.
func (s *Server) Refuse(refuse func(Request) *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func (s *Server) fault(service, operation string) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.times > 0 && f.service == service && (f.operation == "*" || f.operation == operation) {
			f.times--
			return f.err
		}
	}
	return nil
}

var scope = regexp.MustCompile(`Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request`)

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		s.t.Errorf("%s %s is not signed", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	service := m[2]
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	operation := operationOf(r, body)
	s.mu.Lock()
	request := Request{service, operation, r.URL.RawQuery, body}
	s.requests = append(s.requests, request)
	h, refuse := s.services[service], s.refuse
	s.mu.Unlock()
	if refuse != nil {
		if e := refuse(request); e != nil {
			WriteError(w, r, e)
			return
		}
	}
	if f := s.fault(service, operation); f != nil {
		select {
		case <-time.After(f.After):
		case <-r.Context().Done():
			return
		}
		switch {
		case f.Status == 0 && f.After == 0:
			panic(http.ErrAbortHandler)
		case f.Page:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(f.Status)
			_, _ = io.WriteString(w, "<!DOCTYPE html><html><body>Blocked</body></html>")
			return
		case f.Code != "":
			WriteError(w, r, f)
			return
		}
	}
	if h == nil {
		s.t.Errorf("%s %s: nobody answers for this service", service, operation)
		WriteError(w, r, &Error{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: service})
		return
	}
	h.ServeHTTP(w, r)
}

// operationOf reads the operation from the header of the JSON protocols, the
// form of the query protocol, the path of the CBOR protocol, or method and
// path.
func operationOf(r *http.Request, body []byte) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil {
			return form.Get("Action")
		}
	}
	if _, operation, ok := strings.Cut(r.URL.Path, "/operation/"); ok && isCBOR(r) {
		return operation
	}
	return r.Method + " " + r.URL.Path
}

// WriteError answers in the protocol of the request.
func WriteError(w http.ResponseWriter, r *http.Request, e *Error) {
	if m := scope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil && m[2] == "s3" {
		writeS3Error(w, r, e)
		return
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(e.Status)
		if m := scope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil && m[2] == "ec2" {
			fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors>"+
				"<RequestID>1</RequestID></Response>", escape(e.Code), escape(e.Message))
			return
		}
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>"+
			"<RequestId>1</RequestId></ErrorResponse>", escape(e.Code), escape(e.Message))
		return
	}
	if isCBOR(r) {
		writeCBOR(w, e.Status, map[string]any{"__type": e.Code, "message": e.Message})
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Errortype", e.Code)
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": e.Code, "message": e.Message, "Message": e.Message})
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// JSON answers a service of the JSON protocols: the function for the operation
// gets the body, and its result is encoded. An *Error among the errors is
// answered as such.
func JSON(operations map[string]func(body []byte) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f, ok := operations[operationOf(r, body)]
		if !ok {
			WriteError(w, r, &Error{Status: http.StatusBadRequest, Code: "UnknownOperationException",
				Message: operationOf(r, body)})
			return
		}
		out, err := f(body)
		if err != nil {
			writeAny(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out)
	})
}

// Query answers a service of the query protocol, such as CloudFormation and
// IAM: the function for the action gets the form, and returns the XML inside
// <ActionResponse><ActionResult>.
func Query(operations map[string]func(form url.Values) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		action := form.Get("Action")
		f, ok := operations[action]
		if err != nil || !ok {
			WriteError(w, r, &Error{Status: http.StatusBadRequest, Code: "InvalidAction", Message: action})
			return
		}
		result, err := f(form)
		if err != nil {
			writeAny(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult>"+
			"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>", action, result)
	})
}

func writeAny(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: err.Error()}
	}
	WriteError(w, r, e)
}

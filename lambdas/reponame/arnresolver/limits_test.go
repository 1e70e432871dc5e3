package arnresolver

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/cfn"

	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/lambdafn"
)

// CloudFormation hangs on an answer over its limit, so the largest that fits
// and the smallest that does not are both tried; the stack's id fills them up.
func TestResponseLimit(t *testing.T) {
	h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
	list := make([]any, 55)
	for i := range list {
		list[i] = fmt.Sprintf("team-%03d/*:*", i)
	}
	respond := func(padding int) answer {
		t.Helper()
		responseURL, got := cloudFormation(t, http.StatusOK)
		event := newEvent(cfn.RequestCreate, responseURL, list)
		event.StackID += strings.Repeat("x", padding)
		if _, err := h.Respond(invocation(t), event); err != nil {
			t.Fatal(err)
		}
		return got()
	}
	room := maxResponse - respond(0).size
	if room <= 0 {
		t.Fatalf("the list is too long by %d bytes to begin with", -room)
	}
	if a := respond(room); a.Status != "SUCCESS" || a.size != maxResponse || len(a.Data.RepositoryArns) != len(list) {
		t.Errorf("%s with %d bytes and %d ARNs, want SUCCESS with %d and %d", a.Status, a.size,
			len(a.Data.RepositoryArns), maxResponse, len(list))
	}
	a := respond(room + 1)
	if a.Status != "FAILED" || a.size > maxResponse {
		t.Errorf("%s with %d bytes, want FAILED", a.Status, a.size)
	}
	for _, want := range []string{errTooMany.Error(), "55 repository ARNs", "4097 bytes", "4096"} {
		if !strings.Contains(a.Reason, want) {
			t.Errorf("the reason does not have %q: %q", want, a.Reason)
		}
	}
}

// The largest environment that fits, and that one byte larger. The size is that
// of a text that is written out: the filters and the longest ARN of a generator
// are added to what the template gives.
func TestEnvironmentAtTheEdge(t *testing.T) {
	whole := func(padding string) string {
		return `{"LOG_LEVEL":"INFO","SOCI_INDEX_GENERATOR_LAMBDA_ARN":"arn:aws-cn:lambda:cn-north-1:210987654321:function:` +
			strings.Repeat("g", 64) + `","SOCI_REPOSITORY_IMAGE_TAG_FILTERS":"a:*,b/*:v1","SUFFIX":"<&>\"` + padding +
			`"}`
	}
	edge := maxEnvironment - len(whole(""))
	for padding, want := range map[int]error{edge: nil, edge + 1: errTooLong} {
		event := newEvent(cfn.RequestUpdate, "", []any{"a:*", "b/*:v1"})
		event.ResourceProperties[contract.PropFilterEnvironment] = map[string]any{"LOG_LEVEL": "INFO",
			"SUFFIX": `<&>"` + strings.Repeat("f", padding)}
		h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
		id, _, err := h.handle(invocation(t), event)
		if !errors.Is(err, want) || (err != nil) != (want != nil) || id != physicalID {
			t.Errorf("padding %d: handle = %q, %v, want %v", padding, id, err, want)
		}
		for _, text := range []string{"environment of the filter function has 4097 bytes", "Lambda takes 4096",
			"use fewer filters"} {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("the error does not have %q: %v", text, err)
			}
		}
		event.RequestType = cfn.RequestDelete
		if _, _, err := h.handle(invocation(t), event); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
}

// Without the property that the limits are measured with, creation fails and names
// it.
func TestPropertiesOfTheTemplate(t *testing.T) {
	tests := []struct {
		name  string
		value any
		text  string
	}{
		{"no environment", nil, "FilterEnvironment is missing"},
		{"an environment of another type", []any{"A=b"}, "FilterEnvironment is a []"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			responseURL, got := cloudFormation(t, http.StatusOK)
			event := newEvent(cfn.RequestCreate, responseURL, "a:*")
			event.ResourceProperties[contract.PropFilterEnvironment] = tt.value
			h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
			if _, err := h.Respond(invocation(t), event); err != nil {
				t.Fatal(err)
			}
			if a := got(); a.Status != "FAILED" || !strings.Contains(a.Reason, tt.text) {
				t.Errorf("%s with reason %q, want %q in it", a.Status, a.Reason, tt.text)
			}
			if _, _, err := h.handle(invocation(t), event); !errors.Is(err, errProperty) {
				t.Errorf("the error is %v, want errProperty", err)
			}
		})
	}
}

// S3 repeats the signature in its refusals, and package cfn prints these.
func TestQuietTransport(t *testing.T) {
	answers := map[int]string{http.StatusOK: "", http.StatusForbidden: "<SignatureProvided>secret</SignatureProvided>" +
		strings.Repeat("x", 1<<20)}
	for status, body := range answers {
		q := &QuietTransport{roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)),
				ContentLength: int64(len(body))}, nil
		})}
		resp, err := q.RoundTrip(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if len(b) != 0 || err != nil || resp.StatusCode != status {
			t.Errorf("%d with body %q, %v", resp.StatusCode, b, err)
		}
	}
	failure := errors.New("no route")
	q := &QuietTransport{roundTripper(func(*http.Request) (*http.Response, error) { return nil, failure })}
	if _, err := q.RoundTrip(nil); !errors.Is(err, failure) {
		t.Errorf("the error is %v, want %v", err, failure)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

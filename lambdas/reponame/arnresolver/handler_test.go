package arnresolver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/lambdafn"
)

// answer is what CloudFormation receives.
type answer struct {
	Status, Reason, RequestID, LogicalResourceID, StackID, PhysicalResourceID string

	Data struct {
		RepositoryArns       []string
		RepositoryArnsDigest string
	}

	size int
}

// cloudFormation takes one answer at its URL.
func cloudFormation(t *testing.T, status int) (responseURL string, got func() answer) {
	t.Helper()
	answers := make(chan answer, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var a answer
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil || r.Method != http.MethodPut || r.Header.Get("Content-Type") != "" {
			t.Errorf("%s with content type %q: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		a.size = len(b)
		answers <- a
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/answer?X-Amz-Signature=secret", func() answer {
		select {
		case a := <-answers:
			return a
		default:
			t.Fatal("CloudFormation got no answer")
			return answer{}
		}
	}
}

func newEvent(request cfn.RequestType, responseURL string, property any) cfn.Event {
	e := cfn.Event{
		RequestType:       request,
		RequestID:         "request-1",
		ResponseURL:       responseURL,
		ResourceType:      "Custom::RepositoryArns",
		LogicalResourceID: "RepositoryArns",
		StackID:           "arn:aws:cloudformation:eu-west-1:123456789012:stack/soci/guid",
		ResourceProperties: map[string]any{
			"Version":           "1",
			"FilterEnvironment": map[string]any{"LOG_LEVEL": "INFO"},
		},
	}
	if request != cfn.RequestCreate {
		e.PhysicalResourceID = physicalID
	}
	if property != nil {
		e.ResourceProperties["Filters"] = property
	}
	return e
}

func invocation(t *testing.T) context.Context {
	return lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{
		AwsRequestID:       "id-1",
		InvokedFunctionArn: "arn:aws-cn:lambda:cn-north-1:210987654321:function:reponame",
	})
}

func arns(repositories ...string) []string {
	for i, r := range repositories {
		repositories[i] = "arn:aws-cn:ecr:cn-north-1:210987654321:repository/" + r
	}
	return repositories
}

func TestRespond(t *testing.T) {
	list := func(s ...any) []any { return s }
	tests := []struct {
		name     string
		request  cfn.RequestType
		property any
		want     []string // the ARNs, nil for a failure
		is       error
		reason   []string // in the reason of a failure
	}{
		{"create", cfn.RequestCreate, "prod/*:*,dev:v1", arns("dev", "prod/*"), nil, nil},
		{"create with a list", cfn.RequestCreate, list("prod/*:*", " dev:v1 "), arns("dev", "prod/*"), nil, nil},
		{"update", cfn.RequestUpdate, list("b:*", "a:*", "!b:1"), arns("a", "b"), nil, nil},
		{"everything", cfn.RequestUpdate, list("a:*", "*:*"), arns("*"), nil, nil},
		{"invalid filter", cfn.RequestCreate, list("ok:*", "Bad:*", "worse"), nil, filters.ErrRepositoryPart,
			[]string{`filter 2 "Bad:*"`, `filter 3 "worse"`}},
		{"invalid filter in an update", cfn.RequestUpdate, "a:?", nil, filters.ErrTagPart, []string{`filter 1 "a:?"`}},
		{"empty parameter", cfn.RequestCreate, list(""), nil, filters.ErrEmptyList, nil},
		{"exclusions only", cfn.RequestCreate, "!a:*", nil, filters.ErrOnlyExclusions, nil},
		{"no property", cfn.RequestCreate, nil, nil, errNoFilters, nil},
		{"a number", cfn.RequestCreate, 1.5, nil, errFiltersType, nil},
		{"a number in the list", cfn.RequestCreate, list("a:*", 1.5), nil, errFiltersType, []string{"number 2"}},
		{"unknown request", "Rename", "a:*", nil, errRequestType, []string{`"Rename"`}},
		{"delete", cfn.RequestDelete, "a:*", []string{}, nil, nil},
		{"delete with an invalid filter", cfn.RequestDelete, "Bad", []string{}, nil, nil},
		{"delete without properties", cfn.RequestDelete, nil, []string{}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			responseURL, got := cloudFormation(t, http.StatusOK)
			h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
			event := newEvent(tt.request, responseURL, tt.property)
			if _, err := h.Respond(invocation(t), event); err != nil {
				t.Fatal(err)
			}
			a := got()
			if a.RequestID != event.RequestID || a.LogicalResourceID != event.LogicalResourceID ||
				a.StackID != event.StackID {
				t.Errorf("the answer does not name the request: %+v", a)
			}
			if a.PhysicalResourceID != physicalID {
				t.Errorf("physical id %q, want %q", a.PhysicalResourceID, physicalID)
			}
			if tt.want != nil {
				if a.Status != "SUCCESS" || !slices.Equal(a.Data.RepositoryArns, tt.want) {
					t.Errorf("%s with %q (%s), want %q", a.Status, a.Data.RepositoryArns, a.Reason, tt.want)
				}
				return
			}
			if a.Status != "FAILED" || len(a.Data.RepositoryArns) != 0 {
				t.Errorf("%s with %q, want FAILED", a.Status, a.Data.RepositoryArns)
			}
			for _, want := range append(tt.reason, tt.is.Error()) {
				if !strings.Contains(a.Reason, want) {
					t.Errorf("the reason does not have %q: %q", want, a.Reason)
				}
			}
			if _, _, err := h.handle(invocation(t), event); !errors.Is(err, tt.is) {
				t.Errorf("the error is %v, want %v", err, tt.is)
			}
		})
	}
}

// The digest names a policy, so it is fit for a name, and another for other
// ARNs alone.
func TestDigest(t *testing.T) {
	seen := map[string]string{}
	digest := func(filters string) string {
		h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
		_, data, err := h.handle(invocation(t), newEvent(cfn.RequestUpdate, "", filters))
		if err != nil {
			t.Fatal(err)
		}
		d, _ := data["RepositoryArnsDigest"].(string)
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(d) {
			t.Errorf("%s has digest %q", filters, d)
		}
		return d
	}
	for _, filters := range []string{"*:*", "a:*", "b:*", "a:*,b:*", "ab:*"} {
		d := digest(filters)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", filters, other)
		}
		seen[d] = filters
	}
	if digest("a:1,b:2,!a:3") != digest("b:*,a:*") {
		t.Error("the same repositories have two digests")
	}
}

func TestDeleteOfAnotherID(t *testing.T) {
	responseURL, got := cloudFormation(t, http.StatusOK)
	event := newEvent(cfn.RequestDelete, responseURL, nil)
	event.PhysicalResourceID = "request-0" // of a create that never answered
	h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
	if _, err := h.Respond(invocation(t), event); err != nil {
		t.Fatal(err)
	}
	if a := got(); a.Status != "SUCCESS" || a.PhysicalResourceID != "request-0" {
		t.Errorf("%s with physical id %q, want the one of the event", a.Status, a.PhysicalResourceID)
	}
}

func TestNoFunctionARN(t *testing.T) {
	h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
	for name, ctx := range map[string]context.Context{
		"no invocation": t.Context(),
		"no ARN":        lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{}),
	} {
		if _, _, err := h.handle(ctx, newEvent(cfn.RequestCreate, "", "a:*")); !errors.Is(err, errFunctionARN) {
			t.Errorf("%s: the error is %v, want %v", name, err, errFunctionARN)
		}
	}
}

func TestReasonIsCut(t *testing.T) {
	h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
	for name, bad := range map[string]string{"ASCII": "Bad", "quotes": `"""`, "two bytes": "größe",
		"control characters": "\x01\x02"} {
		t.Run(name, func(t *testing.T) {
			responseURL, got := cloudFormation(t, http.StatusOK)
			list := strings.TrimSuffix(strings.Repeat(bad+":*,", 1000), ",")
			if _, err := h.Respond(invocation(t), newEvent(cfn.RequestCreate, responseURL, list)); err != nil {
				t.Fatal(err)
			}
			a := got()
			if a.Status != "FAILED" || a.size > maxResponse || a.size < maxResponse-16 {
				t.Errorf("%s with %d bytes, want FAILED with nearly %d", a.Status, a.size, maxResponse)
			}
			if !strings.Contains(a.Reason, "filter 1 ") || !strings.Contains(a.Reason, "cut") {
				t.Errorf("the reason names no filter, or not that it was cut: %q", a.Reason)
			}
		})
	}
}

// A function whose environment is wrong starts all the same: it would leave
// CloudFormation waiting.
func TestBrokenEnvironment(t *testing.T) {
	broken := errors.New("LOG_LEVEL is loud")
	for request, want := range map[cfn.RequestType]string{cfn.RequestCreate: "FAILED", cfn.RequestUpdate: "FAILED",
		cfn.RequestDelete: "SUCCESS"} {
		responseURL, got := cloudFormation(t, http.StatusOK)
		h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo), Broken: broken}
		if _, err := h.Respond(invocation(t), newEvent(request, responseURL, "a:*")); err != nil {
			t.Fatal(err)
		}
		if a := got(); a.Status != want || want == "FAILED" && a.Reason != broken.Error() {
			t.Errorf("%s: %s with reason %q, want %s", request, a.Status, a.Reason, want)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	responseURL, got := cloudFormation(t, http.StatusOK)
	h := &Handler{} // without a logger
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic does not reach Lambda")
			}
		}()
		_, _ = h.Respond(invocation(t), newEvent(cfn.RequestCreate, responseURL, "a:*"))
	}()
	if a := got(); a.Status != "FAILED" || a.Reason == "" {
		t.Errorf("%s with reason %q, want FAILED", a.Status, a.Reason)
	}
}

func TestAnswerNotTaken(t *testing.T) {
	refused, _ := cloudFormation(t, http.StatusForbidden)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, responseURL := range map[string]string{
		"refused":       refused,
		"nobody there":  closed.URL + "/?X-Amz-Signature=secret",
		"not a URL":     "http://[::1/?X-Amz-Signature=secret",
		"no URL at all": "",
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			h := &Handler{Logger: lambdafn.NewLogger(&out, slog.LevelInfo)}
			result, err := h.Respond(invocation(t), newEvent(cfn.RequestCreate, responseURL, "a:*"))
			if err == nil {
				t.Fatal("want an error, so that Lambda tries again")
			}
			if strings.Contains(result+err.Error()+out.String(), "secret") {
				t.Errorf("the signed URL is shown: %q, %v, %s", result, err, out.String())
			}
		})
	}
}

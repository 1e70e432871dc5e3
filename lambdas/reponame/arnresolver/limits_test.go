package arnresolver

import (
	"soci-index-builder/internal/function/failure"

	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/cfn"

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
		t.Errorf("%s with %d bytes and %d ARNs, want SUCCESS with %d and %d", a.Status, a.size, len(a.Data.RepositoryArns), maxResponse, len(list))
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

// object decodes JSON as it comes within an event.
func object(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The largest policies and the largest environment that fit, and those one
// character larger. The sizes are those of texts that are written out.
func TestLimitsAtTheEdge(t *testing.T) {
	const (
		arn  = `arn:aws-cn:ecr:cn-north-1:210987654321:repository/`
		list = `["` + arn + `a","` + arn + `b/*"]`
		one  = `{"Statement":[{"Action":["ecr:PutImage"],"Effect":"Allow","Resource":%s}],"Version":"2012-10-17"}`
		two  = `{"Statement":[{"Action":"sqs:SendMessage","Effect":"Allow","Resource":["%s","` + arn + `a","` + arn + `b/*"],"Sid":"<&>"}]}`
	)
	place := func(padding int) []any {
		return []any{object(t, fmt.Sprintf(one, `"<RepositoryArns>"`)),
			object(t, strings.Replace(fmt.Sprintf(two, strings.Repeat("q", padding)), `"`+arn+`a","`+arn+`b/*"`, `"<RepositoryArns>"`, 1))}
	}
	policies := maxRolePolicies - len(fmt.Sprintf(one, list)) - len(fmt.Sprintf(two, ""))
	variables := func(padding int) map[string]any {
		return map[string]any{"LOG_LEVEL": "INFO", "FILTERS": `<&>"` + strings.Repeat("f", padding)}
	}
	environment := maxEnvironment - len(`{"FILTERS":"<&>\"","LOG_LEVEL":"INFO"}`)

	tests := []struct {
		name                  string
		policies, environment int // padding
		want                  []error
		text                  []string
	}{
		{"both at the limit", policies, environment, nil, nil},
		{"policies", policies + 1, environment, []error{errTooMany}, []string{"inline policies of the generator's role have 10241 characters", "IAM takes 10240"}},
		{"environment", policies, environment + 1, []error{errTooLong}, []string{"environment of the filter function has 4097 bytes", "Lambda takes 4096"}},
		{"both", policies + 1, environment + 1, []error{errTooMany, errTooLong}, []string{"10241 characters", "4097 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			event := newEvent(cfn.RequestUpdate, "", []any{"a:*", "b/*:v1"})
			event.ResourceProperties[propertyRolePolicies] = place(tt.policies)
			event.ResourceProperties[propertyFilterEnvironment] = variables(tt.environment)
			h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
			id, _, err := h.handle(invocation(t), event)
			if (err != nil) != (tt.want != nil) || id != physicalID {
				t.Fatalf("handle = %q, %v, want %v", id, err, tt.want)
			}
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("the error is %v, want %v", err, want)
				}
			}
			for _, want := range tt.text {
				if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "use fewer filters") {
					t.Errorf("the error does not have %q: %v", want, err)
				}
			}
			event.RequestType = cfn.RequestDelete
			if _, _, err := h.handle(invocation(t), event); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

// What the template has to pass on, so that there is something to measure.
func TestPropertiesOfTheTemplate(t *testing.T) {
	document := object(t, `{"Statement":[{"Resource":["<RepositoryArns>"]}]}`)
	tests := []struct {
		name, property string
		value          any
		text           string
	}{
		{"no policies", propertyRolePolicies, nil, "GeneratorRolePolicies is missing"},
		{"policies of another type", propertyRolePolicies, document, "GeneratorRolePolicies is a map"},
		{"a policy of another type", propertyRolePolicies, []any{document, "x"}, "number 2"},
		{"policies without a place for the ARNs", propertyRolePolicies, []any{object(t, `{"Statement":[]}`)}, `has no "<RepositoryArns>"`},
		{"no environment", propertyFilterEnvironment, nil, "FilterEnvironment is missing"},
		{"an environment of another type", propertyFilterEnvironment, []any{"A=b"}, "FilterEnvironment is a []"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			responseURL, got := cloudFormation(t, http.StatusOK)
			event := newEvent(cfn.RequestCreate, responseURL, "a:*")
			event.ResourceProperties[tt.property] = tt.value
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

// The event is not changed by what is measured in it.
func TestFillLeavesTheDocument(t *testing.T) {
	document := object(t, `{"a":["<RepositoryArns>","x"],"b":"<RepositoryArns>","c":{"d":"e"}}`)
	filled, found := fill(document, []string{"1", "2"})
	if got := string(compact(filled)); got != `{"a":["1","2","x"],"b":["1","2"],"c":{"d":"e"}}` || !found {
		t.Errorf("%s, found: %t", got, found)
	}
	if got := string(compact(document)); got != `{"a":["<RepositoryArns>","x"],"b":"<RepositoryArns>","c":{"d":"e"}}` {
		t.Errorf("the document became %s", got)
	}
}

// During an update the policy of the filters until now is still there.
func TestPoliciesOfAnUpdate(t *testing.T) {
	const (
		arn   = `arn:aws-cn:ecr:cn-north-1:210987654321:repository/`
		fixed = `{"Statement":[{"Resource":"%s"}]}`
		list  = `{"Statement":[{"Resource":["%s"]}]}`
	)
	tests := []struct {
		name    string
		request cfn.RequestType
		before  any // Filters until now
		size    int // of the policies with ARNs
	}{
		{"create", cfn.RequestCreate, nil, len(fmt.Sprintf(list, arn+"new"))},
		{"other filters", cfn.RequestUpdate, []any{"old/*:*"}, len(fmt.Sprintf(list, arn+"new")) + len(fmt.Sprintf(list, arn+"old/*"))},
		{"the same repository", cfn.RequestUpdate, []any{"new:v1"}, len(fmt.Sprintf(list, arn+"new"))},
		{"back from filters that were refused", cfn.RequestUpdate, []any{"Bad:*"}, len(fmt.Sprintf(list, arn+"new"))},
		{"no filters until now", cfn.RequestUpdate, nil, len(fmt.Sprintf(list, arn+"new"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, excess := range []int{0, 1} {
				event := newEvent(tt.request, "", "new:*")
				event.OldResourceProperties = map[string]any{}
				if tt.before != nil {
					event.OldResourceProperties[propertyFilters] = tt.before
				}
				padding := maxRolePolicies - tt.size - len(fmt.Sprintf(fixed, "")) + excess
				event.ResourceProperties[propertyRolePolicies] = []any{
					object(t, fmt.Sprintf(fixed, strings.Repeat("x", padding))), object(t, fmt.Sprintf(list, placeholder))}
				h := &Handler{Logger: lambdafn.NewLogger(io.Discard, slog.LevelInfo)}
				_, _, err := h.handle(invocation(t), event)
				if (excess == 0) != (err == nil) || err != nil && !errors.Is(err, errTooMany) {
					t.Errorf("%d over the limit: %v", excess, err)
				}
			}
		})
	}
}

// S3 repeats the signature in its refusals, and package cfn prints these.
func TestQuietTransport(t *testing.T) {
	answers := map[int]string{http.StatusOK: "", http.StatusForbidden: "<SignatureProvided>secret</SignatureProvided>" + strings.Repeat("x", 1<<20)}
	for status, body := range answers {
		q := &QuietTransport{roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
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

// The words are those of the other functions, whose package is not imported.
func TestClasses(t *testing.T) {
	if permanent != string(failure.Permanent) || transient != string(failure.Transient) {
		t.Errorf("%s and %s, want %s and %s", permanent, transient, failure.Permanent, failure.Transient)
	}
}

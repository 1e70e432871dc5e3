package eventfilter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/testkit/expect"
)

const generatorARN = "arn:aws:lambda:us-west-2:123456789012:function:generator"

// invoker records what it is asked for and answers with status or err.
type invoker struct {
	calls  []*lambda.InvokeInput
	status int32
	err    error
}

func (i *invoker) Invoke(_ context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput,
	error) {
	i.calls = append(i.calls, in)
	return &lambda.InvokeOutput{StatusCode: i.status}, i.err
}

// setup returns a handler of the filters, and what it logs.
func setup(t *testing.T, list string, i *invoker) (*Handler, *bytes.Buffer) {
	t.Helper()
	c, err := ReadConfig(func(name string) string {
		return map[string]string{
			"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": list,
			"SOCI_INDEX_GENERATOR_LAMBDA_ARN":   generatorARN,
			"SOCI_INDEX_UNTAGGED_IMAGES":        "true",
		}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return &Handler{Config: c, Invoker: i, Logger: lambdafn.NewLogger(&out, slog.LevelInfo)}, &out
}

const digest = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12345678"

// push is the event of a push, with blanks and an unknown field that must
// survive.
func push(repository, tag, artifactMediaType string) []byte {
	return []byte(`{ "version":"0","detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012",` +
		`"region":"us-west-2",  "unknown": 1.50,"detail":{"result":"SUCCESS","repository-name":"` + repository +
		`","image-digest":"` + digest + `","action-type":"PUSH","image-tag":"` + tag +
		`","artifact-media-type":"` + artifactMediaType + "\"}}\n")
}

func TestHandle(t *testing.T) {
	tests := []struct {
		name, list           string
		repository, tag, art string
		want                 Result
		message              string
	}{
		{"matched", "other:*,prod/*:v*", "prod/api", "v1", "",
			Result{Decision: Matched, Filter: "prod/*:v*"}, "image passed on"},
		{"matched without a tag", "*:*", "prod/api", "", "application/vnd.oci.image.config.v1+json",
			Result{Decision: Matched, Filter: "*:*"}, "image passed on"},
		{"no filter matches", "prod/*:v*", "dev/api", "v1", "",
			Result{Decision: NotMatched}, "image not chosen"},
		{"no tag, and the filter wants one", "prod/*:v*", "prod/api", "", "",
			Result{Decision: NotMatched}, "image not chosen"},
		{"excluded", "*:*,!*:*-debug", "prod/api", "1-debug", "",
			Result{Decision: NotMatched, Filter: "!*:*-debug"}, "image not chosen"},
		{"SOCI index v1", "*:*", "prod/api", "", "application/vnd.amazon.soci.index.v1+json",
			Result{Decision: OwnArtifact, Reason: "artifact media type application/vnd.amazon.soci.index.v1+json"},
			"own artifact left alone"},
		{"SOCI index v2", "*:*", "prod/api", "", "application/vnd.amazon.soci.index.v2+json",
			Result{Decision: OwnArtifact, Reason: "artifact media type application/vnd.amazon.soci.index.v2+json"},
			"own artifact left alone"},
		{"own artifact, whatever the filters say", "*:*,prod/api:v1-soci", "prod/api", "v1-soci", "",
			Result{Decision: OwnArtifact, Reason: "tag suffix -soci"}, "own artifact left alone"},
		{"SOCI-enabled image", "*:*", "prod/api", "v1-soci", "",
			Result{Decision: OwnArtifact, Reason: "tag suffix -soci"}, "own artifact left alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := &invoker{status: 202}
			h, out := setup(t, tt.list, i)
			event := push(tt.repository, tt.tag, tt.art)
			got, err := h.Handle(t.Context(), event)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Repository, tt.want.Tag, tt.want.Digest = tt.repository, tt.tag, digest
			if *got != tt.want {
				t.Errorf("result %+v, want %+v", *got, tt.want)
			}
			line := oneLine(t, out)
			expect.Equal(t, expect.Facts{
				{`line["message"]`, line["message"], tt.message},
				{`line["repository"]`, line["repository"], tt.repository},
				{`line["tag"]`, line["tag"], tt.tag},
				{`line["digest"]`, line["digest"], digest},
			}, "log line %v, want message %q", line, tt.message)
			if tt.want.Decision != Matched {
				if len(i.calls) != 0 {
					t.Errorf("the generator was invoked %d times", len(i.calls))
				}
				return
			}
			if len(i.calls) != 1 {
				t.Fatalf("the generator was invoked %d times", len(i.calls))
			}
			call := i.calls[0]
			if *call.FunctionName != generatorARN || call.InvocationType != types.InvocationTypeEvent {
				t.Errorf("invoked %s as %s", *call.FunctionName, call.InvocationType)
			}
			if !bytes.Equal(call.Payload, event) {
				t.Errorf("the generator gets %q, want the event unchanged: %q", call.Payload, event)
			}
		})
	}
}

func oneLine(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: want one line of JSON in %q", err, out)
	}
	return line
}

func TestHandleInvalidEvent(t *testing.T) {
	i := &invoker{status: 202}
	h, out := setup(t, "*:*", i)
	_, err := h.Handle(t.Context(), []byte(`{"source":"aws.s3"}`))
	if !errors.Is(err, ecrevent.ErrInvalid) {
		t.Errorf("the error is %v, want ErrInvalid", err)
	}
	if len(i.calls) != 0 {
		t.Errorf("the generator was invoked with an invalid event")
	}
	if line := oneLine(t, out); line["message"] != "event failed" || line["class"] != "permanent" ||
		line["level"] != "ERROR" {
		t.Errorf("log line %v", line)
	}
}

func TestHandleInvokeFails(t *testing.T) {
	refused := &types.TooManyRequestsException{}
	tests := []struct {
		name    string
		invoker *invoker
		want    error
	}{
		{"throttled", &invoker{err: refused}, refused},
		{"not accepted", &invoker{status: 200}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, out := setup(t, "*:*", tt.invoker)
			got, err := h.Handle(t.Context(), push("app", "v1", ""))
			if err == nil || got != nil {
				t.Fatalf("Handle = %v, %v, want an error so that Lambda tries again", got, err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("the error is %v, want %v in it", err, tt.want)
			}
			if !strings.Contains(err.Error(), "app@"+digest) || !strings.Contains(err.Error(), generatorARN) {
				t.Errorf("the error does not name image and generator: %v", err)
			}
			if line := oneLine(t, out); line["message"] != "event failed" || line["class"] != "transient" {
				t.Errorf("log line %v", line)
			}
		})
	}
}

func TestReadConfigRefuses(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want []string // in the message
		is   error
	}{
		{"no variable", nil, []string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS", "SOCI_INDEX_GENERATOR_LAMBDA_ARN"},
			filters.ErrEmptyList},
		{"filter", map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "a:b,Bad:x"},
			[]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS", `filter 2 "Bad:x"`}, filters.ErrRepositoryPart},
		{"exclusions only", map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "!a:*"},
			[]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS", `"!a:*"`}, filters.ErrOnlyExclusions},
		{"all at once", map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "x",
			"SOCI_INDEX_GENERATOR_LAMBDA_ARN": "gen",
			"SOCI_TAG_SUFFIX":                 "/", "LOG_LEVEL": "LOUD",
			"SOCI_INDEX_UNTAGGED_IMAGES": "1", "SOCI_FAILURE_QUEUE_URL": "q", "SOCI_STACK_NAME": "a b",
			"SOCI_OWN_REPOSITORIES": "a,B"},
			[]string{`"x"`, `SOCI_INDEX_GENERATOR_LAMBDA_ARN is "gen"`, `SOCI_TAG_SUFFIX is "/"`,
				`SOCI_INDEX_UNTAGGED_IMAGES is "1"`, `SOCI_FAILURE_QUEUE_URL is "q"`, `SOCI_STACK_NAME is "a b"`,
				`LOG_LEVEL is "LOUD"`, `SOCI_OWN_REPOSITORIES is "a,B"`}, filters.ErrNoTagPart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadConfig(func(name string) string { return tt.env[name] })
			if !errors.Is(err, lambdafn.ErrInvalidVariable) || !errors.Is(err, tt.is) {
				t.Fatalf("the error is %v, want ErrInvalidVariable and %v", err, tt.is)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not name %s: %v", want, err)
				}
			}
		})
	}
}

// The kind of the event, and whether it has a tag, are checked before the filters.
func TestHandleKinds(t *testing.T) {
	image := string(push("prod/api", "v1", ""))
	replication := strings.Replace(strings.Replace(image, "Image Action", "Replication Action", 1), `"PUSH"`,
		`"REPLICATE","source-account":"210987654321","source-region":"eu-west-1"`, 1)
	pullThrough := strings.Replace(strings.Replace(image, "Image Action", "Pull Through Cache Action", 1), `"result"`,
		`"ecr-repository-prefix":"prod","sync-status"`, 1)
	referrer := strings.Replace(strings.Replace(image, "Image Action", "Referrer Action", 1), `"PUSH"`,
		`"UPDATE_STORAGE_CLASS"`, 1)
	untagged := func(event string) string { return strings.Replace(event, `"image-tag":"v1"`, `"image-tag":""`, 1) }
	tests := []struct {
		name, event string
		asked       bool // for images without a tag
		want        Decision
	}{
		{"push", image, false, Matched},
		{"replication", replication, false, Matched},
		{"push of a function's image", strings.Replace(image, "prod/api", "stack1/filter", 1), true, OwnArtifact},
		{"pull-through cache", pullThrough, false, Matched},
		{"referrer", referrer, false, Referrer},
		{"referrer without a tag", untagged(referrer), true, Referrer},
		{"push without a tag", untagged(image), false, Untagged},
		{"push without the field", strings.Replace(image, `"image-tag":"v1",`, "", 1), false, Untagged},
		{"push without a tag, asked for", untagged(image), true, Matched},
		{"replication without a tag", untagged(replication), false, Untagged},
		{"pull-through cache without a tag", untagged(pullThrough), false, Untagged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := &invoker{status: 202}
			h, _ := setup(t, "*:*", i)
			h.Config.UntaggedImages, h.Config.OwnRepositories = tt.asked, []string{"stack1/filter"}
			got, err := h.Handle(t.Context(), []byte(tt.event))
			if err != nil || got.Decision != tt.want || !strings.Contains(tt.event, got.Repository) {
				t.Fatalf("Handle = %+v, %v, want %s", got, err, tt.want)
			}
			if (len(i.calls) == 1) != (tt.want == Matched) {
				t.Errorf("the generator was invoked %d times", len(i.calls))
			}
		})
	}
}

// Only Matched reaches the generator. Each other decision has a message of its
// own, by which wait and the queries find it, and so has one that is added some day.
func TestCarryOut(t *testing.T) {
	used := map[any]filters.Decision{}
	for _, d := range append(filters.Decisions(), "not-yet-known") {
		i := &invoker{status: 202}
		h, out := setup(t, "*:*", i)
		var r Result
		v := filters.Verdict{Decision: d, Filter: "f", Reason: "r"}
		if err := h.carryOut(t.Context(), v, push("app", "v1", ""), "", &r, h.Logger); err != nil {
			t.Fatal(err)
		}
		invoked := 0
		if d == Matched {
			invoked = 1
		}
		expect.Equal(t, expect.Facts{
			{"invocations", len(i.calls), invoked},
			{"result", r, Result{Decision: d, Filter: "f", Reason: "r"}},
		}, "decision %s", d)
		message := oneLine(t, out)["message"]
		if !slices.Contains(messages.Decisions(), fmt.Sprint(message)) {
			t.Errorf("%s: nobody looks for the message %q", d, message)
		}
		if other, ok := used[message]; ok && slices.Contains(filters.Decisions(), d) {
			t.Errorf("%s and %s have the same message %q", other, d, message)
		}
		used[message] = d
	}
}

// A list that excludes only, and values that are none, stop the cold start.
func TestReadConfig(t *testing.T) {
	env := map[string]string{
		"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "a:*", "SOCI_INDEX_GENERATOR_LAMBDA_ARN": generatorARN,
		"AWS_LAMBDA_FUNCTION_NAME": "filter",
	}
	c, err := ReadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatalf("ReadConfig = %+v, %v", c, err)
	}
	expect.Equal(t, expect.Facts{
		{"UntaggedImages", c.UntaggedImages, false},
		{"FailureQueueURL", c.FailureQueueURL, ""},
		{"StackName", c.StackName, "filter"},
		{"TagSuffix", c.TagSuffix, "-soci"},
	}, "ReadConfig = %+v, %v", c, err)
	env["SOCI_OWN_REPOSITORIES"] = "stack1/filter,stack1/generator"
	env["SOCI_INDEX_UNTAGGED_IMAGES"], env["SOCI_FAILURE_QUEUE_URL"], env["SOCI_STACK_NAME"] = "true",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/q", "s"
	c, err = ReadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatalf("ReadConfig = %+v, %v", c, err)
	}
	expect.Equal(t, expect.Facts{
		{"UntaggedImages", c.UntaggedImages, true},
		{"FailureQueueURL", c.FailureQueueURL, env["SOCI_FAILURE_QUEUE_URL"]},
		{"StackName", c.StackName, "s"},
		{"OwnRepositories", c.OwnRepositories, []string{"stack1/filter", "stack1/generator"}},
	}, "ReadConfig = %+v, %v", c, err)
}

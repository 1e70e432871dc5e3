// Package processtest tests the functions as Lambda runs them: each in its own
// process, built as for deployment, with events from the runtime API and HTTP
// servers for everything it talks to.
package processtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const (
	repository   = "team/app"
	generatorARN = "arn:aws:lambda:us-west-2:123456789012:function:generator"
)

var built struct {
	sync.Mutex
	folder string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.folder != "" {
		if err := os.RemoveAll(built.folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// bootstrap builds a function once for all tests.
func bootstrap(t *testing.T, function string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts processes")
	}
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		folder, err := os.MkdirTemp("", "bootstraps")
		if err != nil {
			t.Fatal(err)
		}
		built.folder = folder
	}
	path := filepath.Join(built.folder, function, "bootstrap")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := dist.Bootstrap(t.Context(), function, runtime.GOOS, runtime.GOARCH, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func startFilter(t *testing.T, l *awsLambda, env ...map[string]string) *lambdaruntime.Function {
	t.Helper()
	o := lambdaruntime.Options{Env: map[string]string{
		"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "team/*:*, !*:*-debug",
		"SOCI_INDEX_GENERATOR_LAMBDA_ARN":   generatorARN,
		"AWS_ENDPOINT_URL_LAMBDA":           l.URL,
	}}
	for _, more := range env {
		maps.Copy(o.Env, more)
	}
	return lambdaruntime.Start(t, bootstrap(t, "filter"), o)
}

func startIndexgen(t *testing.T, s *registrytest.Server, o lambdaruntime.Options) *lambdaruntime.Function {
	t.Helper()
	o.ARN = generatorARN
	env := map[string]string{
		"ECR_REGISTRY_ENDPOINT":   s.URL(),
		"SOCI_MIN_LAYER_SIZE_MIB": "1",
		"SOCI_SPAN_SIZE_MIB":      "1",
	}
	maps.Copy(env, o.Env)
	o.Env = env
	return lambdaruntime.Start(t, bootstrap(t, "indexgen"), o)
}

// layer packs n bytes that do not compress.
func layer(t *testing.T, seed uint64, n int) registrytest.Layer {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(n)})
	if err == nil {
		_, err = w.Write(testlayers.Noise(seed, n))
	}
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return registrytest.Layer{Content: b.Bytes()}
}

// push is the event that ECR sends of a push.
func push(t *testing.T, d digest.Digest, tag, artifactMediaType string) []byte {
	t.Helper()
	b, err := json.MarshalIndent(map[string]any{
		"version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": "ECR Image Action",
		"source": "aws.ecr", "account": "123456789012", "time": "2026-01-02T03:04:05Z", "region": "us-west-2",
		"resources": []string{},
		"detail": map[string]any{
			"result": "SUCCESS", "repository-name": repository, "image-digest": d, "action-type": "PUSH",
			"image-tag":           tag,
			"manifest-media-type": ocispec.MediaTypeImageManifest, "artifact-media-type": artifactMediaType,
		},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode reads what a function answered.
func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return v
}

type decision struct{ Decision, Filter string }

func TestEventBecomesIndex(t *testing.T) {
	s := registrytest.Start(t)
	big := layer(t, 1, 3<<20)
	arm := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{big, layer(t, 2, 1000)}})
	amd := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/amd64", Layers: []registrytest.Layer{layer(t, 3, 2<<20)}})
	image := s.PushIndex(t, repository, "v1", false, arm.Manifest, amd.Manifest,
		s.PushAttestation(t, repository, arm.Manifest).Manifest)

	l := newAWSLambda(t, http.StatusAccepted, "")
	filter := startFilter(t, l)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{})

	event := push(t, image.Digest, "v1", "")
	answer, err := filter.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if d := decode[decision](t, answer); d != (decision{"matched", "team/*:*"}) {
		t.Errorf("the filter answers %+v", d)
	}
	payload := <-l.payloads
	if !bytes.Equal(payload, event) {
		t.Errorf("the generator gets %q, want the event unchanged", payload)
	}
	answer, err = indexgen.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	result := decode[struct {
		Repository, Digest, Tag, Outcome string
		Manifests                        []struct {
			Platform, Outcome string
			Index             struct{ Digest string }
			Layers            []struct{ Digest, Skipped string }
		}
		BytesRead int64
		Seconds   float64
	}](t, answer)
	if !expect.Equal(t, expect.Facts{
		{"outcome", result.Outcome, "indexed"},
		{"digest", result.Digest, image.Digest.String()},
		{"tag", result.Tag, "v1"},
		{"nothing read", result.BytesRead == 0, false},
		{"number of manifests", len(result.Manifests), 3},
	}, "the generator's answer") {
		t.FailNow()
	}

	client, err := ecrclient.New(s.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	var indexes []ocispec.Descriptor
	for i, m := range []ocispec.Descriptor{arm.Manifest, amd.Manifest} {
		found, err := client.Referrers(t.Context(), m, soci.ArtifactTypeV1)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Digest.String() != result.Manifests[i].Index.Digest {
			t.Fatalf("%s has the SOCI indexes %v, want %s", result.Manifests[i].Platform, found,
				result.Manifests[i].Index.Digest)
		}
		index, err := soci.ParseIndex(s.Manifest(t, repository, found[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		if index.Subject == nil || index.Subject.Digest != m.Digest {
			t.Errorf("the SOCI index's subject is %v, want %s", index.Subject, m.Digest)
		}
		if index.Config.MediaType != soci.ArtifactTypeV1 || len(index.Layers) != 1 {
			t.Fatalf("the SOCI index is of %s, with %d layers, want 1", index.Config.MediaType, len(index.Layers))
		}
		ztoc, err := soci.ParseZtoc(s.Blob(t, repository, index.Layers[0].Digest))
		if err != nil {
			t.Fatal(err)
		}
		if len(ztoc.Entries) != 1 || ztoc.Entries[0].Name != "file" || len(ztoc.Checkpoints) < 2 {
			t.Errorf("the zTOC has %d entries and %d checkpoints", len(ztoc.Entries), len(ztoc.Checkpoints))
		}
		indexes = append(indexes, found[0])
	}
	var skipped []string
	for _, l := range result.Manifests[0].Layers {
		skipped = append(skipped, l.Skipped)
	}
	if want := []string{"", string(soci.SkipTooSmall)}; !slices.Equal(skipped, want) {
		t.Errorf("the layers are skipped for %q, want %q", skipped, want)
	}

	// The pushes of the generator come back as events, and go no further.
	for _, index := range indexes {
		answer, err := filter.Invoke(t.Context(), push(t, index.Digest, "", soci.ArtifactTypeV1))
		if err != nil {
			t.Fatal(err)
		}
		if d := decode[decision](t, answer); d.Decision != "own-artifact" {
			t.Errorf("the filter answers %+v to the push of a SOCI index", d)
		}
	}
	// A filter can exclude.
	answer, err = filter.Invoke(t.Context(), push(t, image.Digest, "v1-debug", ""))
	if err != nil {
		t.Fatal(err)
	}
	if d := decode[decision](t, answer); d != (decision{"not-matched", "!*:*-debug"}) {
		t.Errorf("the filter answers %+v", d)
	}
	if len(l.payloads) != 0 {
		t.Errorf("the generator was invoked %d times more", len(l.payloads))
	}

	for _, f := range []*lambdaruntime.Function{filter, indexgen} {
		lines := f.Log(t)
		if len(lines) == 0 {
			t.Error("nothing is logged")
		}
		for _, line := range lines {
			if line["repository"] != repository {
				t.Errorf("log line %v is not of %s", line, repository)
			}
			for _, field := range []string{"requestId", "message", "level"} {
				if line[field] == nil {
					t.Errorf("log line %v has no %s", line, field)
				}
			}
		}
		left, err := os.ReadDir(f.Dir())
		if err != nil || len(left) != 0 {
			t.Errorf("files are left behind: %v, %v", left, err)
		}
	}
}

func TestFailuresAreReported(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	corrupt := layer(t, 1, 2<<20)
	corrupt.Content[len(corrupt.Content)-6] ^= 1 // in the CRC
	bad := s.PushImage(t, repository, "bad", registrytest.Image{Layers: []registrytest.Layer{corrupt}})
	denied := newAWSLambda(t, http.StatusForbidden, `{"Type":"User","Message":"no"}`)
	filter := startFilter(t, denied)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{})

	tests := []struct {
		name       string
		function   *lambdaruntime.Function
		event      []byte
		want       []string // in the message
		log, class string
	}{
		{"filter: invalid event", filter, []byte(`{"source":"aws.s3","region":"?"}`),
			[]string{`source is "aws.s3"`, `region is "?"`}, "event failed", "permanent"},
		{"filter: not JSON", filter, []byte(`x`), []string{"JSON"}, "event failed", "permanent"},
		{"filter: generator not invoked", filter, push(t, image.Manifest.Digest, "v1", ""),
			[]string{generatorARN, "403"},
			"event failed", "transient"},
		{"indexgen: invalid event", indexgen, []byte(`{"source":"aws.s3"}`), []string{`source is "aws.s3"`},
			"image failed",
			"permanent"},
		{"indexgen: corrupt layer", indexgen, push(t, bad.Manifest.Digest, "bad", ""),
			[]string{bad.Manifest.Digest.String(), bad.Layers[0].Digest.String(), "corrupt"}, "image failed",
			"permanent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(tt.function.Log(t))
			_, err := tt.function.Invoke(t.Context(), tt.event)
			var failure messages.InvokeResponse_Error
			if !errors.As(err, &failure) {
				t.Fatalf("the error is %v, want one that the function reports", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(failure.Message, want) {
					t.Errorf("the message does not have %q: %s", want, failure.Message)
				}
			}
			lines := slices.DeleteFunc(tt.function.Log(t)[before:],
				func(l map[string]any) bool { return l["message"] == "manifest finished" })
			if len(lines) != 1 || lines[0]["message"] != tt.log || lines[0]["class"] != tt.class {
				t.Errorf("log lines %v, want %q of class %s", lines, tt.log, tt.class)
			}
		})
	}
	// The failures leave nothing behind that affects the next event.
	if _, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", "")); err != nil {
		t.Errorf("after the failures: %v", err)
	}
}

// The function itself says that its time is up; Lambda would only end it.
func TestStopsBeforeTimeout(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 4<<20)}})
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: s.StallAfter(2 << 20)})
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Timeout: 4 * time.Second})
	_, err := indexgen.Invoke(t.Context(), push(t, image.Manifest.Digest, "v1", ""))
	var failure messages.InvokeResponse_Error
	if !errors.As(err, &failure) || !strings.Contains(failure.Message, "stopped before the function's timeout") {
		t.Errorf("the error is %v, want the function's own", err)
	}
}

func TestColdStartFails(t *testing.T) {
	tests := []struct {
		name, function string
		env            map[string]string
		want           []string // in the message
	}{
		{"no variable", "filter", nil,
			[]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS is not set", "SOCI_INDEX_GENERATOR_LAMBDA_ARN is not set"}},
		{"malformed filter", "filter",
			map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "ok:*,Bad:1",
				"SOCI_INDEX_GENERATOR_LAMBDA_ARN": generatorARN},
			[]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS", `filter 2 "Bad:1"`, "allowed are"}},
		{"malformed ARN", "filter",
			map[string]string{"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "*:*",
				"SOCI_INDEX_GENERATOR_LAMBDA_ARN": "generator"},
			[]string{`SOCI_INDEX_GENERATOR_LAMBDA_ARN is "generator"`}},
		{"malformed numbers", "indexgen",
			map[string]string{"SOCI_MIN_LAYER_SIZE_MIB": "ten", "SOCI_SPAN_SIZE_MIB": "0",
				"ECR_REGISTRY_ENDPOINT": "x"},
			[]string{`SOCI_MIN_LAYER_SIZE_MIB is "ten"`, `SOCI_SPAN_SIZE_MIB is "0"`, `ECR_REGISTRY_ENDPOINT is "x"`}},
	}
	for _, tt := range tests {
		t.Run(tt.function+": "+tt.name, func(t *testing.T) {
			f := lambdaruntime.Start(t, bootstrap(t, tt.function), lambdaruntime.Options{Env: tt.env})
			failure, err := f.InitError(t.Context())
			if err != nil || failure == nil {
				t.Fatalf("the cold start reports %v, %v", failure, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(failure.Message, want) {
					t.Errorf("the message does not have %q: %s", want, failure.Message)
				}
			}
			if status, err := f.Exited(t.Context()); status != 1 || err != nil {
				t.Errorf("exit status %d, %v, want 1", status, err)
			}
			if lines := f.Log(t); len(lines) != 1 || lines[0]["message"] != "cold start failed" ||
				lines[0]["level"] != "ERROR" {
				t.Errorf("log lines %v", lines)
			}
		})
	}
}

func TestCustomResource(t *testing.T) {
	answers := make(chan []byte, 1)
	refuse := false
	cloudFormation := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if refuse {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><SignatureProvided>secret</SignatureProvided></Error>")
			return
		}
		answers <- b
	}))
	t.Cleanup(cloudFormation.Close)
	start := func(env map[string]string) *lambdaruntime.Function {
		return lambdaruntime.Start(t, bootstrap(t, "reponame"), lambdaruntime.Options{Env: env,
			ARN: "arn:aws-us-gov:lambda:us-gov-west-1:210987654321:function:reponame"})
	}
	event := func(request, filters string) []byte {
		return fmt.Appendf(nil,
			`{"RequestType":%q,"RequestId":"r","ResponseURL":%q,`+
				`"ResourceType":"Custom::X","LogicalResourceId":"l","StackId":"s","ResourceProperties":{`+
				`"ServiceToken":"t","Filters":%s,"FilterEnvironment":{"A":"b"}}}`,
			request, cloudFormation.URL+"/?X-Amz-Signature=secret", filters)
	}
	good, broken := start(nil), start(map[string]string{"LOG_LEVEL": "loud"})
	tests := []struct {
		f                        *lambdaruntime.Function
		request, filters, status string
		want                     []string // in the answer
	}{
		{good, "Create", `["prod/*:*","dev:v1"]`, "SUCCESS",
			[]string{"arn:aws-us-gov:ecr:us-gov-west-1:210987654321:repository/dev", "repository/prod/*"}},
		{good, "Update", `"*:*"`, "SUCCESS",
			[]string{`["arn:aws-us-gov:ecr:us-gov-west-1:210987654321:repository/*"]`}},
		{good, "Update", `"Bad:*"`, "FAILED", []string{"Bad:*", "allowed are"}},
		{good, "Delete", `"Bad:*"`, "SUCCESS", nil},
		{broken, "Create", `"*:*"`, "FAILED", []string{`LOG_LEVEL is \"loud\"`, "allowed are"}},
		{broken, "Delete", `"*:*"`, "SUCCESS", nil},
	}
	for _, tt := range tests {
		t.Run(tt.request+" "+tt.filters, func(t *testing.T) {
			if _, err := tt.f.Invoke(t.Context(), event(tt.request, tt.filters)); err != nil {
				t.Fatal(err)
			}
			b := <-answers
			if a := decode[struct{ Status string }](t, b); a.Status != tt.status {
				t.Errorf("status %s, want %s", a.Status, tt.status)
			}
			for _, want := range tt.want {
				if !bytes.Contains(b, []byte(want)) {
					t.Errorf("the answer does not have %s: %s", want, b)
				}
			}
		})
	}
	refuse = true
	if _, err := good.Invoke(t.Context(), event("Update", `"*:*"`)); err == nil {
		t.Error("a refused answer is no failure")
	}
	for _, line := range good.Log(t) {
		if strings.Contains(fmt.Sprint(line), "secret") {
			t.Errorf("the signed URL is logged: %v", line)
		}
	}
	if strings.Contains(good.Stderr(t), "secret") {
		t.Errorf("the signed URL is on standard error: %s", good.Stderr(t))
	}
}

package processtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
	"soci-index-builder/templates"
)

const stepsARN = "arn:aws:lambda:us-west-2:123456789012:function:steps"

// emulator returns the path of a program of infra's package-lock.json.
func emulator(t *testing.T, program string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node.js is not installed")
	}
	path := filepath.Join("..", "..", "infra", "node_modules", filepath.FromSlash(program))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not installed: npm ci in infra", program)
	}
	return path
}

// definition writes the state machine of the template that is committed, with
// the function and the concurrency as CloudFormation puts them in.
func definition(t *testing.T, concurrency string) string {
	t.Helper()
	tmpl, err := cfntemplate.Parse(templates.Zip)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := tmpl.Resolve(cfntemplate.Values{
		Parameters: map[string]string{deployed.ParamFanOutConcurrency: concurrency, deployed.ParamCodeBucket: "b",
			deployed.ParamCodeKeyPrefix: "p/"},
		StackName: "soci", Region: awstest.Region, Account: awstest.Account, Partition: "aws",
		Attribute: func(id, attribute string) (any, bool) {
			if id == "StepsFunction" && attribute == "Arn" {
				return stepsARN, true
			}
			return cfntemplate.Unknown, true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := resources[deployed.MachineID].Properties["DefinitionString"].(string)
	if !json.Valid([]byte(text)) || strings.Contains(text, "${") {
		t.Fatalf("the definition is %s", text)
	}
	path := filepath.Join(t.TempDir(), "definition.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefinitionIsValid(t *testing.T) {
	validator := emulator(t, "asl-validator/dist/bin/asl-validator.js")
	out, err := exec.CommandContext(t.Context(), "node", validator, "--json-path", definition(t, "20")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// lambdaOfSteps is the Lambda service with the function of the steps, of which
// as many processes run as are invoked at once.
type lambdaOfSteps struct {
	*httptest.Server
	processes []*lambdaruntime.Function
	functions chan *lambdaruntime.Function

	mu     sync.Mutex
	steps  []stepDone
	before func(request map[string]any) *messages.InvokeResponse_Error // in the function's place, unless nil
}

type stepDone struct {
	step, layer string
	failed      string // the type of the error
	answer      []byte
}

func newLambdaOfSteps(t *testing.T, processes int, start func() *lambdaruntime.Function) *lambdaOfSteps {
	t.Helper()
	l := &lambdaOfSteps{functions: make(chan *lambdaruntime.Function, processes)}
	for range processes {
		f := start()
		l.processes = append(l.processes, f)
		l.functions <- f
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if path, _ := url.PathUnescape(r.URL.EscapedPath()); err != nil ||
			path != "/2015-03-31/functions/"+stepsARN+"/invocations" {
			t.Errorf("%s %s, %v", r.Method, path, err)
		}
		var request map[string]any
		if err := json.Unmarshal(body, &request); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		done := stepDone{step: fmt.Sprint(request["step"])}
		if item, ok := request["layer"].(map[string]any); ok {
			done.layer = fmt.Sprint(item["d"])
		}
		l.mu.Lock()
		before := l.before
		l.mu.Unlock()
		var failed *messages.InvokeResponse_Error
		if before != nil {
			failed = before(request)
		}
		var answer []byte
		if failed == nil {
			f := <-l.functions
			answer, err = f.Invoke(r.Context(), body)
			l.functions <- f
			if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok {
				failed = &e
			} else if err != nil {
				t.Errorf("%s: %v", done.step, err)
			}
		}
		if failed != nil {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			done.failed = failed.Type
			answer, _ = json.Marshal(failed)
		}
		done.answer = answer
		l.mu.Lock()
		l.steps = append(l.steps, done)
		l.mu.Unlock()
		_, _ = w.Write(answer)
	}))
	t.Cleanup(l.Close)
	return l
}

// count returns how many steps of a kind were done, with an error of a type, ""
// for none.
func (l *lambdaOfSteps) count(step, failed string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.steps {
		if s.step == step && s.failed == failed {
			n++
		}
	}
	return n
}

// execute runs the state machine on an event, with pauses of milliseconds
// between attempts, and returns what it ends with.
func (l *lambdaOfSteps) execute(t *testing.T, event []byte) (string, error) {
	t.Helper()
	cli := emulator(t, "aws-local-stepfunctions/bin/CLI.cjs")
	input := compact(t, event)
	context := fmt.Sprintf(`{"Execution":{"Input":%s}}`, input)
	args := []string{"--no-warnings", "--require", "./testdata/machine/node20.cjs", cli, "-f", definition(t, "3"),
		"--context", context}
	for _, state := range []string{"Plan", "BuildLayer", "Publish", "Fail"} {
		args = append(args, "-r", state+":1")
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL_LAMBDA="+l.URL, "AWS_REGION=us-west-2",
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s%s", err, out, &stderr)
	}
	return string(out), nil
}

func compact(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// machine is a state machine in an account of its own.
type machine struct {
	s          *registrytest.Server
	queue, bus *service
	*lambdaOfSteps
}

func newMachine(t *testing.T) *machine {
	emulator(t, "aws-local-stepfunctions/bin/CLI.cjs")
	m := &machine{s: registrytest.Start(t), queue: newQueue(t), bus: newBus(t)}
	env := reporting(m.queue, m.bus)
	env["SOCI_HANDLER"], env["SOCI_MIN_LAYER_SIZE_MIB"] = "steps", "0"
	m.lambdaOfSteps = newLambdaOfSteps(t, 3, func() *lambdaruntime.Function {
		return startIndexgen(t, m.s, lambdaruntime.Options{Env: env, Timeout: time.Minute})
	})
	return m
}

// push pushes an image of n layers under the tag v1.
func (m *machine) push(t *testing.T, seed uint64, n int) registrytest.Pushed {
	t.Helper()
	var layers []registrytest.Layer
	for i := range n {
		layers = append(layers, layer(t, seed+uint64(i), 20_000+1000*i))
	}
	return m.s.PushImage(t, repository, "v1", registrytest.Image{Layers: layers})
}

// ztocs returns how many zTOCs the SOCI index v1 of an image manifest lists,
// 0 if there is no SOCI index.
func (m *machine) ztocs(t *testing.T, image ocispec.Descriptor) int {
	t.Helper()
	r, err := ecrclient.New(m.s.Registry.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Referrers(t.Context(), image, soci.ArtifactTypeV1)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return 0
	}
	index, err := soci.ParseIndex(m.s.Manifest(t, repository, found[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	return len(soci.ContentOf(index).Ztocs)
}

// The state machine of the template leads an image of 40 layers to its SOCI
// index and its tag, although one layer is throttled twice by Lambda and one by
// the registry; it announces it once. A duplicate start changes nothing.
func TestMachine(t *testing.T) {
	m := newMachine(t)
	p := m.push(t, 1, 40)
	var throttled sync.Map
	m.before = func(request map[string]any) *messages.InvokeResponse_Error {
		item, _ := request["layer"].(map[string]any)
		if item["d"] != p.Layers[7].Digest.String() {
			return nil
		}
		if n, _ := throttled.LoadOrStore("n", new(int)); *n.(*int) < 2 {
			*n.(*int)++
			return &messages.InvokeResponse_Error{Type: "Lambda.TooManyRequestsException", Message: "Rate Exceeded"}
		}
		return nil
	}
	m.s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/" + p.Layers[9].Digest.String(), Times: 5,
		Fault: registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")})
	event := push(t, p.Manifest.Digest, "v1", "")
	if _, err := m.execute(t, event); err != nil {
		t.Fatal(err)
	}
	if n := m.ztocs(t, p.Manifest); n != 40 {
		t.Errorf("the SOCI index has %d zTOCs, want 40", n)
	}
	if m.s.Manifest(t, repository, "v1-soci") == nil {
		t.Error("there is no tag v1-soci")
	}
	if n := m.count("layer", "Lambda.TooManyRequestsException"); n != 2 {
		t.Errorf("Lambda throttled %d times", n)
	}
	if n := m.count("layer", ""); n != 40 {
		t.Errorf("%d layers were built, want 40", n)
	}
	m.mu.Lock()
	if first := m.steps[1:5]; !strings.Contains(fmt.Sprint(first), p.Layers[39].Digest.String()) {
		t.Errorf("the largest layer is not among the first: %v", first)
	}
	m.mu.Unlock()
	if events := takeEvents(t, m.bus); len(events) != 1 || events[0].DetailType != "SOCI Index Created" {
		t.Errorf("announced: %v", events)
	}
	before := len(m.s.Stored())
	if _, err := m.execute(t, event); err != nil {
		t.Fatal(err)
	}
	if n := m.count("layer", ""); n != 40 {
		t.Errorf("the second execution built %d layers", n-40)
	}
	if n := len(m.s.Stored()); n != before {
		t.Errorf("the second execution stored %d manifests", n-before)
	}
	if all := takeMessages(t, m.queue); len(all) != 0 {
		t.Errorf("the queue has %s", all)
	}
}

// A step that stays throttled fails after its retries; a function that runs out of
// time fails at once.
func TestMachineGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		attempts int
		reason   string
	}{
		{"throttled", 3, "throttled"},
		{"Lambda.TooManyRequestsException", 4, "throttled"},
		{"Sandbox.Timedout", 1, "out-of-time"},
		{"Runtime.OutOfMemory", 1, "limit-exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			p := m.push(t, 1, 1)
			m.before = func(request map[string]any) *messages.InvokeResponse_Error {
				if request["step"] != "layer" {
					return nil
				}
				return &messages.InvokeResponse_Error{Type: tt.name, Message: "why"}
			}
			if _, err := m.execute(t, push(t, p.Manifest.Digest, "v1", "")); err != nil {
				t.Fatal(err)
			}
			if n := m.count("layer", tt.name); n != tt.attempts {
				t.Errorf("%d attempts, want %d", n, tt.attempts)
			}
			all := takeMessages(t, m.queue)
			if len(all) != 1 || !strings.Contains(string(all[0]), `"reason":"`+tt.reason+`"`) {
				t.Fatalf("the queue has %s", all)
			}
			validate(t, "failure-message.schema.json", all[0])
		})
	}
}

// An image that loses its tag while its layers are built does not take the
// suffixed tag.
func TestMachineOfSupersededImage(t *testing.T) {
	m := newMachine(t)
	old := m.push(t, 1, 3)
	next := m.s.PushImage(t, repository, "", registrytest.Image{Layers: []registrytest.Layer{layer(t, 99, 30_000)}})
	var once sync.Once
	m.before = func(request map[string]any) *messages.InvokeResponse_Error {
		if request["step"] == "layer" {
			once.Do(func() { m.s.PushManifest(t, repository, "v1", next.Manifest.MediaType, next.Bytes) })
		}
		return nil
	}
	out, err := m.execute(t, push(t, old.Manifest.Digest, "v1", ""))
	if err != nil || !strings.Contains(out, "superseded") {
		t.Fatalf("%v %s", err, out)
	}
	if m.s.Manifest(t, repository, "v1-soci") != nil {
		t.Error("the suffixed tag was made")
	}
	if n := m.ztocs(t, old.Manifest); n != 3 {
		t.Errorf("the SOCI index v1 has %d zTOCs, want 3", n)
	}
}

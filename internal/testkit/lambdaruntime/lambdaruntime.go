// Package lambdaruntime runs a function's bootstrap the way Lambda does, for
// tests: as a process of its own that fetches its events from the runtime API
// over HTTP. Start with [Start].
package lambdaruntime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"soci-index-builder/internal/testkit/emfcheck"
)

// ErrTimedOut: the function did not answer before its deadline, and its
// process was ended, as Lambda does.
var ErrTimedOut = errors.New("task timed out")

// ErrExited: the process ended without an answer.
var ErrExited = errors.New("the function's process ended")

// ErrBusy: an execution environment works on one event at a time.
var ErrBusy = errors.New("the function works on another event")

// Options of Start. The zero value is the default throughout.
type Options struct {
	// Env is the function's environment beside what Lambda itself sets. The
	// tester's own environment is never passed on.
	Env map[string]string

	// ARN is what the function is invoked as. The default is
	// arn:aws:lambda:us-west-2:123456789012:function:test.
	ARN string

	// Timeout of each invocation. The default is 15 minutes, Lambda's most.
	Timeout time.Duration
}

// Function is one execution environment.
type Function struct {
	options Options
	server  *httptest.Server
	dir     string
	output  string // the folder of stdout and stderr
	pid     int
	kill    context.CancelFunc
	exited  chan struct{} // closed when the process has ended
	exit    error         // how, set before exited is closed

	mu        sync.Mutex
	current   *invocation
	count     int
	initError *messages.InvokeResponse_Error
	faults    []string // what the process did against the runtime API's rules

	next chan *invocation
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	answer   chan answer
}

type answer struct {
	payload []byte
	failure *messages.InvokeResponse_Error
}

// Start starts the executable in an empty folder of its own, which is also
// its folder for temporary files, and ends it with the test. A test fails when
// the process breaks the rules of the runtime API.
func Start(t testing.TB, bootstrap string, o Options) *Function {
	t.Helper()
	if o.ARN == "" {
		o.ARN = "arn:aws:lambda:us-west-2:123456789012:function:test"
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Minute
	}
	arn := strings.Split(o.ARN, ":")
	if len(arn) < 7 {
		t.Fatalf("%q is not the ARN of a function", o.ARN)
	}
	f := &Function{options: o, dir: t.TempDir(), output: t.TempDir(), exited: make(chan struct{}),
		next: make(chan *invocation)}

	ctx, kill := context.WithCancel(context.Background())
	f.kill = kill
	cmd := exec.CommandContext(ctx, bootstrap)
	cmd.Dir = f.dir
	// Files, unlike pipes, hold what was written as soon as it was, so a line
	// that was logged before an answer is there when the answer is.
	for name, to := range map[string]*io.Writer{stdout: &cmd.Stdout, stderr: &cmd.Stderr} {
		file, err := os.Create(filepath.Join(f.output, name))
		if err != nil {
			kill()
			t.Fatal(err)
		}
		defer file.Close() // the process has its own
		*to = file
	}
	f.server = httptest.NewServer(f.handler())
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(f.server.URL, "http://"),
		"AWS_LAMBDA_FUNCTION_NAME=" + arn[6],
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769",
		"AWS_REGION=" + arn[3],
		"AWS_DEFAULT_REGION=" + arn[3],
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY=example",
		"AWS_EC2_METADATA_DISABLED=true", // there is none in Lambda
		"LAMBDA_TASK_ROOT=" + f.dir,
		"TMPDIR=" + f.dir,
	}
	for name, value := range o.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	slices.Sort(cmd.Env)
	if err := cmd.Start(); err != nil {
		kill()
		f.server.Close()
		t.Fatal(err)
	}
	f.pid = cmd.Process.Pid
	go func() {
		f.exit = cmd.Wait()
		close(f.exited)
	}()
	t.Cleanup(func() {
		f.kill()
		<-f.exited
		f.server.CloseClientConnections()
		f.server.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, fault := range f.faults {
			t.Error("runtime API: " + fault)
		}
		if t.Failed() {
			t.Logf("standard output of %s:\n%s\nits standard error:\n%s", bootstrap, f.read(t, stdout),
				f.read(t, stderr))
		}
	})
	return f
}

// Invoke hands one event to the function and returns its answer. A failure that
// the function reports is a messages.InvokeResponse_Error.
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	f.mu.Lock()
	if f.current != nil {
		f.mu.Unlock()
		return nil, ErrBusy
	}
	f.count++
	inv := &invocation{
		id:       fmt.Sprintf("00000000-0000-4000-8000-%012d", f.count),
		payload:  event,
		deadline: time.Now().Add(f.options.Timeout),
		answer:   make(chan answer, 1),
	}
	f.current = inv
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.current = nil
		f.mu.Unlock()
	}()

	timeout := time.NewTimer(f.options.Timeout)
	defer timeout.Stop()
	select {
	case f.next <- inv:
	case <-f.exited:
		return nil, fmt.Errorf("%w: %v", ErrExited, f.exit)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case a := <-inv.answer:
		return a.result()
	case <-f.exited:
		select {
		case a := <-inv.answer: // it answered, then it ended
			return a.result()
		default:
		}
		return nil, fmt.Errorf("%w: %v", ErrExited, f.exit)
	case <-timeout.C:
		f.kill()
		return nil, fmt.Errorf("%w after %v", ErrTimedOut, f.options.Timeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (a answer) result() ([]byte, error) {
	if a.failure != nil {
		return nil, *a.failure
	}
	return a.payload, nil
}

// InitError waits for the process to end and returns what it reported as the
// failure of its cold start, nil if nothing.
func (f *Function) InitError(ctx context.Context) (*messages.InvokeResponse_Error, error) {
	select {
	case <-f.exited:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.initError, nil
}

// Exited waits for the process to end and returns its exit status.
func (f *Function) Exited(ctx context.Context) (int, error) {
	select {
	case <-f.exited:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	var status *exec.ExitError
	if errors.As(f.exit, &status) {
		return status.ExitCode(), nil
	}
	return 0, f.exit
}

// PID is the id of the function's process.
func (f *Function) PID() int { return f.pid }

// Dir is the function's folder, for files it should not have left.
func (f *Function) Dir() string { return f.dir }

// Log returns the log lines so far. Every line of standard output must be JSON.
func (f *Function) Log(t testing.TB) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(f.lines(t), isMetrics)
}

// Metrics returns the lines of standard output so far that are metrics in
// CloudWatch's embedded metric format, which each of them must follow.
func (f *Function) Metrics(t testing.TB) []map[string]any {
	t.Helper()
	for line := range strings.Lines(f.read(t, stdout)) {
		if strings.Contains(line, `"_aws"`) {
			if err := emfcheck.Line([]byte(line)); err != nil {
				t.Errorf("metrics: %v: %q", err, line)
			}
		}
	}
	return slices.DeleteFunc(f.lines(t), func(line map[string]any) bool { return !isMetrics(line) })
}

func isMetrics(line map[string]any) bool { return line["_aws"] != nil }

func (f *Function) lines(t testing.TB) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(f.read(t, stdout)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Errorf("a log line is not JSON: %v: %q", err, line)
			continue
		}
		lines = append(lines, m)
	}
	return lines
}

// Stderr returns what went to standard error so far.
func (f *Function) Stderr(t testing.TB) string {
	t.Helper()
	return f.read(t, stderr)
}

const stdout, stderr = "stdout", "stderr"

func (f *Function) read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.output, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

const prefix = "/2018-06-01/runtime/"

func (f *Function) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"invocation/next", f.serveNext)
	mux.HandleFunc("POST "+prefix+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		body, ok := f.body(w, r)
		if ok {
			f.finish(w, r.PathValue("id"), answer{payload: body})
		}
	})
	mux.HandleFunc("POST "+prefix+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		if failure, ok := f.readError(w, r); ok {
			f.finish(w, r.PathValue("id"), answer{failure: failure})
		}
	})
	mux.HandleFunc("POST "+prefix+"init/error", func(w http.ResponseWriter, r *http.Request) {
		failure, ok := f.readError(w, r)
		if !ok {
			return
		}
		if r.Header.Get("Lambda-Runtime-Function-Error-Type") == "" {
			f.fault("an init error without Lambda-Runtime-Function-Error-Type")
		}
		f.mu.Lock()
		f.initError = failure
		f.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.fault("no such call: " + r.Method + " " + r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	})
	return mux
}

func (f *Function) serveNext(w http.ResponseWriter, r *http.Request) {
	select {
	case inv := <-f.next:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", f.options.ARN)
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0")
		_, _ = w.Write(inv.payload)
	case <-r.Context().Done():
	case <-f.exited:
	}
}

// maxPayload is what Lambda takes as an answer.
const maxPayload = 6 << 20 // 6 MiB

func (f *Function) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if err != nil {
		f.fault(fmt.Sprintf("%s: %v", r.URL.Path, err))
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}
	return b, err == nil
}

func (f *Function) readError(w http.ResponseWriter, r *http.Request) (*messages.InvokeResponse_Error, bool) {
	b, ok := f.body(w, r)
	if !ok {
		return nil, false
	}
	var failure messages.InvokeResponse_Error
	if err := json.Unmarshal(b, &failure); err != nil || failure.Message == "" {
		f.fault(fmt.Sprintf("%s with a body that is no error: %v: %q", r.URL.Path, err, b))
		w.WriteHeader(http.StatusBadRequest)
		return nil, false
	}
	return &failure, true
}

func (f *Function) finish(w http.ResponseWriter, id string, a answer) {
	f.mu.Lock()
	inv := f.current
	f.mu.Unlock()
	if inv == nil || inv.id != id {
		f.fault("an answer to " + id + ", which was not asked")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	select {
	case inv.answer <- a:
		w.WriteHeader(http.StatusAccepted)
	default:
		f.fault("a second answer to " + id)
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (f *Function) fault(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, what)
}

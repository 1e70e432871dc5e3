package lambdaruntime

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
)

// bootstrap builds testdata/function.
func bootstrap(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts a process")
	}
	path := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/function")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestInvoke(t *testing.T) {
	t.Setenv("TESTERS_SECRET", "secret")
	f := Start(t, bootstrap(t), Options{ARN: "arn:aws:lambda:eu-west-1:123456789012:function:f"})
	for _, want := range []string{`{"a": 1}`, "not JSON"} {
		b, err := f.Invoke(t.Context(), []byte(want))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Event, RequestID, ARN, Secret string
			HasDeadline                   bool
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if got.Event != want {
			t.Errorf("the event arrives as %q, want %q", got.Event, want)
		}
		if got.RequestID == "" || got.ARN != "arn:aws:lambda:eu-west-1:123456789012:function:f" || !got.HasDeadline {
			t.Errorf("the invocation's context is incomplete: %+v", got)
		}
		if got.Secret != "" {
			t.Error("the tester's environment reaches the function")
		}
	}
}

func TestFailures(t *testing.T) {
	path := bootstrap(t)
	t.Run("error", func(t *testing.T) {
		f := Start(t, path, Options{})
		_, err := f.Invoke(t.Context(), []byte(`"fail"`))
		var failure messages.InvokeResponse_Error
		if !errors.As(err, &failure) || failure.Message != "as it was told" {
			t.Fatalf("the error is %v", err)
		}
		if _, err := f.Invoke(t.Context(), []byte(`{}`)); err != nil {
			t.Errorf("after an error the function does not go on: %v", err)
		}
	})
	t.Run("panic", func(t *testing.T) {
		f := Start(t, path, Options{})
		_, err := f.Invoke(t.Context(), []byte(`"panic"`))
		var failure messages.InvokeResponse_Error
		if !errors.As(err, &failure) || len(failure.StackTrace) == 0 {
			t.Fatalf("the error is %v, want one with a stack", err)
		}
		if status, err := f.Exited(t.Context()); status == 0 || err != nil {
			t.Errorf("exit status %d, %v", status, err)
		}
		if _, err := f.Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, ErrExited) {
			t.Errorf("after the panic: %v, want ErrExited", err)
		}
	})
	t.Run("exit", func(t *testing.T) {
		f := Start(t, path, Options{})
		if _, err := f.Invoke(t.Context(), []byte(`"exit"`)); !errors.Is(err, ErrExited) {
			t.Errorf("the error is %v, want ErrExited", err)
		}
		if status, err := f.Exited(t.Context()); status != 3 || err != nil {
			t.Errorf("exit status %d, %v, want 3", status, err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		f := Start(t, path, Options{Timeout: time.Second})
		if _, err := f.Invoke(t.Context(), []byte(`"wait"`)); !errors.Is(err, ErrTimedOut) {
			t.Errorf("the error is %v, want ErrTimedOut", err)
		}
	})
	t.Run("cold start", func(t *testing.T) {
		f := Start(t, path, Options{Env: map[string]string{"FAIL": "not today"}})
		failure, err := f.InitError(t.Context())
		if err != nil || failure == nil || failure.Message != "not today" {
			t.Fatalf("reported %v, %v", failure, err)
		}
		if status, err := f.Exited(t.Context()); status != 1 || err != nil {
			t.Errorf("exit status %d, %v, want 1", status, err)
		}
		lines := f.Log(t)
		if len(lines) != 1 || lines[0]["message"] != "cold start failed" ||
			!strings.Contains(lines[0]["error"].(string), "not today") {
			t.Errorf("log %v", lines)
		}
	})
}

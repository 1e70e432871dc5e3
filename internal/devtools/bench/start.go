package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/devtools/dist"
)

// startsPerRound: a start takes so little time that many are measured.
const startsPerRound = 10

// functionEnv is what each function needs in its environment to start.
var functionEnv = map[string][]string{
	"filter": {"SOCI_REPOSITORY_IMAGE_TAG_FILTERS=*:*",
		"SOCI_INDEX_GENERATOR_LAMBDA_ARN=arn:aws:lambda:us-west-2:123456789012:function:generator"},
}

// startUp measures what the programs need before they do anything.
func (r *runner) startUp(ctx context.Context) ([]*table.Table, error) {
	starts := startsPerRound * r.Rounds
	t := &table.Table{
		Title:   "From the start of a process",
		Columns: []string{"program, until", "CPU ms", "wall ms"},
		Notes: []string{
			fmt.Sprintf("Of %d starts the least CPU (user and system) and the least wall time, of programs in the "+
				"system's cache. Built from this tree with the flags of a release, the command line without the "+
				"functions in it.", starts),
			"A function's first poll is its first request for an event to the runtime API, a server on this machine.",
		},
	}
	here := dist.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}
	r.Progress("compiling the command line")
	program := filepath.Join(r.temp, "soci-index-builder")
	if err := dist.CommandLine(ctx, here, program); err != nil {
		return nil, err
	}
	add := func(name string, start func() (child.Usage, error)) error {
		r.Progress("%s: %d starts", name, starts)
		var least measurement
		for i := range starts {
			u, err := start()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			least.add(u, i == 0)
		}
		t.Add(name, milliseconds(least.CPU), milliseconds(least.Wall))
		return nil
	}
	err := add("soci-index-builder --version, end", func() (child.Usage, error) { return runVersion(ctx, program) })
	if err != nil {
		return nil, err
	}
	for _, function := range dist.Functions {
		r.Progress("compiling the function %s", function)
		bootstrap := filepath.Join(r.temp, function, "bootstrap")
		if err := dist.Bootstrap(ctx, function, here.OS, here.Arch, bootstrap); err != nil {
			return nil, err
		}
		err := add(function+", first poll", func() (child.Usage, error) {
			return firstPoll(ctx, bootstrap, functionEnv[function])
		})
		if err != nil {
			return nil, err
		}
	}
	return []*table.Table{t}, nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}

// runVersion runs the command line to its end.
func runVersion(ctx context.Context, program string) (child.Usage, error) {
	cmd := exec.CommandContext(ctx, program, "--version")
	start := time.Now()
	out, err := cmd.Output()
	wall := time.Since(start)
	if err != nil {
		return child.Usage{}, err
	}
	if !bytes.HasPrefix(out, []byte("soci-index-builder ")) {
		return child.Usage{}, fmt.Errorf("--version prints %q", out)
	}
	return usageOf(cmd, wall), nil
}

// errNoPoll: the function ended, or said that it cannot start.
var errNoPoll = errors.New("the function asks for no event")

// firstPoll starts a function as Lambda does, and ends it when it asks for its
// first event.
func firstPoll(ctx context.Context, bootstrap string, env []string) (child.Usage, error) {
	polled, failed := make(chan time.Time, 1), make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(_ http.ResponseWriter, q *http.Request) {
		select {
		case polled <- time.Now():
		default:
		}
		<-q.Context().Done() // there is no event
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(_ http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(q.Body, 2000)) // what there is of it
		select {
		case failed <- string(b):
		default:
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return child.Usage{}, err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until Close
	defer server.Close()

	ctx, kill := context.WithTimeout(ctx, time.Minute)
	defer kill()
	cmd := exec.CommandContext(ctx, bootstrap)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Dir = filepath.Dir(bootstrap)
	cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(),
		"AWS_LAMBDA_FUNCTION_NAME=test", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769",
		"AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2",
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example", "AWS_EC2_METADATA_DISABLED=true",
		"TMPDIR=" + cmd.Dir,
	}, env...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return child.Usage{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case at := <-polled:
		kill() // its processor time ends here
		<-ended
		return usageOf(cmd, at.Sub(start)), nil
	case why := <-failed:
		kill()
		<-ended
		return child.Usage{}, fmt.Errorf("%w: %s", errNoPoll, why)
	case err := <-ended:
		return child.Usage{}, fmt.Errorf("%w: it ended (%v): %.2000s", errNoPoll, err, said.String())
	}
}

// usageOf is what an ended process used.
func usageOf(cmd *exec.Cmd, wall time.Duration) child.Usage {
	return child.Usage{CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Wall: wall}
}

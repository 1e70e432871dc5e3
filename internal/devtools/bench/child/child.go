// Package child runs one piece of work in its own process, which is this
// program again, and measures its processor time, memory and disk use. A
// program that uses it calls Main first of all, and Run or Start afterwards.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// env tells a child what it is. Its work comes in on standard input, and its
// reply goes out on standard output.
const env = "SOCI_BENCH_CHILD"

// ErrDied: the child ended without a reply.
var ErrDied = errors.New("the measuring process died")

// Func is a piece of work. What it returns is sent to the parent as JSON; a
// Finisher is given the chance to do so outside the measured time.
type Func func(ctx context.Context, in json.RawMessage) (any, error)

// Finisher completes a result outside the measured time.
type Finisher interface {
	Finish() (any, error)
}

// Options of Run and Start. The zero value is the default throughout.
type Options struct {
	// Processors is GOMAXPROCS of the child. The default is that of the parent.
	Processors int

	// TempDir is where the child keeps temporary files. The default is the
	// parent's.
	TempDir string

	// Profile is the file that gets a processor profile. The default is none.
	Profile string
}

// Usage is what a piece of work took. Start-up of the process is not in it,
// except in PeakMemory.
type Usage struct {
	CPU         time.Duration // user and system
	Wall        time.Duration
	PeakMemory  int64 // bytes resident at most
	AllocBytes  int64 // by Go's allocator
	Allocs      int64
	DiskWritten int64 // bytes; -1 where the system does not tell
}

type request struct {
	Func    string
	In      json.RawMessage
	Profile string
}

type reply struct {
	Error string // "" for success
	Usage Usage
	Out   json.RawMessage
}

// replies is the standard output that the process began with.
var replies = os.Stdout

// Main does the work that the process was started for and ends it. In any
// other process it returns at once.
func Main(funcs map[string]Func) {
	if os.Getenv(env) == "" {
		return
	}
	os.Stdout = os.Stderr // what the work prints must not get among the replies
	var q request
	in := json.NewDecoder(os.Stdin)
	if err := in.Decode(&q); err != nil {
		fmt.Fprintln(os.Stderr, "reading what to do:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // a parent that has gone, or has enough, closes the pipe
		_, _ = io.Copy(io.Discard, io.MultiReader(in.Buffered(), os.Stdin))
		cancel()
	}()
	var a reply
	if f, ok := funcs[q.Func]; !ok {
		a.Error = fmt.Sprintf("no work is called %q", q.Func)
	} else if err := a.measure(ctx, f, q); err != nil {
		a.Error = err.Error()
	}
	if err := json.NewEncoder(replies).Encode(a); err != nil {
		fmt.Fprintln(os.Stderr, "telling the result:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

func (a *reply) measure(ctx context.Context, f Func, q request) error {
	if q.Profile != "" {
		out, err := os.Create(q.Profile)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	disk := diskWritten()
	cpu, start := cpuTime(), time.Now()
	result, err := f(ctx, q.In)
	a.Usage.Wall, a.Usage.CPU = time.Since(start), cpuTime()-cpu
	a.Usage.PeakMemory = peakMemory()
	if a.Usage.DiskWritten = -1; disk >= 0 {
		a.Usage.DiskWritten = diskWritten() - disk
	}
	runtime.ReadMemStats(&after)
	a.Usage.AllocBytes = int64(after.TotalAlloc - before.TotalAlloc)
	a.Usage.Allocs = int64(after.Mallocs - before.Mallocs)
	if err != nil {
		return err
	}
	if fin, ok := result.(Finisher); ok {
		if result, err = fin.Finish(); err != nil {
			return err
		}
	}
	a.Out, err = json.Marshal(result)
	return err
}

// Process is a child under way.
type Process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *json.Decoder
	name  string
	log   strings.Builder // its standard error
}

// Start begins the work that Main knows by name.
func Start(ctx context.Context, name string, in any, o Options) (*Process, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.CommandContext(ctx, exe), name: name}
	p.cmd.Env = append(os.Environ(), env+"=1")
	if o.Processors > 0 {
		p.cmd.Env = append(p.cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", o.Processors))
	}
	if o.TempDir != "" {
		p.cmd.Env = append(p.cmd.Env, "TMPDIR="+o.TempDir)
	}
	p.cmd.Stderr = &p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.out = stdin, json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(stdin).Encode(request{name, b, o.Profile}); err != nil {
		return nil, p.died(err)
	}
	return p, nil
}

// Receive waits for something that the work itself sends with Send.
func (p *Process) Receive(v any) error {
	if err := p.out.Decode(v); err != nil {
		return p.died(err)
	}
	return nil
}

// Send tells the parent something before the work is done.
func Send(v any) error { return json.NewEncoder(replies).Encode(v) }

// Wait waits for the end of the work and stores its result in out, which may
// be nil.
func (p *Process) Wait(out any) (Usage, error) {
	var a reply
	if err := p.out.Decode(&a); err != nil {
		return Usage{}, p.died(err)
	}
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return Usage{}, fmt.Errorf("%s: %w: %w", p.name, ErrDied, err)
	}
	if a.Error != "" {
		return a.Usage, fmt.Errorf("%s: %s", p.name, a.Error)
	}
	if out != nil {
		if err := json.Unmarshal(a.Out, out); err != nil {
			return a.Usage, fmt.Errorf("%s: its result: %w", p.name, err)
		}
	}
	return a.Usage, nil
}

// Stop cancels the context of the work and waits for its end.
func (p *Process) Stop(out any) (Usage, error) {
	p.stdin.Close()
	return p.Wait(out)
}

// died ends the process and says what it had to say.
func (p *Process) died(err error) error {
	p.stdin.Close()
	_ = p.cmd.Process.Kill() // it may be gone already
	werr := p.cmd.Wait()
	said := strings.TrimSpace(p.log.String())
	if len(said) > 2000 {
		said = said[:2000]
	}
	return fmt.Errorf("%s: %w: %w (%v): %s", p.name, ErrDied, err, werr, said)
}

// Run does the work that Main knows by name, in a process of its own, and
// stores its result in out, which may be nil.
func Run(ctx context.Context, name string, in, out any, o Options) (Usage, error) {
	p, err := Start(ctx, name, in, o)
	if err != nil {
		return Usage{}, err
	}
	return p.Wait(out)
}

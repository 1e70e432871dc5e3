package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

type sumIn struct{ A, B int }

type late struct{ sum int }

func (l late) Finish() (any, error) {
	time.Sleep(300 * time.Millisecond) // must not be measured
	return l.sum, nil
}

var sink []byte

func decode[T any](in json.RawMessage) T {
	var v T
	if err := json.Unmarshal(in, &v); err != nil {
		panic(err)
	}
	return v
}

func TestMain(m *testing.M) {
	Main(map[string]Func{
		"sum": func(_ context.Context, in json.RawMessage) (any, error) {
			v := decode[sumIn](in)
			fmt.Println("so to speak") // must not get among the replies
			return v.A + v.B, nil
		},
		"late": func(_ context.Context, in json.RawMessage) (any, error) { return late{decode[int](in)}, nil },
		"fail": func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("it went wrong") },
		"exit": func(context.Context, json.RawMessage) (any, error) {
			os.Stderr.WriteString("last words")
			os.Exit(3)
			return nil, nil
		},
		"burn": func(_ context.Context, in json.RawMessage) (any, error) {
			for n, start := 0, cpuTime(); cpuTime()-start < decode[time.Duration](in); n++ {
			}
			return runtime.GOMAXPROCS(0), nil
		},
		"hold": func(_ context.Context, in json.RawMessage) (any, error) {
			sink = make([]byte, decode[int](in))
			for i := range sink {
				sink[i] = 1
			}
			return nil, nil
		},
		"write": func(_ context.Context, in json.RawMessage) (any, error) {
			path := filepath.Join(os.TempDir(), "written")
			f, err := os.Create(path)
			if err != nil {
				return nil, err
			}
			_, err = f.Write(make([]byte, decode[int](in)))
			return path, errors.Join(err, f.Sync(), f.Close())
		},
		"serve": func(ctx context.Context, _ json.RawMessage) (any, error) {
			if err := Send("ready"); err != nil {
				return nil, err
			}
			<-ctx.Done()
			return "stopped", nil
		},
	})
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	var got int
	if _, err := Run(t.Context(), "sum", sumIn{2, 3}, &got, Options{}); err != nil || got != 5 {
		t.Errorf("the sum is %d, %v", got, err)
	}
	u, err := Run(t.Context(), "late", 7, &got, Options{})
	if err != nil || got != 7 {
		t.Errorf("the late result is %d, %v", got, err)
	}
	if u.Wall >= 300*time.Millisecond {
		t.Errorf("what comes after the work was measured: %v", u.Wall)
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name string
		died bool
		want string
	}{
		{"fail", false, "fail: it went wrong"},
		{"exit", true, "last words"},
		{"nothing of this name", false, `no work is called "nothing of this name"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Run(t.Context(), row.name, nil, nil, Options{})
			if err == nil || errors.Is(err, ErrDied) != row.died || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want %q in it", err, row.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, "sum", sumIn{}, nil, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, the error is %v", err)
	}
}

func TestUsage(t *testing.T) {
	const burn = 50 * time.Millisecond
	var processors int
	u, err := Run(t.Context(), "burn", burn, &processors, Options{Processors: 1})
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU < burn || u.Wall < burn/2 {
		t.Errorf("%v of processor time took %v, in %v", burn, u.CPU, u.Wall)
	}
	if processors != 1 {
		t.Errorf("GOMAXPROCS is %d", processors)
	}

	// The parent's memory does not count as the child's.
	sink = make([]byte, 300<<20)
	for i := 0; i < len(sink); i += 4096 {
		sink[i] = 1
	}
	const held = 64 << 20
	if u, err = Run(t.Context(), "hold", held, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if u.PeakMemory < held || u.PeakMemory > 200<<20 {
		t.Errorf("the peak of %d bytes is %d", held, u.PeakMemory)
	}
	if u.AllocBytes < held || u.Allocs < 1 {
		t.Errorf("%d bytes in %d allocations", u.AllocBytes, u.Allocs)
	}
	sink = nil
}

func TestDisk(t *testing.T) {
	const n = 1 << 20
	dir := t.TempDir()
	var path string
	u, err := Run(t.Context(), "write", n, &path, Options{TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(path) != dir {
		t.Errorf("temporary files are in %s, not in %s", path, dir)
	}
	if u.DiskWritten == 0 {
		t.Skip("temporary files are kept in memory on this machine")
	}
	if u.DiskWritten != -1 && u.DiskWritten < n {
		t.Errorf("%d bytes are counted as %d", n, u.DiskWritten)
	}
}

func TestProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile")
	if _, err := Run(t.Context(), "burn", 50*time.Millisecond, nil, Options{Profile: path}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("the profile: %v, %v", info, err)
	}
}

func TestServer(t *testing.T) {
	p, err := Start(t.Context(), "serve", nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var said, end string
	if err := p.Receive(&said); err != nil || said != "ready" {
		t.Fatalf("it says %q, %v", said, err)
	}
	if _, err := p.Stop(&end); err != nil || end != "stopped" {
		t.Errorf("at the end it says %q, %v", end, err)
	}
}

package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/text/bytesize"
)

// machine names what the run was made on and with.
func (r *runner) machine(ctx context.Context) ([]*table.Table, error) {
	t := &table.Table{Title: "The run"}
	note := func(format string, args ...any) { t.Notes = append(t.Notes, fmt.Sprintf(format, args...)) }
	note("Date: %s", r.start.UTC().Format("2006-01-02"))
	cpu := field("/proc/cpuinfo", "model name")
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	note("Processor: %s, %d cores; memory: %s; %s %s", cpu, runtime.NumCPU(), memory(), runtime.GOOS, kernel())
	note("Go: %s", runtime.Version())
	versions := append([]string{}, contender.Versions...)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/klauspost/compress" {
				versions = append(versions, "klauspost/compress "+m.Version)
			}
		}
	}
	note("Beside: %s", strings.Join(versions, ", "))
	pigz := corpus.Pigz(ctx, 6)
	if pigz.HasPigz() {
		note("Layers packed by pigz -6")
	} else {
		note("Layers packed by %s: pigz is not installed", pigz.Name)
	}
	layers := "each of all files"
	if r.Sizes.Layer > 0 {
		layers = fmt.Sprintf("each a sample of %s of its files", sizeName(r.Sizes.Layer))
	}
	note("Layers of real files: %s; %d rounds, elsewhere %d at most", layers, r.Rounds, matrixRounds)
	idle, err := child.Run(ctx, workNothing, nil, nil, child.Options{Processors: 1})
	if err != nil {
		return nil, err
	}
	note("Of every peak of memory %s MB are this program at rest, with all contenders in it", table.MB(idle.PeakMemory))
	t.Notes = append(t.Notes, missing()...)
	return []*table.Table{t}, nil
}

// memory is all that the machine has.
func memory() string {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return "unknown"
	}
	return bytesize.Format(kib << 10)
}

// field reads the first line of that name, "name : value".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOARCH
	}
	return strings.TrimSpace(string(b)) + " " + runtime.GOARCH
}

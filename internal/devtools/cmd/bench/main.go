// Bench prints what building zTOCs costs, in tables, beside what others take
// for the same layers in the same run. Run it with make bench, which builds it
// with upstream's library where that can be linked.
//
// It reads the files of this machine, makes layers of them, and keeps these in
// a directory of the user's cache for the next run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"soci-index-builder/internal/devtools/bench"
	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/plot"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/text/bytesize"
)

func main() {
	child.Main(bench.Work())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// optional are the sections that have to be asked for.
var optional = []string{"profile"}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, document, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var old []byte
	if document != "" {
		if old, err = os.ReadFile(document); err != nil {
			return fmt.Errorf("flag -markdown: %w", err)
		}
		var all []table.Section
		for _, name := range o.Sections {
			all = append(all, table.Section{Name: name})
		}
		// Better now than after the work.
		if _, err := table.Renew(old, all); err != nil {
			return fmt.Errorf("flag -markdown: %s: %w", document, err)
		}
	}
	start := time.Now()
	o.Progress = func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	var done []table.Section
	err = bench.Run(ctx, o, func(s table.Section) error {
		done = append(done, s)
		return s.Text(stdout)
	})
	if err != nil || document == "" {
		return err
	}
	renewed, err := table.Renew(old, done)
	if err != nil {
		return err
	}
	if err := os.WriteFile(document, renewed, 0o644); err != nil {
		return err
	}
	return plot.Draw(document)
}

// parse returns what the flags ask for, and the document to renew.
func parse(args []string, stderr io.Writer) (bench.Options, string, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := bench.SectionNames()
	sections := flags.String("sections", "", "only these `sections`, separated by commas: "+strings.Join(names, ", "))
	full := flags.Bool("full", false, "take all files, and measure up to 1,000,000 entries and 2 GB")
	profile := flags.Bool("profile", false, "show where the time goes as well (needs the go command)")
	rounds := flags.Int("rounds", 3, "measure `N` times; the least counts")
	layer := flags.String("layer-size", "",
		"`size` of each layer of real files before compression, as 320MiB; 0 takes all files")
	speed := flags.String("speed", "30MiB", "`bytes` per second of each connection to the slow registry")
	work := flags.String("work", "",
		"`directory` for the layers, which are kept (default: in the user's cache directory)")
	document := flags.String("markdown", "", "renew the tables in this `file` as well, and the pictures beside it")
	python := flags.String("python", "",
		"`directories` of the layer python, separated by commas (default: what there is of pyenv and the system's)")
	lib := flags.String("lib", "/usr/lib", "`directories` of the layer lib")
	share := flags.String("share", "", "`directories` of the layer share (default: /usr/share and the Go installation)")
	if err := flags.Parse(args); err != nil {
		return bench.Options{}, "", err
	}
	if flags.NArg() > 0 {
		return bench.Options{}, "", fmt.Errorf("argument %q: there are only flags", flags.Arg(0))
	}
	o := bench.Options{Work: *work, Sizes: bench.Short, Rounds: *rounds}
	if *full {
		o.Sizes = bench.Full
	}
	var err error
	if *layer != "" {
		if o.Sizes.Layer, err = bytesize.Parse(*layer); err != nil {
			return o, "", fmt.Errorf("flag -layer-size: %w", err)
		}
		if o.Sizes.Layer > 0 {
			o.Sizes.Hard = min(o.Sizes.Hard, o.Sizes.Layer)
		}
	}
	if o.Speed, err = bytesize.Parse(*speed); err != nil {
		return o, "", fmt.Errorf("flag -speed: %w", err)
	}
	if o.Work == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return o, "", fmt.Errorf("no place for the layers; name one with -work: %w", err)
		}
		o.Work = filepath.Join(cache, "soci-index-builder-bench")
	}
	switch {
	case *sections != "":
		o.Sections = strings.Split(*sections, ",")
	default:
		o.Sections = slices.DeleteFunc(names, func(s string) bool { return slices.Contains(optional, s) && !*profile })
	}
	if *profile && !slices.Contains(o.Sections, "profile") {
		o.Sections = append(o.Sections, "profile")
	}
	for _, l := range []struct {
		name, roots string
		usual       []string
	}{{"python", *python, pythonTrees()}, {"lib", *lib, nil},
		{"share", *share, append([]string{"/usr/share"}, goTree()...)}} {
		roots := l.usual
		if l.roots != "" {
			roots = strings.Split(l.roots, ",")
			for _, root := range roots {
				if _, err := os.Stat(root); err != nil {
					return o, "", fmt.Errorf("flag -%s: %w", l.name, err)
				}
			}
		}
		o.Layers = append(o.Layers, bench.RealLayer{Name: l.name, Roots: roots})
	}
	return o, *document, nil
}

// pythonTrees finds Python installations: the first kind that there is.
func pythonTrees() []string {
	home, _ := os.UserHomeDir()
	for _, pattern := range []string{filepath.Join(home, ".pyenv"), "/opt/conda", "/usr/local/lib/python3*",
		"/usr/lib/python3*"} {
		found, _ := filepath.Glob(pattern) // the patterns are sound
		// An empty directory is often left where Python's own files would be.
		found = slices.DeleteFunc(found, func(dir string) bool {
			entries, err := os.ReadDir(dir)
			return err != nil || len(entries) < 2
		})
		if len(found) > 0 {
			return found
		}
	}
	return []string{"/usr/lib/python3"}
}

// goTree is the Go installation, if the go command tells.
func goTree() []string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if root := strings.TrimSpace(string(out)); err == nil && root != "" {
		return []string{root}
	}
	return nil
}

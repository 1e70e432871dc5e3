// Package demo runs the whole flow on one machine: it pushes an image to a
// registry, passes ECR's event about it to the filter's and the generator's
// handlers, and verifies and uses the resulting SOCI index. Begin with Run.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Options of Run. The zero value is the default throughout.
type Options struct {
	// Files is the directory that the image is made of. The default is the Go
	// installation; without one, files of the system.
	Files string

	// Image is used as it is instead.
	Image *Image

	// Logger takes what the handlers log. The default is none.
	Logger *slog.Logger

	// Keep leaves the registry running after the demo, until the context ends,
	// which is then no error.
	Keep bool

	// Program is the name of the command line in what the demo says to do next.
	// The default is "soci-index-builder".
	Program string

	// Clone says that the program was built in a clone, without the functions: it
	// cannot deploy, and "make" calls it.
	Clone bool

	// Busy, if set, is called when the image begins to be copied into the demo's
	// registry, which may take long, and what it returns at the end of that.
	Busy func(image string) (done func())

	// TempDir is where all data is kept during the run. The default is the
	// system's.
	TempDir string
}

// ErrNoLayer: the image has no layer that is large enough to be indexed, so
// there is nothing to show.
var ErrNoLayer = errors.New("no layer to index")

// The repository and tag of the image in the demo's registry.
const (
	repository = "demo/app"
	tag        = "1.0"
)

// Run does it all and tells w of each step. It leaves nothing behind when it
// returns.
func Run(ctx context.Context, w io.Writer, o Options) (err error) {
	if o.Files != "" && o.Image != nil {
		return errors.New("the demo takes files or an image, not both")
	}
	if o.Busy == nil {
		o.Busy = func(string) func() { return func() {} }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp(o.TempDir, "soci-index-builder-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary folder in %q, which TMPDIR may name: %w", cmp.Or(o.TempDir, os.TempDir()),
			err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	storage := filepath.Join(dir, "registry")
	if err := os.Mkdir(storage, 0o700); err != nil {
		return err
	}
	registry, err := startRegistry(storage)
	if err != nil {
		return err
	}
	// An error about its storage does not matter: the storage is deleted too.
	defer func() { _ = registry.close() }()

	run := &run{w: w, screen: terminal.Of(w), registry: registry, logger: o.Logger, keep: o.Keep, busy: o.Busy,
		program: cmp.Or(o.Program, "soci-index-builder")}
	run.deploy, run.again = run.program+" deploy", run.program+" demo --keep"
	if o.Clone {
		run.deploy, run.again = "make install && soci-index-builder deploy", "make demo DEMO_FLAGS=--keep"
	}
	var image *source
	if o.Image != nil {
		image = o.Image.source()
	} else if image, err = imageOfFiles(ctx, o.Files, dir); err != nil {
		return err
	}
	if err := run.all(ctx, image); err != nil {
		return err
	}
	if o.Keep {
		<-ctx.Done()
	}
	return nil
}

// imageOfFiles makes the image of a directory, or of what is there if none is
// named.
func imageOfFiles(ctx context.Context, dir, temp string) (*source, error) {
	from := files{dir, nil, "an image of the files in " + dir}
	if dir == "" {
		var err error
		if from, err = defaultFinder.find(ctx); err != nil {
			return nil, err
		}
	}
	return makeImage(ctx, from, temp)
}

type run struct {
	w        io.Writer
	screen   terminal.Screen
	registry *localRegistry
	logger   *slog.Logger
	keep     bool
	busy     func(image string) (done func())
	program  string
	deploy   string // what to type to deploy
	again    string // what to type for a demo whose registry stays
	err      error  // of writing; sticky
}

// printf writes whole lines, which fit a terminal.
func (r *run) printf(format string, args ...any) {
	r.asIs(r.screen.FillLines(fmt.Sprintf(format, args...)))
}

// paragraph writes prose of several lines below a step.
func (r *run) paragraph(format string, args ...any) {
	const indent, columns = "   ", 80 // where there is no terminal
	for _, line := range terminal.Wrap(fmt.Sprintf(format, args...), cmp.Or(r.screen.Width, columns)-len(indent)) {
		r.asIs(indent + line + "\n")
	}
}

// asIs writes what is not to be broken, such as a command to be copied.
func (r *run) asIs(text string) {
	if r.err == nil {
		_, r.err = io.WriteString(r.w, text)
	}
}

// step begins the step of a number.
func (r *run) step(number int, format string, args ...any) {
	text := r.screen.FillLines(fmt.Sprintf("%d. %s", number, fmt.Sprintf(format, args...)))
	r.asIs(r.screen.Paint(terminal.Bold, text) + "\n")
}

func (r *run) all(ctx context.Context, image *source) error {
	ref := r.registry.host() + "/" + repository + ":" + tag
	r.step(1, "Push %s to a registry on this machine", image.what)
	done := r.busy(image.what)
	err := image.push(ctx, ref)
	done()
	if err != nil {
		return fmt.Errorf("pushing %s: %w", image.what, err)
	}
	repo, err := ecrclient.New(ref, ecrclient.WithPlainHTTP(true), ecrclient.WithLogger(r.logger))
	if err != nil {
		return err
	}
	desc, err := repo.Resolve(ctx, tag)
	if err != nil {
		return err
	}
	r.printf("   %s\n   %s\n", ref, names.ShortDigest(desc.Digest.String()))

	result, err := r.handleEvent(ctx, desc)
	if err != nil {
		return err
	}
	if fix := result.Fix(); fix != "" && result.Outcome != soci.OutcomeIndexed {
		return fmt.Errorf("%w: layers of %s are compressed with zstd; %s", ErrNoLayer, image.what, fix)
	}
	if result.Outcome != soci.OutcomeIndexed {
		return fmt.Errorf("%w: the layers of %s are below %s, or of a kind that cannot be indexed: name more files by "+
			"--files, such as /usr/share, or another --image", ErrNoLayer, image.what,
			bytesize.Format(soci.DefaultMinLayerSize))
	}
	r.step(4, "Ask the registry for the referrers of each platform's image manifest (v1), and for the suffixed "+
		"tag (v2)")
	found, err := inspect.LoadVersions(ctx, repo, desc, tag, names.DefaultTagSuffix)
	if err != nil {
		return err
	}
	r.found(found)
	r.step(5, "Verify both: read every file by way of its zTOC, and compare with a plain read")
	report, err := verify.New(repo, verify.Options{}).Versions(ctx, found, soci.Both)
	if err != nil {
		return err
	}
	if err := r.verified(report); err != nil {
		return err
	}
	r.table(result, report)
	file, err := r.lazyRead(ctx, repo, report)
	if err != nil {
		return err
	}
	if err := r.estimate(ctx, repo, found, report, file); err != nil {
		return err
	}
	r.next(file)
	return r.err
}

// found tells which SOCI indexes are in the registry.
func (r *run) found(image *inspect.Versions) {
	for _, m := range image.Images() {
		for _, index := range m.SociIndexes {
			r.printf("   %s: SOCI index %s %s\n", m.Platform, index.Version, names.ShortDigest(index.Digest.String()))
		}
	}
	r.printf("   %s:%s is the SOCI-enabled image %s\n", repository, image.Suffixed.Tag,
		names.ShortDigest(image.Suffixed.Digest.String()))
	for _, m := range image.Suffixed.Image.Images() {
		for _, index := range m.SociIndexes {
			r.printf("   %s: SOCI index %s %s\n", m.Platform, index.Version, names.ShortDigest(index.Digest.String()))
		}
	}
}

// next tells what to do after the demo; file is one of the image, or empty.
func (r *run) next(file string) {
	r.printf("\n%s\n   Deploy the builder into an AWS account, and push an image:\n",
		r.screen.Paint(terminal.Bold, "What to do next"))
	r.command(r.deploy)
	r.paragraph("To have it loaded lazily, name the suffixed tag in the task definition (Fargate and ECS), or in the "+
		"pod's manifest: REPOSITORY:TAG%s instead of REPOSITORY:TAG. Nothing else changes.", names.DefaultTagSuffix)
	if !r.keep {
		r.printf("   Look at what this demo made, in a registry that keeps running:\n")
		r.command(r.again)
		return
	}
	at := r.registry.host() + "/" + repository
	r.printf("\nThe registry runs at %s until Ctrl-C. Try these in another terminal:\n", r.registry.host())
	r.command(r.program + " inspect " + at + ":" + tag)
	r.command(r.program + " status " + at)
	r.command(r.program + " verify " + at + ":" + tag)
	if file != "" && !strings.Contains(file, "'") {
		r.command(r.program + " estimate --path '" + file + "' " + at + ":" + tag)
	}
}

// command writes a command to be copied.
func (r *run) command(text string) { r.asIs("      " + text + "\n") }

// verified tells what was compared; a difference is an error.
func (r *run) verified(report *verify.Report) error {
	if n := report.Differences(); n > 0 {
		for _, index := range report.Indexes {
			differences := index.Differences
			for _, l := range index.Layers {
				differences = append(differences, l.Differences...)
			}
			for _, d := range differences {
				r.printf("   %s: %s\n", r.screen.Paint(terminal.Bad, "DIFFERENCE"), d)
			}
		}
		return fmt.Errorf("%w: %d found", verify.ErrDifference, n)
	}
	var layers, spans, files int
	var compared int64
	for _, l := range report.Layers() {
		layers, spans, files, compared = layers+1, spans+l.Spans, files+l.Files, compared+l.Bytes
	}
	r.printf("   %s%s, %s, %s, %s compared in %.1f s: %s\n", r.screen.Mark(terminal.Good), count(layers, "layer"),
		count(spans, "span"), count(files, "file"), bytesize.Format(compared), report.Seconds,
		r.screen.Paint(terminal.Good, "no difference"))
	return nil
}

// count is a number with what it counts: "1 layer", "2 layers".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// source is the image to push.
type source struct {
	what string // for people
	push func(ctx context.Context, ref string) error
}

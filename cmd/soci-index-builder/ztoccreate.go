package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"soci-index-builder/internal/imagefile/atomicfile"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// stdio is the name of the standard input or output.
const stdio = "-"

type ztocCreateCommand struct {
	spanSize  spanFlag
	maxMemory sizeFlag
	buildTool string
	output    string
	workers   int
}

func newZtocCreateCommand() *cobra.Command {
	c := &ztocCreateCommand{
		spanSize:  newSpanFlag(),
		maxMemory: sizeFlag{bytes: 1 << 30, least: 1},
	}
	cmd := &cobra.Command{
		Use:   "create LAYER",
		Short: "Build the zTOC of a layer, a file or - for standard input",
		Long: `Build the zTOC of a layer: a tar archive compressed with gzip, or a plain one.
The layer is read once, as a stream. The same layer, span size and build-tool
identifier produce the same zTOC.

The zTOC is written completely or not at all. If it is written to a file, its digest,
size and number of spans and entries are printed.`,
		Example: `  soci-index-builder ztoc create -o layer.ztoc layer.tar.gz
  crane blob registry.example.com/app@sha256:... \
      | soci-index-builder ztoc create - > layer.ztoc`,
		Args: takes(1, 1, "one LAYER"),
		RunE: c.run,
	}
	f := cmd.Flags()
	f.Var(&c.spanSize, "span-size", "minimum distance between checkpoints, uncompressed: whole MiB, up to 1GiB")
	f.Var(&c.maxMemory, "max-memory", "memory that building the zTOC may use")
	f.StringVar(&c.buildTool, "build-tool", soci.BuildToolIdentifier,
		"identifier of the build tool, which is part of the zTOC")
	f.StringVarP(&c.output, "output", "o", stdio, "file to write, or - for standard output")
	addLayerWorkers(f, &c.workers)
	_ = cmd.MarkFlagFilename("output")
	return cmd
}

func (c *ztocCreateCommand) run(cmd *cobra.Command, args []string) error {
	if f, ok := cmd.OutOrStdout().(*os.File); ok && c.output == stdio && term.IsTerminal(int(f.Fd())) {
		return usageErrorf("a zTOC is not for terminals: name a file with -o")
	}
	if c.output == string(outputText) || c.output == string(outputJSON) {
		return usageErrorf("%[1]s: --output %[2]s would be a file for the zTOC, not a format: "+
			"name it ./%[2]s if that is meant; --output json of "+
			"\"ztoc info\" shows a zTOC as JSON", cmd.CommandPath(), c.output)
	}
	if c.buildTool == "" {
		return usageErrorf("invalid argument \"\" for \"--build-tool\" flag: must not be empty")
	}
	layer, name, err := openInput(cmd, args[0])
	if err != nil {
		return err
	}
	defer layer.Close()
	z, err := c.build(cmd, layer)
	if errors.Is(err, soci.ErrInvalidOption) {
		return &usageError{err}
	}
	if unsupported, ok := errors.AsType[*soci.UnsupportedError](err); ok && unsupported.Reason.Fix() != "" {
		return fmt.Errorf("building the zTOC of %s: %w: %s", name, err, unsupported.Reason.Fix())
	}
	if err != nil {
		return fmt.Errorf("building the zTOC of %s: %w", name, err)
	}
	b, err := z.Marshal()
	if err != nil {
		return fmt.Errorf("building the zTOC of %s: %w", name, err)
	}
	if c.output == stdio {
		_, err := cmd.OutOrStdout().Write(b)
		return err
	}
	if err := atomicfile.Output(c.output, b); err != nil {
		return err
	}
	p := newPrinter(cmd.OutOrStdout())
	p.printf("%s\n  %s, %s, %d entries\n", digest.FromBytes(b), exactSize(int64(len(b))),
		count(len(z.Checkpoints), "span"), len(z.Entries))
	return p.err
}

func (c *ztocCreateCommand) build(cmd *cobra.Command, layer io.Reader) (*soci.Ztoc, error) {
	size := int64(0)
	if f, ok := layer.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	read := &countingReader{Reader: layer}
	progress := newActivity(cmd, func() string { return read.line(size) })
	defer progress.end()
	return untilEnd(cmd.Context(), func() (*soci.Ztoc, error) {
		return soci.BuildZtoc(read, soci.ZtocOptions{
			SpanSize:            c.spanSize.bytes,
			BuildToolIdentifier: c.buildTool,
			Limits:              soci.Limits{MaxMemory: c.maxMemory.bytes},
			LayerWorkers:        c.workers,
			Size:                size,
		})
	})
}

// untilEnd returns what read returns, or at once when ctx ends, even while the
// standard input is silent; the process ends then, and the goroutine with it.
func untilEnd[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// countingReader counts what is read.
type countingReader struct {
	io.Reader
	n     atomic.Int64
	began atomic.Int64 // the first read, in nanoseconds of the epoch
}

func (r *countingReader) Read(b []byte) (int, error) {
	r.began.CompareAndSwap(0, time.Now().UnixNano())
	n, err := r.Reader.Read(b)
	r.n.Add(int64(n))
	return n, err
}

// line tells how much of a layer is read; its size is 0 when that is not known.
func (r *countingReader) line(size int64) string {
	n := r.n.Load()
	if size <= 0 || n <= 0 {
		return bytesize.Format(n) + " read"
	}
	took := time.Since(time.Unix(0, r.began.Load()))
	left := time.Duration(float64(took) * (float64(size)/float64(n) - 1))
	return fmt.Sprintf("%d %%: %s of %s, about %s left", n*100/size, bytesize.Format(n), bytesize.Format(size),
		about(left))
}

// openInput opens a file, or the standard input for "-", and returns its name
// for people. The caller closes it.
func openInput(cmd *cobra.Command, name string) (io.ReadCloser, string, error) {
	if name == stdio {
		return io.NopCloser(cmd.InOrStdin()), "the standard input", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, "", err
	}
	return f, name, nil
}

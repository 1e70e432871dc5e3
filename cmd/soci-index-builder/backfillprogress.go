package main

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/text/terminal"
)

// backfillProgress shows how many images are done: as a bar on a terminal,
// elsewhere as a line for each image, or while they are waited for every ten seconds.
type backfillProgress struct {
	w    io.Writer
	bars *mpb.Progress // nil when there is no terminal, or no bar any more
	bar  *mpb.Bar
	off  bool
	stop func() // the lines every ten seconds

	images int
	done   atomic.Int64
}

func newBackfillProgress(cmd *cobra.Command, images int) *backfillProgress {
	p := &backfillProgress{w: cmd.ErrOrStderr(), off: quiet(cmd), stop: func() {}, images: images}
	if terminal.Of(p.w).Live() && !p.off {
		p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(min(40, max(10, terminal.Of(p.w).Width-45))))
		p.bar = p.bars.AddBar(int64(images),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d images"), decor.Name("  "),
				decor.AverageETA(decor.ET_STYLE_GO),
				decor.Name(" left")),
		)
	}
	return p
}

// image tells that one more image is done, and how.
func (p *backfillProgress) image(line string) {
	if p.bars != nil {
		p.bar.Increment()
		return
	}
	if !p.off {
		fmt.Fprintln(p.w, line)
	}
}

// await tells that set is going to say how many images are done.
func (p *backfillProgress) await() {
	if p.bars == nil && !p.off {
		p.stop = beat(p.w, progressEvery, func() string {
			return fmt.Sprintf("waiting: %d of %s done", p.done.Load(), count(p.images, "image"))
		})
	}
}

// set tells how many images are done.
func (p *backfillProgress) set(done int) {
	p.done.Store(int64(done))
	if p.bars != nil {
		p.bar.SetCurrent(int64(done))
	}
}

// note tells how it goes on, without disturbing the bar.
func (p *backfillProgress) note(line string) {
	if !p.off {
		p.print(line)
	}
}

// print tells a warning without disturbing the bar.
func (p *backfillProgress) print(line string) {
	var w io.Writer = p.w
	if p.bars != nil {
		w = p.bars
	}
	fmt.Fprintln(w, line)
}

// end takes a bar that is not full off the screen. It may be called again.
func (p *backfillProgress) end() {
	p.stop()
	if p.bars == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(true)
	}
	fmt.Fprint(p.w, "\r") // Ctrl-C has left the cursor behind what it shows
	p.bars.Wait()
	p.bars = nil
}

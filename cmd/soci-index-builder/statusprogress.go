package main

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/text/terminal"
)

// surveyProgress shows on a terminal how many images were looked at; elsewhere
// a line every ten seconds.
type surveyProgress struct {
	w      io.Writer
	bars   *mpb.Progress // nil when there is no terminal, or no bar any more
	bar    *mpb.Bar
	before inventory.Progress // that of the places before
	now    inventory.Progress
	stop   func() // the lines

	images, done atomic.Int64 // of all places
}

func newSurveyProgress(cmd *cobra.Command) *surveyProgress {
	w := cmd.ErrOrStderr()
	p := &surveyProgress{w: w, stop: func() {}}
	switch {
	case quiet(cmd):
	case !terminal.Of(w).Live():
		p.stop = beat(w, progressEvery, p.line)
	default:
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
		p.bar = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name("looking at images ")),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d"), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_GO)),
		)
	}
	return p
}

// show takes the progress of a survey.
func (p *surveyProgress) show(now inventory.Progress) {
	p.now = now
	p.images.Store(int64(p.before.Images + now.Images))
	p.done.Store(int64(p.before.Done + now.Done))
	if p.bars != nil {
		p.bar.SetTotal(int64(p.before.Images+now.Images), false)
		p.bar.SetCurrent(int64(p.before.Done + now.Done))
	}
}

// line tells how far it is.
func (p *surveyProgress) line() string {
	return fmt.Sprintf("looking at images: %d of %d", p.done.Load(), p.images.Load())
}

// next tells that another survey begins.
func (p *surveyProgress) next() {
	p.before.Images += p.now.Images
	p.before.Done += p.now.Done
	p.now = inventory.Progress{}
}

// print tells an error without disturbing the bar.
func (p *surveyProgress) print(err error) {
	if p.bars != nil {
		printErrorFor(terminal.Of(p.w), p.bars, err)
		return
	}
	printError(p.w, err)
}

// end takes the bar off the screen. It may be called again.
func (p *surveyProgress) end() {
	p.stop()
	if p.bars == nil {
		return
	}
	p.bar.Abort(true)
	fmt.Fprint(p.w, "\r") // Ctrl-C has left the cursor behind what it shows
	p.bars.Wait()
	p.bars = nil
}

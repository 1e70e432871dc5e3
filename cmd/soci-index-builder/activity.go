package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/text/terminal"
)

// activity shows that work goes on, in one line: on a terminal it is written anew,
// elsewhere it comes every ten seconds. Nothing of it is left on a terminal at the end,
// and with --quiet there is none.
type activity struct {
	w    io.Writer
	bars *mpb.Progress // nil when there is no terminal, or no line any more
	bar  *mpb.Bar
	stop func() // the lines
}

// newActivity begins to show what line returns. It is called by another goroutine.
func newActivity(cmd *cobra.Command, line func() string) *activity {
	return newActivityWith(cmd, line, func(bars *mpb.Progress) *mpb.Bar {
		return bars.New(0, mpb.NopStyle(),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return line() })))
	})
}

// newActivityWith is newActivity with another bar on a terminal.
func newActivityWith(cmd *cobra.Command, line func() string, bar func(*mpb.Progress) *mpb.Bar) *activity {
	a := &activity{w: cmd.ErrOrStderr(), stop: func() {}}
	switch {
	case quiet(cmd):
	case !terminal.Of(a.w).Live():
		a.stop = beat(a.w, progressEvery, line)
	default:
		a.bars = mpb.New(mpb.WithOutput(a.w), mpb.WithWidth(40))
		a.bar = bar(a.bars)
	}
	return a
}

// printer writes lines above it.
func (a *activity) printer() *printer {
	p := &printer{w: a.w, screen: terminal.Of(a.w)}
	if a.bars != nil {
		p.w = a.bars
	}
	return p
}

// print tells an error above it.
func (a *activity) print(err error) {
	p := a.printer()
	printErrorFor(p.screen, p.w, err)
}

// end takes it off the screen. It may be called again.
func (a *activity) end() {
	a.stop()
	if a.bars == nil {
		return
	}
	a.bar.Abort(true)
	fmt.Fprint(a.w, "\r") // Ctrl-C has left the cursor behind what it shows
	a.bars.Wait()
	a.bars = nil
}

package main

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/terminal"
)

// surveyProgress shows on a terminal how many images were looked at; elsewhere
// it shows nothing.
type surveyProgress struct {
	w      io.Writer
	bars   *mpb.Progress // nil when there is no terminal, or no bar any more
	bar    *mpb.Bar
	before inventory.Progress // that of the places before
	now    inventory.Progress
}

func newSurveyProgress(w io.Writer) *surveyProgress {
	p := &surveyProgress{w: w}
	if terminal.Of(w).Live() {
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
	if p.bars != nil {
		p.bar.SetTotal(int64(p.before.Images+now.Images), false)
		p.bar.SetCurrent(int64(p.before.Done + now.Done))
	}
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
		printError(p.bars, err)
		return
	}
	printError(p.w, err)
}

// end takes the bar off the screen. It may be called again.
func (p *surveyProgress) end() {
	if p.bars == nil {
		return
	}
	p.bar.Abort(true)
	p.bars.Wait()
	p.bars = nil
}

package main

import (
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/inventory"
)

// surveyProgress shows on a terminal how many images were looked at; elsewhere
// a line every ten seconds.
type surveyProgress struct {
	*activity
	before inventory.Progress // that of the places before
	now    inventory.Progress

	images, done atomic.Int64 // of all places
}

func newSurveyProgress(cmd *cobra.Command) *surveyProgress {
	p := &surveyProgress{}
	p.activity = newActivityWith(cmd, p.line, func(bars *mpb.Progress) *mpb.Bar {
		return bars.AddBar(0,
			mpb.PrependDecorators(decor.Name("looking at images ")),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d"), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_GO)),
		)
	})
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

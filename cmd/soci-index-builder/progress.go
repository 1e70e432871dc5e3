package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/internal/terminal"
)

// progress shows how far the layers are: as bars on a terminal, elsewhere as a
// line for each layer that was read.
type progress struct {
	w    io.Writer
	bars *mpb.Progress // nil when there is no terminal

	mu    sync.Mutex
	bar   map[digest.Digest]*mpb.Bar
	ended map[digest.Digest]bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, bar: map[digest.Digest]*mpb.Bar{}, ended: map[digest.Digest]bool{}}
	if terminal.Of(w).Live() {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return p
}

// layer takes the compressed bytes of a layer that have been read. It may be
// called by several goroutines at once.
func (p *progress) layer(layer ocispec.Descriptor, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		if n >= layer.Size && !p.ended[layer.Digest] {
			p.ended[layer.Digest] = true
			fmt.Fprintf(p.w, "layer %s: %s read\n", shortDigest(layer.Digest), bytesize.Format(layer.Size))
		}
		return
	}
	bar := p.bar[layer.Digest]
	if bar == nil {
		bar = p.bars.AddBar(layer.Size,
			mpb.PrependDecorators(decor.Name(shortDigest(layer.Digest)+" ")),
			mpb.AppendDecorators(decor.Counters(decor.SizeB1024(0), "% .1f / % .1f"), decor.Name("  "),
				decor.AverageSpeed(decor.SizeB1024(0), "% .1f")),
		)
		p.bar[layer.Digest] = bar
	}
	bar.SetCurrent(n)
}

// end takes the bars of layers that were not read to their end off the screen.
func (p *progress) end() {
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, bar := range p.bar {
		if !bar.Completed() {
			bar.Abort(true)
		}
	}
	p.mu.Unlock()
	p.bars.Wait()
}

// shortDigest is for people: enough of a digest to tell layers apart.
func shortDigest(d digest.Digest) string {
	const length = len("sha256:") + 12
	return string(d[:min(len(d), length)])
}

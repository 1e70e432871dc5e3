package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
)

// progressEvery is how often progress is printed where it cannot be redrawn. Tests
// do not wait for that long.
var progressEvery = 10 * time.Second

// quiet reports whether --quiet is given.
func quiet(cmd *cobra.Command) bool {
	q, err := cmd.Flags().GetBool("quiet")
	return err == nil && q
}

// beat writes what line returns now and then, until stop is called.
func beat(w io.Writer, every time.Duration, line func() string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintln(w, line())
			case <-done:
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-ended })
}

// progress shows how far the layers are: on a terminal one bar for all of them
// and one for each that is read, elsewhere a line every ten seconds. Nothing of it
// is left at the end.
type progress struct {
	w      io.Writer
	screen terminal.Screen
	off    bool
	every  time.Duration
	began  time.Time
	stop   func() // the lines

	bars *mpb.Progress // nil when there is no terminal
	sum  *mpb.Bar

	// The bars read these while they may hold up those who add bars.
	layers, whole atomic.Int64
	size, read    atomic.Int64 // bytes

	mu    sync.Mutex
	of    map[digest.Digest]*layerProgress
	shown int // bars of layers that are read
	free  []*layerBar
	all   []*layerBar
}

type layerProgress struct {
	size, read int64
	bar        *layerBar // nil when it is not in sight
}

func newProgress(cmd *cobra.Command) *progress {
	w := cmd.ErrOrStderr()
	return &progress{w: w, screen: terminal.Of(w), off: quiet(cmd), every: progressEvery, stop: func() {}}
}

// begin tells which layers are going to be read. What becomes of them is told by
// layer, and end comes last.
func (p *progress) begin(layers []ocispec.Descriptor) {
	p.began = time.Now()
	p.of = map[digest.Digest]*layerProgress{}
	for _, l := range layers {
		p.of[l.Digest] = &layerProgress{size: l.Size}
		p.size.Add(l.Size)
	}
	p.layers.Store(int64(len(layers)))
	switch {
	case p.off || len(layers) == 0:
	case !p.screen.Live():
		p.stop = beat(p.w, p.every, p.line)
	default:
		p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(min(40, max(10, p.screen.Width-64))))
		p.sum = p.bars.AddBar(0, mpb.BarPriority(-1),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
				return fmt.Sprintf("%*d of %d layers ", len(fmt.Sprint(p.layers.Load())), p.whole.Load(),
					p.layers.Load())
			}, decor.WC{W: labelWidth})),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}),
				decor.Any(func(s decor.Statistics) string { return "  " + ofTotal(s) + "  " }),
				decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
		p.sum.SetTotal(p.size.Load(), false)
	}
}

// labelWidth is how many columns stand before a bar.
const labelWidth = len("sha256:0123456789ab ")

// layer takes the compressed bytes of a layer that have been read. It may be
// called by several goroutines at once.
func (p *progress) layer(layer ocispec.Descriptor, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.of[layer.Digest]
	if l == nil { // of an image that took over the tag in the meantime
		if p.of == nil {
			return
		}
		l = &layerProgress{size: layer.Size}
		p.of[layer.Digest] = l
		p.layers.Add(1)
		p.size.Add(layer.Size)
		if p.bars != nil {
			p.sum.SetTotal(p.size.Load(), false)
		}
	}
	more := n - l.read // negative when the layer is begun again
	if l.read < l.size && n >= l.size {
		p.whole.Add(1)
	}
	l.read = n
	read := p.read.Add(more)
	if p.bars == nil {
		return
	}
	p.sum.SetCurrent(read)
	switch {
	case n >= l.size && l.bar != nil:
		p.release(l)
		return
	case l.bar == nil && n < l.size && p.shown < max(1, p.screen.Height-4):
		p.shown++
		l.bar = p.take()
		l.bar.layer.Store(&shownLayer{names.ShortDigest(layer.Digest.String()), time.Now()})
		l.bar.SetTotal(l.size, false)
	}
	if l.bar != nil {
		l.bar.SetCurrent(n)
	}
}

// layerBar shows one layer after another: a bar that is taken off the screen
// stays there for a while, when a new one for the next layer would be too much.
type layerBar struct {
	*mpb.Bar
	layer atomic.Pointer[shownLayer]
}

type shownLayer struct {
	name  string
	began time.Time
}

// take returns a bar for a layer.
func (p *progress) take() *layerBar {
	if n := len(p.free); n > 0 {
		bar := p.free[n-1]
		p.free = p.free[:n-1]
		return bar
	}
	b := &layerBar{}
	b.layer.Store(&shownLayer{})
	b.Bar = p.bars.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.layer.Load().name + " " },
			decor.WC{W: labelWidth})),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return " " + ofTotal(s) }),
			decor.Any(func(s decor.Statistics) string {
				seconds := max(time.Since(b.layer.Load().began).Seconds(), 0.001)
				return "  " + bytesize.Format(int64(float64(s.Current)/seconds)) + "/s"
			})))
	p.all = append(p.all, b)
	return b
}

// ofTotal says how many bytes of how many.
func ofTotal(s decor.Statistics) string {
	return bytesize.Format(s.Current) + " / " + bytesize.Format(s.Total)
}

// release keeps the bar of a layer for the next one, if there is one that has
// none.
func (p *progress) release(l *layerProgress) {
	p.shown--
	if p.layers.Load()-p.whole.Load() > int64(p.shown) {
		p.free = append(p.free, l.bar)
	} else {
		l.bar.Abort(true)
	}
	l.bar = nil
}

// line tells how far the layers are.
func (p *progress) line() string {
	size, read := p.size.Load(), p.read.Load()
	text := fmt.Sprintf("%d of %s, %s of %s", p.whole.Load(), count(int(p.layers.Load()), "layer"),
		bytesize.Format(read), bytesize.Format(size))
	if size <= 0 || read <= 0 {
		return text
	}
	left := time.Duration(float64(time.Since(p.began)) * (float64(size)/float64(read) - 1))
	return fmt.Sprintf("%d %%: %s, about %s left", read*100/size, text, about(left))
}

// end takes all of it off the screen. It may be called again.
func (p *progress) end() {
	p.stop()
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, b := range p.all {
		b.Abort(true)
	}
	p.sum.Abort(true)
	p.mu.Unlock()
	fmt.Fprint(p.w, "\r") // Ctrl-C has left the cursor behind what it shows
	p.bars.Wait()
	p.bars = nil
}

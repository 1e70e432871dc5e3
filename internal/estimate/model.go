package estimate

import "time"

// Network is how fast a client fetches.
type Network struct {
	Bandwidth int64         // bytes a second, of all requests together
	Latency   time.Duration // of one request, until its first byte comes
}

// DefaultNetwork is that of a small machine in the registry's region: an
// assumption, not a measurement.
var DefaultNetwork = Network{Bandwidth: 64 << 20, Latency: 50 * time.Millisecond}

// How many requests a client has on the way at once.
const (
	pullAtOnce     = 3 // layers, the default of containerd and of Docker
	prefetchAtOnce = 2 // spans: soci-snapshotter has as many as there are processors
)

// opening is how many requests of a few bytes, one after the other, soci-snapshotter
// makes to mount a layer.
const opening = 2

// Start is what one way to start a container fetches before it has read all
// files, and how long that takes.
type Start struct {
	Bytes    int64   `json:"bytes"`
	Requests int     `json:"requests"`
	Turns    int     `json:"turns"` // requests that wait for one another
	Seconds  float64 `json:"seconds"`
}

// at is the model: every byte goes through the same line, and each turn waits
// for a first byte. Manifests and the image's config, which every start needs, are
// not counted, nor is what happens to the bytes afterwards.
func (s Start) at(n Network) Start {
	s.Seconds = float64(s.Bytes)/float64(n.Bandwidth) + float64(s.Turns)*n.Latency.Seconds()
	return s
}

// turns is how many requests wait for one another if several are made at once.
func turns(requests, atOnce int) int { return (requests + atOnce - 1) / atOnce }

// starts works out the three ways to start.
func (i *Image) starts(n Network) {
	var full, lazy, prefetch Start
	whole, lazily, onDemand, ahead, later := 0, 0, 0, 0, 0
	var both, needed int64 // bytes of zTOCs and of layers that are fetched whole; of spans
	for _, l := range i.Layers {
		if l.repeated {
			continue
		}
		full.Requests++
		full.Bytes += l.Size
		if l.Ztoc == nil {
			whole++
			both += l.Size
			continue
		}
		lazily++
		both += l.Ztoc.Size
		needed += l.ReadBytes
		for _, s := range l.Spans {
			prefetch.Bytes += s.Size
			if s.Prefetch {
				ahead++
			} else {
				later++
			}
			if s.Read {
				onDemand++
			}
		}
	}
	full.Turns = turns(full.Requests, pullAtOnce)
	if lazily == 0 {
		i.Full, i.Lazy, i.Prefetch = full.at(n), full.at(n), full.at(n)
		return
	}
	// The SOCI index; all zTOCs at once; of all layers at once, where a redirect
	// leads and then the gzip header; then one layer after the other that has no zTOC.
	lazy.Bytes = i.Index.Size + both + needed
	lazy.Requests, lazy.Turns = 1+lazily*(1+opening)+whole, 2+opening+whole
	prefetch.Bytes += i.Index.Size + both
	prefetch.Requests, prefetch.Turns = lazy.Requests+i.artifacts(), lazy.Turns
	// A program waits for each span that it needs next.
	lazy.Requests += onDemand
	lazy.Turns += onDemand
	prefetch.Requests += ahead + later
	prefetch.Turns += turns(ahead, prefetchAtOnce) + later
	i.Full, i.Lazy, i.Prefetch = full.at(n), lazy.at(n), prefetch.at(n)
}

// artifacts counts the prefetch artifacts that the files would have, which are
// fetched beside the zTOCs.
func (i *Image) artifacts() (n int) {
	for _, l := range i.Layers {
		if !l.repeated && l.PrefetchSpans > 0 {
			n++
		}
	}
	return n
}

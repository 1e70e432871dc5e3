package generator

import (
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// progress keeps how far the layers of an image were read.
type progress struct {
	mu     sync.Mutex
	layers map[digest.Digest]int64 // compressed bytes read
	whole  map[digest.Digest]bool  // read to the end
}

func newProgress() *progress {
	return &progress{layers: map[digest.Digest]int64{}, whole: map[digest.Digest]bool{}}
}

// read is a soci.Options.Progress.
func (p *progress) read(layer ocispec.Descriptor, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layers[layer.Digest] = n
	p.whole[layer.Digest] = n == layer.Size
}

func (p *progress) sum() (whole, begun int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for layer, n := range p.layers {
		bytes += n
		if p.whole[layer] {
			whole++
		} else {
			begun++
		}
	}
	return whole, begun, bytes
}

func (p *progress) String() string {
	whole, begun, bytes := p.sum()
	return fmt.Sprintf("%d layers were read to the end and %d in part, %d compressed bytes in all", whole, begun, bytes)
}

// attrs returns the same for a log line.
func (p *progress) attrs() []any {
	whole, begun, bytes := p.sum()
	return []any{"layersRead", whole, "layersBegun", begun, "bytesRead", bytes}
}

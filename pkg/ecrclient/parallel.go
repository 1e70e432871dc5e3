package ecrclient

import (
	"context"
	"fmt"
	"math"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// Parallel bounds the requests by which one blob is read ahead of its reader.
// A field left zero has its default; {Window: 1} reads every blob as one
// stream. A blob smaller than two pieces is one stream in any case.
type Parallel struct {
	// PieceSize is the number of bytes of a blob that one Range request asks
	// for, up to 1 GiB. The default is 4 MiB.
	PieceSize int64

	// Window is the number of pieces of one blob that are being read or wait
	// for their reader, up to 1024: a reader holds up to Window times
	// PieceSize bytes. The default is 8.
	Window int

	// MaxConnections bounds the pieces, of all blobs of the Repository, that
	// are being read at once; MaxConnections of the process bounds those of
	// all repositories. Streams do not count. The default is 16.
	MaxConnections int

	// FastStream is the number of bytes a second, counted while the reader
	// waits for them, from which on a single stream is left as it is: to read
	// ahead would only cost memory. The default is 1 GiB; math.MaxInt64 reads
	// every large blob ahead.
	FastStream int64
}

// MaxConnections is the number of pieces of blobs that one process reads at
// once.
const MaxConnections = 32

const (
	maxPieceSize = 1 << 30 // 1 GiB
	maxWindow    = 1024
)

// defaults fills the fields left zero.
func (p Parallel) defaults() (Parallel, error) {
	for _, f := range []struct {
		name   string
		v, max int64
	}{
		{"PieceSize", p.PieceSize, maxPieceSize},
		{"Window", int64(p.Window), maxWindow},
		{"MaxConnections", int64(p.MaxConnections), MaxConnections},
		{"FastStream", p.FastStream, math.MaxInt64},
	} {
		if f.v < 0 || f.v > f.max {
			return p, fmt.Errorf("parallel reads: %s is %d: must be 0 (the default) to %d", f.name, f.v, f.max)
		}
	}
	if p.Window == 1 && p != (Parallel{Window: 1}) {
		return p, fmt.Errorf(
			"parallel reads: Window is 1, one stream, which contradicts PieceSize %d, MaxConnections %d "+
				"and FastStream %d: all must be 0",
			p.PieceSize, p.MaxConnections, p.FastStream)
	}
	if p.PieceSize == 0 {
		p.PieceSize = 4 << 20
	}
	if p.Window == 0 {
		p.Window = 8
	}
	if p.MaxConnections == 0 {
		p.MaxConnections = 16
	}
	if p.FastStream == 0 {
		p.FastStream = 1 << 30
	}
	return p, nil
}

// pieces is what the readers of one Repository share.
type pieces struct {
	Parallel
	slots   *semaphore.Weighted
	buffers sync.Pool // of *[]byte, all of PieceSize
}

// processSlots bounds the pieces of all repositories.
var processSlots = semaphore.NewWeighted(MaxConnections)

func newPieces(p Parallel) *pieces {
	return &pieces{
		Parallel: p,
		slots:    semaphore.NewWeighted(int64(p.MaxConnections)),
		buffers:  sync.Pool{New: func() any { b := make([]byte, p.PieceSize); return &b }},
	}
}

// acquire waits for leave to read a piece. Its holder waits only for the
// registry, so it is always released.
func (p *pieces) acquire(ctx context.Context) error {
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	if err := processSlots.Acquire(ctx, 1); err != nil {
		p.slots.Release(1)
		return err
	}
	return nil
}

func (p *pieces) release() {
	processSlots.Release(1)
	p.slots.Release(1)
}

// count returns the number of pieces of a blob, 1 when it is read as one stream.
func (p *pieces) count(size int64) int64 {
	if p.Window == 1 || size/2 < p.PieceSize {
		return 1
	}
	return (size-1)/p.PieceSize + 1
}

// FetchMemory returns the most bytes that a reader from Fetch(desc) holds at
// once, 0 for a blob that is read as one stream.
func (r *Repository) FetchMemory(desc ocispec.Descriptor) int64 {
	if isManifest(desc) {
		return min(max(desc.Size, 0), MaxManifestSize)
	}
	n := r.pieces.count(desc.Size)
	if n == 1 {
		return 0
	}
	return min(n, int64(r.pieces.Window)) * r.pieces.PieceSize
}

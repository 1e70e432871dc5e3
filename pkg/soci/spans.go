package soci

import (
	"crypto/sha256"
	"hash"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
)

// checkpointCost is what a checkpoint takes: itself, with its window and its
// span's digest, and the same again in the serialised zTOC.
const checkpointCost = 2 * (inflate.WindowSize + 256)

// spanner takes the checkpoints of a layer and hashes its spans as the bytes
// go by. The rules are upstream's, see docs/format.md.
type spanner struct {
	spanSize int64
	memory   *budget

	checkpoints []Checkpoint
	digests     []digest.Digest
	hash        hash.Hash
	last        byte // the last compressed byte that went by
}

func newSpanner(spanSize int64, memory *budget) *spanner {
	return &spanner{spanSize: spanSize, memory: memory, hash: sha256.New()}
}

// consumed takes the compressed bytes in order. Those before the first
// checkpoint belong to no span.
func (s *spanner) consumed(p []byte) {
	if len(p) == 0 {
		return
	}
	if len(s.checkpoints) > 0 {
		s.hash.Write(p)
	}
	s.last = p[len(p)-1]
}

// boundary takes a checkpoint of a gzip layer where one is due: at offset 0,
// and wherever more than the span size has passed.
func (s *spanner) boundary(b inflate.Boundary, window []byte) error {
	if b.Out != 0 && b.Out-s.lastOut() <= s.spanSize {
		return nil
	}
	c := Checkpoint{In: b.In, Out: b.Out, Bits: b.Bits, Window: append([]byte(nil), window...)}
	return s.add(c)
}

func (s *spanner) lastOut() int64 {
	if len(s.checkpoints) == 0 {
		return 0
	}
	return s.checkpoints[len(s.checkpoints)-1].Out
}

func (s *spanner) add(c Checkpoint) error {
	if err := s.memory.take(checkpointCost); err != nil {
		return err
	}
	if len(s.checkpoints) > 0 {
		s.endSpan()
	}
	if c.Bits != 0 {
		s.hash.Write([]byte{s.last}) // shared with the span before
	}
	s.checkpoints = append(s.checkpoints, c)
	return nil
}

// endSpan is called at each checkpoint but the first, and at the end.
func (s *spanner) endSpan() {
	s.digests = append(s.digests, digest.NewDigest(digest.SHA256, s.hash))
	s.hash.Reset()
}

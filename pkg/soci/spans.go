package soci

import (
	"fmt"

	"soci-index-builder/internal/inflate"
)

// checkpointCost is what a checkpoint takes: itself, with its window and its
// span's digest, and the same again in the serialised zTOC.
const (
	checkpointLater = inflate.WindowSize + 256
	checkpointCost  = 2 * checkpointLater
)

// spanner takes the checkpoints of a layer as the decoder goes, and has its
// spans hashed. The rules are upstream's, see docs/format.md.
type spanner struct {
	spanSize    int64
	maxZtoc     int64
	memory      *tenant
	hasher      *hasher
	checkpoints []Checkpoint
}

// boundary takes a checkpoint of a gzip layer where one is due: at offset 0,
// and wherever more than the span size has passed.
func (s *spanner) boundary(b inflate.Boundary, window []byte) error {
	if n := len(s.checkpoints); b.Out != 0 && n > 0 && b.Out-s.checkpoints[n-1].Out <= s.spanSize {
		return nil
	}
	return s.add(Checkpoint{In: b.In, Out: b.Out, Bits: b.Bits}, window)
}

// add takes a checkpoint at the end of the bytes consumed.
func (s *spanner) add(c Checkpoint, window []byte) error {
	if err := s.memory.takeFor(checkpointCost, checkpointLater); err != nil {
		return err
	}
	if window != nil {
		if s.maxZtoc > 0 && int64(len(s.checkpoints)+1)*inflate.WindowSize > s.maxZtoc {
			return ztocTooLarge(s.maxZtoc)
		}
		c.Window = append([]byte(nil), window...)
	}
	s.checkpoints = append(s.checkpoints, c)
	s.hasher.begin(c.Bits != 0)
	return nil
}

// maxZtocSizeOf is the size up to which a layer's zTOC is worth having. A
// client fetches it before it reads a file, and would have the layer sooner.
func maxZtocSizeOf(layer int64) int64 { return max(layer, SmallZtoc) }

func ztocTooLarge(max int64) error {
	return &UnsupportedError{Reason: SkipZtocTooLarge,
		Detail: fmt.Sprintf("its zTOC has more than %d bytes, and the layer has not", max)}
}

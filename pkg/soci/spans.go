package soci

import (
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
)

// spanOrder tells the hasher what the decoder found.
type spanOrder struct {
	upTo  int64 // all compressed bytes before it can be hashed
	begin bool  // a span begins there, and the one before, if any, ends
	byte  bool  // the span begins with the byte before
	end   bool  // the last span ends there
}

// spanHasher hashes the spans of a blob in step with the decoder, from the
// chunks that wait for it.
type spanHasher struct {
	orders chan spanOrder
	closed bool // of the decoder's side

	hash    hash.Hash
	begun   bool
	pos     int64 // compressed offset up to which all is done
	last    byte  // the byte before pos
	digests []digest.Digest

	waiting []*chunk // with the bytes from pos on
	offset  int      // of pos in the first of them
	held    int64    // bytes in waiting from pos on
}

func newSpanHasher() *spanHasher {
	return &spanHasher{orders: make(chan spanOrder, 16), hash: sha256.New()}
}

func (s *spanHasher) close() {
	if !s.closed {
		s.closed = true
		close(s.orders)
	}
}

// obey carries out an order whose bytes are all waiting.
func (s *spanHasher) obey(o spanOrder, release func(*chunk)) {
	for s.pos < o.upTo && len(s.waiting) > 0 {
		c := s.waiting[0]
		n := int(min(o.upTo-s.pos, int64(c.n-s.offset)))
		if n > 0 {
			p := c.buf[s.offset : s.offset+n]
			if s.begun { // what precedes the first checkpoint belongs to no span
				s.hash.Write(p)
			}
			s.last = p[n-1]
		}
		s.pos += int64(n)
		s.held -= int64(n)
		if s.offset += n; s.offset == c.n {
			release(c)
			s.waiting = s.waiting[1:]
			s.offset = 0
		}
	}
	if (o.begin || o.end) && s.begun {
		s.digests = append(s.digests, digest.NewDigest(digest.SHA256, s.hash))
		s.hash.Reset()
	}
	if o.begin {
		s.begun = true
		if o.byte {
			s.hash.Write([]byte{s.last})
		}
	}
}

// checkpointCost is what a checkpoint takes: itself, with its window and its
// span's digest, and the same again in the serialised zTOC.
const (
	checkpointLater = inflate.WindowSize + 256
	checkpointCost  = 2 * checkpointLater
)

// hashStep is how many used bytes may wait for an order: less than a chunk,
// so that the hasher never holds many.
const hashStep = 32 << 10

// spanner takes the checkpoints of a layer as the decoder goes, and has its
// spans hashed. The rules are upstream's, see docs/format.md.
type spanner struct {
	spanSize    int64
	maxZtoc     int64
	memory      *tenant
	orders      chan<- spanOrder
	held        *heldSpans // in place of orders, if set
	checkpoints []Checkpoint
	used        int64 // compressed bytes
	ordered     int64 // of them, those that may be hashed
}

// consumed takes the compressed bytes in order.
func (s *spanner) consumed(p []byte) {
	s.used += int64(len(p))
	if s.held != nil {
		s.held.orders <- heldOrder{p: p, release: s.held.hold()}
		return
	}
	if s.used-s.ordered >= hashStep {
		s.order(spanOrder{})
	}
}

func (s *spanner) order(o spanOrder) {
	if s.held != nil {
		s.held.orders <- heldOrder{spanOrder: o}
		return
	}
	o.upTo = s.used
	s.ordered = s.used
	s.orders <- o
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
	s.order(spanOrder{begin: true, byte: c.Bits != 0})
	return nil
}

// maxZtocSizeOf is the size up to which a layer's zTOC is worth having. A
// client fetches it before it reads a file, and would have the layer sooner.
func maxZtocSizeOf(layer int64) int64 { return max(layer, SmallZtoc) }

func ztocTooLarge(max int64) error {
	return &UnsupportedError{Reason: SkipZtocTooLarge,
		Detail: fmt.Sprintf("its zTOC has more than %d bytes, and the layer has not", max)}
}

// end is called when the blob has been decoded to its end.
func (s *spanner) end() { s.order(spanOrder{end: true}) }

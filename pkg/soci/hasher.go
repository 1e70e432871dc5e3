package soci

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"

	"github.com/opencontainers/go-digest"
)

// hasher takes the digests of a blob and of its spans beside the decoder, which
// tells it where the spans begin. The bytes of both are the chunks of the blob.
// If the decoder gets further ahead than the chunks can wait, it lends the bytes of
// the spans, which another goroutine then hashes.
type hasher struct {
	blob   hash.Hash    // nil when the blob's digest is not wanted
	chunks chan *chunk  // of capacity chunkCount, so that no send waits; closed at the end of the blob
	done   func(*chunk) // with a chunk
	group  sync.WaitGroup

	// Of the decoder's side.
	orders  chan spanOrder
	closed  bool
	used    int64 // compressed bytes
	ordered int64 // of them, those that may be hashed
	lend    func() (p []byte, release func())
	lent    sync.WaitGroup

	// Of the goroutine that hashes the spans.
	span    hash.Hash
	begun   bool
	last    byte // of what precedes
	digests []digest.Digest

	pos     int64    // compressed offset up to which the spans are hashed
	waiting []*chunk // with the bytes from pos on
	offset  int      // of pos in the first of them
	held    int64    // bytes in waiting from pos on
}

// spanOrder tells the hasher what the decoder found.
type spanOrder struct {
	upTo    int64 // all compressed bytes before it can be hashed
	lent    []byte
	release func() // of lent

	begin bool // a span begins there, and the one before, if any, ends
	byte  bool // the span begins with the byte before
	end   bool // the last span ends there
}

// hashStep is how many used bytes may wait for an order: less than a chunk,
// so that the hasher never holds many.
const hashStep = 32 << 10

// maxOrders may wait. Those of lent bytes come one for each piece of a segment.
const maxOrders = 64

// newHasher begins to hash what comes as chunks. The blob as a whole is hashed
// for the digest d, if there is one. close must be called, and chunks closed.
func newHasher(d digest.Digest, done func(*chunk)) *hasher {
	h := &hasher{
		chunks: make(chan *chunk, chunkCount),
		orders: make(chan spanOrder, maxOrders),
		done:   done,
		span:   sha256.New(),
	}
	switch {
	case d == "":
	case d.Algorithm() == digest.SHA256:
		h.blob = sha256.New()
	default:
		h.blob = d.Algorithm().Hash()
	}
	orders := h.orders
	h.group.Go(func() { h.run(orders) })
	return h
}

// borrow has the spans hashed from lent bytes, those that consumed was called
// with last. It comes before the first order.
func (h *hasher) borrow(lend func() (p []byte, release func())) {
	close(h.orders)
	h.orders = make(chan spanOrder, maxOrders)
	h.lend = lend
	orders := h.orders
	h.lent.Go(func() {
		for o := range orders {
			h.write(o.lent)
			if o.release != nil {
				o.release()
			}
			h.mark(o)
		}
	})
}

// consumed counts n more compressed bytes as used by the decoder.
func (h *hasher) consumed(n int) {
	h.used += int64(n)
	switch {
	case h.lend != nil:
		p, release := h.lend()
		h.orders <- spanOrder{lent: p, release: release}
	case h.used-h.ordered >= hashStep:
		h.order(spanOrder{})
	}
}

// begin starts a span after the bytes consumed, or, withByte, at the last of
// them.
func (h *hasher) begin(withByte bool) { h.order(spanOrder{begin: true, byte: withByte}) }

// end has the last span end behind the bytes consumed.
func (h *hasher) end() { h.order(spanOrder{end: true}) }

func (h *hasher) order(o spanOrder) {
	o.upTo, h.ordered = h.used, h.used
	h.orders <- o
}

// close is called when there are no more orders. Lent bytes have been released
// when it returns.
func (h *hasher) close() {
	if !h.closed {
		h.closed = true
		close(h.orders)
	}
	h.lent.Wait()
}

// wait waits until all is hashed. The digests are complete then.
func (h *hasher) wait() { h.group.Wait() }

// check compares the blob's digest, once all is hashed.
func (h *hasher) check(want digest.Digest) error {
	if h.blob == nil {
		return nil
	}
	if got := digest.NewDigest(want.Algorithm(), h.blob); got != want {
		return fmt.Errorf("%w: the digest of what arrived is %s, not %s", ErrDigestMismatch, got, want)
	}
	return nil
}

// run hashes the blob as its chunks come, and its spans as far as the decoder
// is.
func (h *hasher) run(orders <-chan spanOrder) {
	chunks := h.chunks
	take := func(c *chunk, ok bool) {
		if !ok {
			chunks = nil
			return
		}
		if h.blob != nil {
			h.blob.Write(c.buf[:c.n])
		}
		if orders == nil {
			h.done(c)
			return
		}
		h.waiting = append(h.waiting, c)
		h.held += int64(c.n)
	}
	for chunks != nil || orders != nil {
		select {
		case c, ok := <-chunks:
			take(c, ok)
		case o, ok := <-orders:
			if !ok {
				orders = nil
				for _, c := range h.waiting {
					h.done(c)
				}
				h.waiting = nil
				continue
			}
			// The bytes that the decoder has used have been read, but may not
			// have arrived here yet.
			for h.pos+h.held < o.upTo && chunks != nil {
				c, ok := <-chunks
				take(c, ok)
			}
			h.obey(o)
		}
	}
}

// obey carries out an order whose bytes are all waiting.
func (h *hasher) obey(o spanOrder) {
	for h.pos < o.upTo && len(h.waiting) > 0 {
		c := h.waiting[0]
		n := int(min(o.upTo-h.pos, int64(c.n-h.offset)))
		h.write(c.buf[h.offset : h.offset+n])
		h.pos += int64(n)
		h.held -= int64(n)
		if h.offset += n; h.offset == c.n {
			h.done(c)
			h.waiting = h.waiting[1:]
			h.offset = 0
		}
	}
	h.mark(o)
}

// write takes in bytes of a span. What precedes the first belongs to none.
func (h *hasher) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if h.begun {
		h.span.Write(p)
	}
	h.last = p[len(p)-1]
}

// mark ends and begins spans behind the bytes written.
func (h *hasher) mark(o spanOrder) {
	if (o.begin || o.end) && h.begun {
		h.digests = append(h.digests, digest.NewDigest(digest.SHA256, h.span))
		h.span.Reset()
	}
	if o.begin {
		h.begun = true
		if o.byte {
			h.span.Write([]byte{h.last})
		}
	}
}

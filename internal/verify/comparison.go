package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"soci-index-builder/pkg/soci"
)

// comparison reads an archive plainly, from its first byte to its last, and
// compares every byte with the one that lazy reading returns, and the window of
// every checkpoint with the output before it. It is the io.Reader under the
// tar reader, and reads no byte ahead of it.
type comparison struct {
	ctx   context.Context // of the spans that Read fetches
	plain io.Reader
	lazy  *LazyLayer
	found func(Difference)

	pos     int64  // bytes of plain so far
	last    window // the end of them
	where   string // what is being read, for people
	span    int    // the one that pos is in, -1 before the first
	open    *spanReader
	failed  bool // this span gave a difference, or an error; no more is asked of it
	scratch []byte
	err     error // of a transfer; sticky

	compared int64 // bytes found the same
	fetched  int64 // compressed bytes of closed spans
}

func newComparison(ctx context.Context, plain io.Reader, lazy *LazyLayer, found func(Difference)) *comparison {
	return &comparison{ctx: ctx, plain: plain, lazy: lazy, found: found, span: -1, scratch: make([]byte, 64<<10)}
}

// Read returns plain's bytes, whatever lazy reading returned. Its error is plain's
// or that of the transfer of a span.
func (c *comparison) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.plain.Read(p[:min(len(p), len(c.scratch))])
	for rest := p[:n]; len(rest) > 0; {
		if c.err = c.enter(); c.err != nil {
			return 0, c.err
		}
		part := rest
		if end := c.spanEnd(); end >= 0 {
			part = rest[:min(int64(len(rest)), end-c.pos)]
		}
		if c.err = c.compare(part); c.err != nil {
			return 0, c.err
		}
		c.last.write(part)
		c.pos += int64(len(part))
		rest = rest[len(part):]
	}
	return n, err
}

// finish is called at the end of plain and looks at what lazy reading has
// beyond it.
func (c *comparison) finish() error {
	if err := c.enter(); err != nil {
		return err
	}
	if more := len(c.lazy.spans) - c.span - 1; more > 0 {
		c.found(Difference{Span: c.span + 1, Offset: c.pos,
			What: fmt.Sprintf("the layer ends here, the zTOC has spans from offset %d on",
				c.lazy.spans[c.span+1].OutStart)})
	} else if c.open != nil && !c.failed {
		switch n, err := io.ReadFull(c.open, c.scratch[:1]); {
		case n > 0:
			c.differs("the layer ends here, the span does not")
		case err != io.EOF:
			if err := c.fail(err); err != nil {
				return err
			}
		}
	}
	return c.close()
}

// spanEnd returns the place in the archive where the current span ends, -1 for
// the last one, which goes on to the end.
func (c *comparison) spanEnd() int64 {
	if c.span == len(c.lazy.spans)-1 {
		return -1
	}
	return c.lazy.spans[c.span+1].OutStart
}

// enter opens the span that begins at pos, if one does. Of several that begin
// at the same place all but the last one have no output; they are fetched and
// their digests are still compared.
func (c *comparison) enter() error {
	for c.spanEnd() == c.pos {
		if err := c.close(); err != nil {
			return err
		}
		c.span++
		c.failed = false
		if c.lazy.ztoc.Compression == soci.Gzip {
			if at := c.last.differs(c.lazy.ztoc.Checkpoints[c.span].Window); at >= 0 {
				c.found(Difference{Span: c.span, Offset: c.pos,
					What: fmt.Sprintf("byte %d of the checkpoint's window is not the output before it", at)})
			}
		}
		open, err := c.lazy.openSpan(c.ctx, c.span)
		if err != nil {
			if err := c.fail(err); err != nil {
				return err
			}
			continue
		}
		c.open = open
	}
	return nil
}

// close ends the current span and compares its digest.
func (c *comparison) close() error {
	if c.open == nil {
		return nil
	}
	open := c.open
	c.open = nil
	defer open.Close()
	err := open.finish()
	c.fetched += open.fetched
	if err != nil {
		return c.fail(err)
	}
	return nil
}

// compare compares the next bytes of plain, none of which is behind the
// current span's end. The first difference in a span ends the comparison of
// its content: those that follow from it say nothing new.
func (c *comparison) compare(plain []byte) error {
	if c.open == nil || c.failed {
		return nil
	}
	n, err := io.ReadFull(c.open, c.scratch[:len(plain)])
	if got := c.scratch[:n]; !bytes.Equal(got, plain[:n]) {
		i := 0
		for got[i] == plain[i] {
			i++
		}
		c.found(Difference{Span: c.span, File: c.where, Offset: c.pos + int64(i),
			What: fmt.Sprintf("the byte is %#02x in the layer and %#02x through the zTOC", plain[i], got[i])})
		c.failed = true
		return nil
	}
	c.compared += int64(n)
	if err != nil {
		return c.fail(err)
	}
	return nil
}

func (c *comparison) differs(what string) {
	c.found(Difference{Span: c.span, File: c.where, Offset: c.pos, What: what})
}

// fail ends the comparison of the current span: with a difference if its
// bytes came and are wrong, with an error if they did not come.
func (c *comparison) fail(err error) error {
	var transfer *transferError
	if errors.As(err, &transfer) {
		return fmt.Errorf("fetching span %d: %w", c.span, transfer.err)
	}
	c.failed = true
	switch {
	case errors.Is(err, errSpanDigest):
		c.found(Difference{Span: c.span, Offset: -1,
			What: "the compressed bytes do not have the digest that the zTOC names"})
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.differs("the span ends before its content does")
	default:
		c.differs(fmt.Sprintf("the span cannot be decoded: %v", err))
	}
	return nil
}

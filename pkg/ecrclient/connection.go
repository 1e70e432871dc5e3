package ecrclient

import "io"

// connectionState is the state of a blobReader's connection.
type connectionState int

const (
	_ connectionState = iota // no attempt has been made
	// connOpen: bytes come from a body.
	connOpen
	// connLost: the last attempt failed, or what came of it ended too soon.
	// Another may follow.
	connLost
	// connEnded: nothing follows.
	connEnded
)

// connection is what a blobReader has of the registry, over all its attempts.
type connection struct {
	state connectionState
	body  *blobBody // when open
	why   error     // it is lost, or ended: io.EOF after the last byte wanted

	attempts int   // that failed since the last byte came
	losses   int64 // in all
}

func (c *connection) open(body *blobBody) { c.state, c.body, c.why = connOpen, body, nil }

// read reads what is open.
func (c *connection) read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if n > 0 {
		c.attempts = 0
	}
	return n, err
}

// lose gives up the body, if there is one, before the end of what is wanted.
func (c *connection) lose(why error) {
	if why == io.EOF {
		why = &unavailableError{io.ErrUnexpectedEOF.Error(), io.ErrUnexpectedEOF}
	}
	c.close()
	c.state, c.why = connLost, why
	c.attempts++
	c.losses++
}

func (c *connection) end(why error) {
	c.close()
	c.state, c.why = connEnded, why
}

func (c *connection) close() {
	if c.body != nil {
		c.body.Close()
		c.body = nil
	}
}

//go:build conformance

package conformance

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"soci-index-builder/internal/testkit/testlayers"
)

// Upstream never frees its checkpoints, 32 KiB each, and what its C code does
// with odd input can end the process. Fuzzing therefore asks a child process,
// which is this test binary again, and replaces it from time to time.

const childEnv = "CONFORMANCE_CHILD"

// maxRequests of one child bounds what it leaks.
const maxRequests = 2000

type request struct {
	Path        string
	Compression testlayers.Compression
	Span        int64
	ID          string
}

type reply struct {
	Ztoc  []byte
	Error string // empty for success
}

// serve answers requests until its input ends.
func serve(r io.Reader, w io.Writer) {
	dec, enc := gob.NewDecoder(r), gob.NewEncoder(w)
	for {
		var q request
		if dec.Decode(&q) != nil {
			return
		}
		var a reply
		b, err := buildUpstream(q.Path, q.Compression, q.Span, q.ID)
		if a.Ztoc = b; err != nil {
			a.Error = err.Error()
		}
		if enc.Encode(a) != nil {
			return
		}
	}
}

// child asks upstream in another process. It is not for concurrent use.
type child struct {
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	enc   *gob.Encoder
	dec   *gob.Decoder
	count int
}

var errDied = errors.New("upstream's process died")

// build is buildUpstream in the child; errDied tells that it did not survive.
func (c *child) build(blob []byte, comp testlayers.Compression, span int64, id string) ([]byte, error) {
	if c.count >= maxRequests {
		c.close()
	}
	if c.cmd == nil {
		if err := c.start(); err != nil {
			return nil, fmt.Errorf("%w: %w", errDied, err)
		}
	}
	c.count++
	path := filepath.Join(c.dir, "layer")
	if err := os.WriteFile(path, blob, 0o600); err != nil {
		return nil, fmt.Errorf("%w: %w", errDied, err)
	}
	err := c.enc.Encode(request{path, comp, span, id})
	var a reply
	if err == nil {
		err = c.dec.Decode(&a)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%w: %w", errDied, err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Ztoc, nil
}

func (c *child) start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.cmd = exec.Command(exe)
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	c.enc, c.dec = gob.NewEncoder(c.in), gob.NewDecoder(out)
	return c.cmd.Start()
}

func (c *child) close() {
	if c.cmd == nil {
		return
	}
	c.in.Close()
	_ = c.cmd.Wait() // its end, however it comes, is what is wanted
	c.cmd, c.count = nil, 0
}

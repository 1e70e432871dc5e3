//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"soci-index-builder/pkg/soci"
)

// Clients read small archives with many repeated names as if they were unpacked,
// if we index them. They also read some of the others right, in which a later
// entry replaces the wrong one.
func TestClientReadsRandomTrees(t *testing.T) {
	tempInMemory(t)
	const archives, workers = 600, 8 // most of the time the client's database waits
	var (
		mu      sync.Mutex
		same    int
		reasons = make(map[soci.SkipReason]int)
		group   sync.WaitGroup
	)
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < archives; i += workers {
				archive, listing := randomTree(rand.New(rand.NewPCG(uint64(i), 1)))
				b, err := buildOurs(archive, 64<<10, buildTool)
				if err != nil {
					t.Errorf("archive %d: %v", i, err)
					continue
				}
				z, err := soci.ParseZtoc(b)
				if err != nil {
					t.Errorf("archive %d: %v", i, err)
					continue
				}
				unsupported, bad := errors.AsType[*soci.UnsupportedError](z.Misread())
				mu.Lock()
				if bad {
					reasons[unsupported.Reason]++
				} else {
					same++
				}
				mu.Unlock()
				if _, err := unpack(archive); bad || err != nil {
					continue // to links that cannot be unpacked a client finds a way
				}
				for range 3 { // what hangs on the order of a Go map may be right by chance
					if differs := compareClient(b, archive, archive); differs != "" {
						t.Errorf("archive %d: we index it, a client has %s:\n%s", i, differs, listing)
						break
					}
				}
			}
		})
	}
	group.Wait()
	if same < archives/10 || len(reasons) < 3 {
		t.Errorf("too little occurred: %d read correctly, wrongly %v", same, reasons)
	}
}

// randomTree is an archive and a listing of it.
func randomTree(r *rand.Rand) ([]byte, string) {
	var (
		b       bytes.Buffer
		listing strings.Builder
	)
	w := tar.NewWriter(&b)
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	name := func() string {
		n := pick("a", "b", "c")
		for r.IntN(3) == 0 {
			n += "/" + pick("a", "b", "c", "..", ".")
		}
		return pick("", "", "", "./", "/", "../") + n
	}
	for range 2 + r.IntN(6) {
		h := tar.Header{
			Name: name(), ModTime: time.Unix(1_700_000_000+r.Int64N(3), 0), Mode: []int64{0, 0o644, 0o4755}[r.IntN(3)],
			Typeflag: []byte{tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeDir, tar.TypeDir, tar.TypeSymlink,
				tar.TypeLink, tar.TypeFifo}[r.IntN(8)],
			Format: tar.FormatPAX,
		}
		if r.IntN(4) == 0 {
			h.Uid = r.IntN(3)
		}
		if r.IntN(4) == 0 {
			h.PAXRecords = map[string]string{}
			for range 1 + r.IntN(3) {
				h.PAXRecords["SCHILY.xattr.user."+pick("a", "b", "c")] = pick("", "1", "2", "3")
			}
		}
		var content []byte
		switch h.Typeflag {
		case tar.TypeReg:
			content = []byte(strings.Repeat(pick("x", "y"), r.IntN(4)))
			h.Size = int64(len(content))
		case tar.TypeSymlink:
			h.Linkname = pick("a", "b", "../a", "/b", "missing")
		case tar.TypeLink:
			h.Linkname, h.PAXRecords = name(), nil
		case tar.TypeDir:
			h.Name += "/"
		}
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write(content); err != nil {
			panic(err)
		}
		fmt.Fprintf(&listing, "%c %q -> %q mode %#o owner %d, %q\n", h.Typeflag, h.Name, h.Linkname, h.Mode, h.Uid,
			h.PAXRecords)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes(), listing.String()
}

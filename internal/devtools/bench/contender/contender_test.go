package contender

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/testlayers"
)

// layers are of one member and of several, one of them with all that a gzip
// header can have, on the far side of every buffer.
func layers() map[string][]byte {
	archive := func() []byte {
		var b bytes.Buffer
		for i := range 40 {
			b.Write(testlayers.Mixed(uint64(i), 50_000))
		}
		return b.Bytes()
	}()
	pack := func(b []byte, name string) []byte {
		var out bytes.Buffer
		zw := gzip.NewWriter(&out)
		if name != "" {
			zw.Name, zw.Comment, zw.Extra = name, name, []byte(name)
		}
		zw.Write(b)
		zw.Close()
		return out.Bytes()
	}
	var tarFile bytes.Buffer
	tw := tar.NewWriter(&tarFile)
	tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(archive))})
	tw.Write(archive)
	tw.Close()
	tarred := tarFile.Bytes()
	var several []byte
	for i := 0; i < len(tarred); i += 70_000 {
		several = append(several, pack(tarred[i:min(i+70_000, len(tarred))], strings.Repeat("n", i%300))...)
	}
	return map[string][]byte{"one member": pack(tarred, ""), "several members": several}
}

func TestContenders(t *testing.T) {
	for name, blob := range layers() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "layer")
			if err := os.WriteFile(path, blob, 0o600); err != nil {
				t.Fatal(err)
			}
			zr, err := gzip.NewReader(bytes.NewReader(blob))
			if err != nil {
				t.Fatal(err)
			}
			var plain bytes.Buffer
			if _, err := plain.ReadFrom(zr); err != nil {
				t.Fatal(err)
			}
			in := Input{Path: path, Size: int64(len(blob)), Digest: digest.FromBytes(blob),
				Uncompressed: int64(plain.Len())}
			var ztoc string
			for _, contender := range Names() {
				finish, err := Run(contender, in)
				if err != nil {
					t.Errorf("%s: %v", contender, err)
					continue
				}
				out, err := finish()
				if err != nil {
					t.Errorf("%s: %v", contender, err)
				}
				switch contender {
				case Ours, OursAlike, OursAlone, Upstream:
					if ztoc == "" {
						ztoc = out.Ztoc
					}
					expect.Equal(t, expect.Facts{
						{"Ztoc", out.Ztoc, ztoc},
						{"Entries", out.Entries, 1},
						{"out.Spans < 1", out.Spans < 1, false},
						{"out.ZtocSize < 32<<10", out.ZtocSize < 32<<10, false},
					}, "%s: %+v", contender, out)
				default:
					if out.Uncompressed != in.Uncompressed {
						t.Errorf("%s: %d bytes, not %d", contender, out.Uncompressed, in.Uncompressed)
					}
				}
				// A layer that ends too soon must not go unnoticed.
				short := in
				short.Path = filepath.Join(t.TempDir(), "short")
				if err := os.WriteFile(short.Path, blob[:len(blob)-9], 0o600); err != nil {
					t.Fatal(err)
				}
				if finish, err = Run(contender, short); err == nil {
					if out, _ := finish(); out.Uncompressed == in.Uncompressed {
						t.Errorf("%s: takes a layer that ends too soon", contender)
					}
				}
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	if _, err := Run("nobody", Input{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	for _, name := range Names() {
		if Title(name) == "" {
			t.Errorf("%s has no title", name)
		}
	}
}

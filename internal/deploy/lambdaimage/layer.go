package lambdaimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// file is one of a layer.
type file struct {
	name    string // absolute
	mode    int64
	content []byte
}

// pack writes a layer, and returns also the digest of the tar file in it.
// Lambda, unlike Docker, does not create folders that no entry names, and runs the
// function as a user that owns nothing in the image.
func pack(files []file) (layer []byte, diffID digest.Digest, err error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	sum := digest.Canonical.Digester()
	t := tar.NewWriter(io.MultiWriter(z, sum.Hash()))
	made := map[string]bool{}
	for _, f := range files {
		for _, folder := range parents(f.name) {
			if made[folder] {
				continue
			}
			made[folder] = true
			h := &tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: created,
				Format: tar.FormatUSTAR}
			if err := t.WriteHeader(h); err != nil {
				return nil, "", err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.name, "/"), Mode: f.mode,
			Size: int64(len(f.content)), ModTime: created, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return nil, "", err
		}
		if _, err := t.Write(f.content); err != nil {
			return nil, "", err
		}
	}
	if err := t.Close(); err != nil {
		return nil, "", err
	}
	if err := z.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), sum.Digest(), nil
}

// parents returns the folders above a file, without the root, outermost first.
func parents(name string) []string {
	var all []string
	for folder := path.Dir(strings.Trim(name, "/")); folder != "."; folder = path.Dir(folder) {
		all = append([]string{folder}, all...)
	}
	return all
}

// roots are the certificates that TLS begins with, as a PEM file: an image made
// from nothing has none, and without them no call to AWS would be trusted. The
// few that are trusted under a condition alone, which such a file cannot say,
// are left out; AWS's are not among them.
var roots = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // to memory
		}
	}
	return b.Bytes()
})

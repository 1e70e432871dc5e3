package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unnamed refuses the content of a blob that no manifest has named yet, as ECR
// does: it can be asked for, and is not available until an image has it.
type unnamed struct {
	mu    sync.Mutex
	named map[string]bool // by repository and digest
}

var blobPath = regexp.MustCompile(`^/v2/(.+)/blobs/([a-z0-9]+:[0-9a-f]+)$`)

func (u *unnamed) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := manifestPath.FindStringSubmatch(r.URL.Path); m != nil && r.Method == http.MethodPut {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
			seen := &statusWriter{ResponseWriter: w}
			next.ServeHTTP(seen, r)
			if seen.status == http.StatusCreated {
				u.name(m[1], b)
			}
			return
		}
		if m := blobPath.FindStringSubmatch(r.URL.Path); m != nil && r.Method == http.MethodGet && !u.has(m[1], m[2]) {
			Status(http.StatusNotFound, "BLOB_UNKNOWN", "the layer is not available: no image has it")(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (u *unnamed) name(repository string, manifest []byte) {
	var m struct {
		Config        ocispec.Descriptor
		Layers, Blobs []ocispec.Descriptor
		FSLayers      []struct{ BlobSum digest.Digest }
	}
	if json.Unmarshal(manifest, &m) != nil {
		return
	}
	for _, d := range append(append(m.Layers, m.Blobs...), m.Config) {
		u.add(repository, d.Digest)
	}
	for _, l := range m.FSLayers {
		u.add(repository, l.BlobSum)
	}
}

func (u *unnamed) add(repository string, blob digest.Digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.named[repository+"@"+blob.String()] = true
}

func (u *unnamed) has(repository, blob string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.named[repository+"@"+blob]
}

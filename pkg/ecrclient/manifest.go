package ecrclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifestSize is the size in bytes up to which manifests are read and
// pushed; it is also ECR's limit.
const MaxManifestSize = 4 << 20 // 4 MiB

// manifestMediaTypes are the media types that live under /manifests/; all
// others are blobs.
var manifestMediaTypes = []string{
	ocispec.MediaTypeImageManifest,
	ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
}

func isManifest(desc ocispec.Descriptor) bool {
	return slices.Contains(manifestMediaTypes, desc.MediaType)
}

func kind(desc ocispec.Descriptor) string {
	if isManifest(desc) {
		return "manifest"
	}
	return "blob"
}

// FetchManifest reads the manifest that desc names and verifies its size and
// digest. One above MaxManifestSize is ErrManifestTooLarge, whether desc or
// the registry says so. The media type of desc may be empty.
func (r *Repository) FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	op := operation{"fetch manifest", desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return nil, r.fail(op, err)
	}
	if desc.Size > MaxManifestSize {
		return nil, r.fail(op, tooLarge(desc.Size))
	}
	var manifest []byte
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		manifest, err = r.getManifest(ctx, desc)
		return err
	})
	return manifest, err
}

func (r *Repository) getManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	accept := desc.MediaType
	if accept == "" {
		accept = strings.Join(manifestMediaTypes, ", ")
	}
	resp, err := r.get(ctx, "manifests", desc, http.Header{"Accept": {accept}}, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	manifest, err := readAtMost(resp, MaxManifestSize)
	if err != nil {
		return nil, err
	}
	return manifest, verify(desc, manifest)
}

func tooLarge(size int64) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d", ErrManifestTooLarge, size, MaxManifestSize)
}

// verify compares content with the descriptor that names it.
func verify(desc ocispec.Descriptor, content []byte) error {
	if int64(len(content)) != desc.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrDigestMismatch, len(content), desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(content); got != desc.Digest {
		return fmt.Errorf("%w: its digest is %s", ErrDigestMismatch, got)
	}
	return nil
}

// get asks for the manifest or blob that desc names, at its location if that
// is known. What it returns has status 200 or 206 and the registry's word that
// it is desc's content.
func (r *Repository) get(ctx context.Context, where string, desc ocispec.Descriptor, header http.Header,
	at *location) (*http.Response, error) {
	req, err := r.request(ctx, http.MethodGet, where+"/"+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	req.Header = header
	if u := at.get(); u != nil {
		direct := req.Clone(req.Context())
		direct.URL, direct.Host = u, ""
		resp, err := r.answer(r.client.http, direct, req.URL, desc, nil)
		if !refusedLocation(err) {
			if err == nil {
				at.serves(u)
			}
			return resp, err
		}
		at.refused(u)
	}
	return r.answer(r.client.auth, req, req.URL, desc, at)
}

// answer sends a request of get and checks what came.
func (r *Repository) answer(via doer, req *http.Request, asked *url.URL, desc ocispec.Descriptor,
	at *location) (*http.Response, error) {
	resp, from, err := r.client.send(via, req, asked)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	default: // 404, or one that has no business here
		defer resp.Body.Close()
		return nil, newStatusError(resp, "", r.now())
	}
	if d := resp.Header.Get("Docker-Content-Digest"); d != "" && d != desc.Digest.String() {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: the registry answers with %q", ErrDigestMismatch, printable(d))
	}
	at.set(from)
	return resp, nil
}

// readManifest reads what is to be pushed as a manifest.
func readManifest(desc ocispec.Descriptor, content io.Reader) ([]byte, error) {
	if desc.Size > MaxManifestSize {
		return nil, tooLarge(desc.Size)
	}
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(content, desc.Size+1)); err != nil {
		return nil, fmt.Errorf("read the content: %w", err)
	}
	return buf.Bytes(), verify(desc, buf.Bytes())
}

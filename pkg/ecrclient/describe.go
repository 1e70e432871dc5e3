package ecrclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Not every registry answers HEAD completely: some leave out the digest, the
// media type or the length, some refuse the method. GET then fetches the
// content, and what is missing is computed from it.

// errUntold: the answer to a HEAD leaves something out.
var errUntold = errors.New("the answer to HEAD says too little")

// describe returns the descriptor of the manifest that a tag or digest names.
func (r *Repository) describe(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	desc, err := r.headManifest(ctx, reference)
	if err == nil || !r.refusedHead(err) && !errors.Is(err, errUntold) {
		return desc, err
	}
	desc, _, err = r.getByReference(ctx, reference)
	return desc, err
}

// refusedHead reports whether GET may be answered although HEAD was not: every
// refusal except those that mean the same for both. ECR never refuses HEAD to a
// caller that may GET.
func (r *Repository) refusedHead(err error) bool {
	e, ok := err.(*statusError)
	if !ok {
		return false
	}
	switch e.status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented:
		return true
	case http.StatusForbidden:
		return !r.ofECR
	}
	return e.status < 500
}

// request makes a request for what path names below the repository.
func (r *Repository) request(ctx context.Context, method, path string) (*http.Request, error) {
	ref := r.remote.Reference
	scheme := "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	return http.NewRequestWithContext(ctx, method,
		fmt.Sprintf("%s://%s/v2/%s/%s", scheme, ref.Host(), ref.Repository, path), nil)
}

// ask sends a request that only 200 answers as it should.
func (r *Repository) ask(req *http.Request) (*http.Response, error) {
	resp, err := r.client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, newStatusError(resp, "", r.now())
	}
	return resp, err
}

func (r *Repository) headManifest(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	req, err := r.request(ctx, http.MethodHead, "manifests/"+reference)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	req.Header.Set("Accept", strings.Join(manifestMediaTypes, ", "))
	resp, err := r.ask(req)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	resp.Body.Close()
	desc := ocispec.Descriptor{MediaType: mediaType(resp), Digest: digest.Digest(reference), Size: resp.ContentLength}
	told := digestTold(resp)
	switch {
	case isDigest(reference) && told != "" && told != desc.Digest:
		return desc, fmt.Errorf("%w: the registry answers with %q", ErrDigestMismatch, printable(told.String()))
	case !isDigest(reference):
		desc.Digest = told
	}
	if desc.MediaType == "" || desc.Size <= 0 || desc.Digest.Validate() != nil { // no manifest is empty
		return desc, errUntold
	}
	return desc, nil
}

// mediaType returns that of an answer, empty if it says nothing of the content.
func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	switch t {
	case "/", "application/octet-stream", "binary/octet-stream", "application/json", "text/plain", "text/html":
		return ""
	}
	return t
}

// digestTold returns the digest that an answer is said to have, empty if that
// is none.
func digestTold(resp *http.Response) digest.Digest {
	d, err := digest.Parse(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return ""
	}
	return d
}

// getByReference reads the manifest that a tag or digest names, up to
// MaxManifestSize bytes.
func (r *Repository) getByReference(ctx context.Context, reference string) (ocispec.Descriptor, []byte, error) {
	req, err := r.request(ctx, http.MethodGet, "manifests/"+reference)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	req.Header.Set("Accept", strings.Join(manifestMediaTypes, ", "))
	resp, err := r.ask(req)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	defer resp.Body.Close()
	manifest, err := readAtMost(resp, MaxManifestSize)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc := ocispec.Descriptor{
		MediaType: mediaType(resp), Digest: digest.Canonical.FromBytes(manifest), Size: int64(len(manifest)),
	}
	for _, named := range []string{resp.Header.Get("Docker-Content-Digest"), reference} {
		d, err := digest.Parse(named)
		if err != nil {
			continue // a tag, or nothing that could be compared
		}
		if got := d.Algorithm().FromBytes(manifest); got != d {
			return desc, nil, fmt.Errorf("%w: its digest is %s, not %s", ErrDigestMismatch, got, d)
		}
		desc.Digest = d
	}
	if desc.MediaType == "" {
		if desc.MediaType = mediaTypeOf(manifest); desc.MediaType == "" {
			return desc, nil, errors.New("neither the registry nor the content says of which media type it is")
		}
	}
	return desc, manifest, nil
}

// mediaTypeOf returns a manifest's own media type, or the one that its fields
// imply: the oldest ones have none.
func mediaTypeOf(manifest []byte) string {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
	}
	if json.Unmarshal(manifest, &m) != nil {
		return ""
	}
	switch {
	case m.MediaType != "":
		if t, _, err := mime.ParseMediaType(m.MediaType); err == nil {
			return t
		}
	case m.SchemaVersion == 1:
		return "application/vnd.docker.distribution.manifest.v1+prettyjws"
	case m.Manifests != nil && m.Config == nil:
		return ocispec.MediaTypeImageIndex
	case m.Config != nil && m.Manifests == nil:
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

// readAtMost reads the body of an answer, which is ErrManifestTooLarge above
// the limit.
func readAtMost(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, tooLarge(resp.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than the limit of %d bytes", ErrManifestTooLarge, limit)
	}
	return b, nil
}

// manifestExists asks for a manifest by its digest.
func (r *Repository) manifestExists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	_, err := r.headManifest(ctx, desc.Digest.String())
	if r.refusedHead(err) {
		_, _, err = r.getByReference(ctx, desc.Digest.String())
	}
	if errors.Is(err, errUntold) { // that it is there is what was asked
		err = nil
	}
	return exists(err)
}

// blobExists asks for a blob. One of another size is not the one that is meant,
// and counts as missing.
func (r *Repository) blobExists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	req, err := r.request(ctx, http.MethodHead, "blobs/"+desc.Digest.String())
	if err != nil {
		return false, err
	}
	resp, err := r.ask(req)
	if err == nil {
		resp.Body.Close()
		told := digestTold(resp)
		switch {
		case told != "" && told != desc.Digest:
			return false, fmt.Errorf("%w: the registry answers with %q", ErrDigestMismatch, printable(told.String()))
		case resp.ContentLength == desc.Size, resp.ContentLength < 0:
			return true, nil
		case resp.ContentLength > 0:
			return false, nil
		}
		err = errUntold // a length of 0 where there is content
	}
	if !errors.Is(err, errUntold) && !r.refusedHead(err) {
		return exists(err)
	}
	// Its first byte shows that it exists; the answer has its size.
	first := byteRange{}
	if desc.Size > 0 {
		first = byteRange{end: 1, use: rangeOrWhole}
	}
	body, err := r.getBlob(ctx, desc, first, nil)
	if err == nil {
		body.Close()
	}
	if errors.Is(err, ErrDigestMismatch) {
		return false, nil
	}
	return exists(err)
}

// exists turns an error into an answer.
func exists(err error) (bool, error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

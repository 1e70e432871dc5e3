package ecrclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

// Push stores the blob or manifest that desc names, a manifest by its digest.
// It does not ask whether the content is there: see Exists and BlobSize. A
// registry that refuses a blob for being there is no failure. A manifest with a
// subject becomes a referrer of it, also on a registry without the referrers
// API (by the referrers tag schema).
//
// Content that is an io.ReaderAt and an io.Seeker, such as a *bytes.Reader, is
// read from its current position and can be sent again after a failure; any
// other blob is tried once.
func (r *Repository) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	if isManifest(desc) {
		return r.pushManifest(ctx, operation{opPushManifest, desc.Digest.String()}, desc, content)
	}
	op := operation{opPushBlob, desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return r.fail(op, err)
	}
	err := r.pushBlob(ctx, op, desc, content)
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
			if there, existsErr := r.Exists(ctx, desc); existsErr == nil && there {
				return nil
			}
		}
	}
	return err
}

// PushTag stores the manifest that desc names under a tag. A registry that
// refuses to overwrite the tag is not an error if the tag already names that
// manifest.
func (r *Repository) PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error {
	op := operation{opPushManifest, tag}
	if (registry.Reference{Reference: tag}).ValidateReferenceAsTag() != nil {
		return r.fail(op, fmt.Errorf("%w: %q is not a tag", ErrInvalidReference, tag))
	}
	if !isManifest(desc) {
		return r.fail(op, fmt.Errorf("%w: media type %q is not that of a manifest", ErrInvalidReference,
			desc.MediaType))
	}
	err := r.pushManifest(ctx, op, desc, content)
	if e, ok := errors.AsType[*Error](err); ok && e.Status >= 400 && e.Status < 500 && !e.Temporary() {
		if there, resolveErr := r.Resolve(ctx, tag); resolveErr == nil && there.Digest == desc.Digest {
			return nil // an immutable tag
		}
	}
	return err
}

func (r *Repository) pushManifest(ctx context.Context, op operation, desc ocispec.Descriptor, content io.Reader) error {
	if err := checkDescriptor(desc); err != nil {
		return r.fail(op, err)
	}
	manifest, err := readManifest(desc, content)
	if err != nil {
		return r.fail(op, err)
	}
	if subject := subjectOf(desc, manifest); subject != nil {
		if api, _ := r.askAgain(ctx, *subject); api == apiMissing {
			return r.pushListed(ctx, op, *subject, desc, manifest)
		}
	}
	return r.pushTo(ctx, op, r.remote, desc, manifest)
}

// pushTo pushes a manifest, and enters it into the list of its subject's
// referrers as to does.
func (r *Repository) pushTo(ctx context.Context, op operation, to *remote.Repository, desc ocispec.Descriptor,
	manifest []byte) error {
	return r.retry(ctx, op, func(ctx context.Context) error {
		err := to.Manifests().PushReference(ctx, desc, bytes.NewReader(manifest), op.reference)
		if e, ok := errors.AsType[*remote.ReferrersError](err); ok && e.IsReferrersIndexDelete() {
			// The new list of referrers is in place; only its predecessor,
			// which nothing refers to any more, could not be removed.
			r.log.InfoContext(ctx, "old referrers list left behind", "op", op.name, "repository",
				r.remote.Reference.Repository, "digest", desc.Digest.String(), "error", redact(err).Error())
			return nil
		}
		return err
	})
}

// subjectOf returns the subject of a manifest, nil if it has none. Docker's media
// types know no subject.
func subjectOf(desc ocispec.Descriptor, manifest []byte) *ocispec.Descriptor {
	var m struct {
		Subject *ocispec.Descriptor `json:"subject"`
	}
	if desc.MediaType != ocispec.MediaTypeImageManifest && desc.MediaType != ocispec.MediaTypeImageIndex ||
		json.Unmarshal(manifest, &m) != nil {
		return nil
	}
	return m.Subject
}

// pushBlob sends the blob with one PUT. ECR loses data of uploads in several
// parts: https://github.com/aws/containers-roadmap/issues/2831
func (r *Repository) pushBlob(ctx context.Context, op operation, desc ocispec.Descriptor, content io.Reader) error {
	source, ok := content.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		if err := r.putBlob(ctx, desc, &contentBody{Reader: content, failure: new(failure)}); err != nil {
			return r.fail(op, err)
		}
		return nil
	}
	begin, err := source.Seek(0, io.SeekCurrent)
	if err != nil {
		return r.fail(op, err)
	}
	end, err := source.Seek(0, io.SeekEnd)
	if err != nil {
		return r.fail(op, err)
	}
	if end-begin != desc.Size {
		return r.fail(op, fmt.Errorf("%w: %d bytes instead of %d", ErrDigestMismatch, end-begin, desc.Size))
	}
	return r.retry(ctx, op, func(ctx context.Context) error {
		return r.putBlob(ctx, desc, newContentBody(source, begin, desc.Size, new(failure)))
	})
}

func (r *Repository) putBlob(ctx context.Context, desc ocispec.Descriptor, body *contentBody) error {
	err := r.remote.Blobs().Push(ctx, desc, body)
	if readErr := body.failure.get(); readErr != nil {
		return fmt.Errorf("read the content: %w", readErr)
	}
	return err
}

// contentBody is the body of a PUT. It reads through its own section of the
// content: net/http may go on reading the body of an attempt that has failed
// while the next one is under way.
type contentBody struct {
	io.Reader
	source  io.ReaderAt // nil if the content cannot be read again
	begin   int64
	size    int64
	failure *failure
}

func newContentBody(source io.ReaderAt, begin, size int64, f *failure) *contentBody {
	return &contentBody{Reader: io.NewSectionReader(source, begin, size), source: source, begin: begin, size: size,
		failure: f}
}

func (b *contentBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.failure.set(err)
	}
	return n, err
}

// Close leaves the content open.
func (b *contentBody) Close() error { return nil }

// reopen returns what http.Request.GetBody wants, nil if it cannot be.
func (b *contentBody) reopen() func() (io.ReadCloser, error) {
	if b.source == nil {
		return nil
	}
	return func() (io.ReadCloser, error) { return newContentBody(b.source, b.begin, b.size, b.failure), nil }
}

// failure keeps the error of reading the content apart from those of sending
// it: it is not the registry's.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

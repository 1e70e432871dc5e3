// Package ecrclient reads and writes one repository of an OCI registry:
// Amazon ECR, where it authenticates through the AWS SDK, or any other, where
// it uses the Docker credential store. Begin with New.
package ecrclient

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifestSize is the size in bytes up to which manifests are read and
// pushed; it is also ECR's limit.
const MaxManifestSize = 4 << 20 // 4 MiB

// Repository is one repository of one registry. It is a soci.Source and a
// soci.Destination, and safe for concurrent use.
type Repository struct {
	name      string
	reference string
}

var errNotBuilt = errors.New("internal error: not built yet")

// New gives the repository that ref names, "host[:port]/name[:tag|@digest]".
// It makes no request. A malformed ref is ErrInvalidReference.
func New(ref string, opts ...Option) (*Repository, error) { return nil, errNotBuilt }

// Name gives "host/name", the host as in the reference given to New.
func (r *Repository) Name() string { return r.name }

// Reference gives the tag or digest of the reference given to New, "" if it
// had none; the digest if it had both.
func (r *Repository) Reference() string { return r.reference }

// Resolve gives the descriptor of the manifest that a tag or digest names.
func (r *Repository) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errNotBuilt
}

// Fetch opens the blob or manifest that desc names.
func (r *Repository) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return nil, errNotBuilt
}

// FetchRange opens n bytes of the blob that desc names, from offset off. It is
// ErrNoRange when the registry ignores ranges.
func (r *Repository) FetchRange(ctx context.Context, desc ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	return nil, errNotBuilt
}

// FetchManifest reads the manifest that desc names, digest verified.
func (r *Repository) FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	return nil, errNotBuilt
}

// Exists reports whether the blob or manifest that desc names is there.
func (r *Repository) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	return false, errNotBuilt
}

// Push stores the blob or manifest that desc names.
func (r *Repository) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	return errNotBuilt
}

// PushTag stores the manifest that desc names under a tag.
func (r *Repository) PushTag(ctx context.Context, desc ocispec.Descriptor, content io.Reader, tag string) error {
	return errNotBuilt
}

// Referrers lists the manifests whose subject is desc, of one artifact type or
// of all ("").
func (r *Repository) Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	return nil, errNotBuilt
}

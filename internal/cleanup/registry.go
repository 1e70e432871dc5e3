package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

var errDigest = errors.New("the content is not what the digest names")

// registryRepository is a repository of any registry.
type registryRepository struct {
	source *inventory.RegistrySource
	name   string
	repo   *ecrclient.Repository
	read   map[digest.Digest]stored
	seen   []inventory.Image // in earlier lists, without tags
}

// stored is a manifest that was read.
type stored struct {
	desc ocispec.Descriptor
	b    []byte
}

// Registry returns a repository of a registry that is not ECR, by the
// distribution API. It sees what has a tag, what such an image leads to, and
// the SOCI indexes v1 that refer to these; nothing has a time.
func Registry(source *inventory.RegistrySource, name string) (Repository, error) {
	repo, err := source.Open(name)
	if err != nil {
		return nil, err
	}
	return &registryRepository{source: source, name: name, repo: repo, read: map[digest.Digest]stored{}}, nil
}

func (r *registryRepository) Name() string { return r.repo.Name() }

func (r *registryRepository) List(ctx context.Context) ([]inventory.Image, error) {
	tagged, err := r.source.Images(ctx, r.name)
	if err != nil {
		return nil, err
	}
	tagged = slices.DeleteFunc(tagged, func(i inventory.Image) bool {
		return images.IsIndexType(i.MediaType) &&
			!slices.ContainsFunc(i.Tags, func(tag string) bool { return !names.IsReferrersTag(tag) })
	})
	l := &listing{r: r, at: map[digest.Digest]bool{}}
	for _, image := range tagged {
		l.add(image)
	}
	for _, image := range r.seen {
		// Nothing may lead to it any more.
		if _, there, err := r.fetch(ctx, image.Digest); err != nil {
			return nil, fmt.Errorf("listing %s: %w", r.Name(), err)
		} else if there {
			l.add(image)
		}
	}
	for next := 0; next < len(l.all); next++ {
		if err := l.follow(ctx, l.all[next]); err != nil {
			return nil, fmt.Errorf("listing %s: %w", r.Name(), err)
		}
	}
	r.seen = slices.Clone(l.all)
	for i := range r.seen {
		r.seen[i].Tags = nil
	}
	return l.all, nil
}

// listing collects what tagged images lead to.
type listing struct {
	r   *registryRepository
	all []inventory.Image
	at  map[digest.Digest]bool
}

func (l *listing) add(image inventory.Image) {
	if !l.at[image.Digest] {
		l.at[image.Digest] = true
		image.Repository = l.r.name
		l.all = append(l.all, image)
	}
}

func (l *listing) follow(ctx context.Context, image inventory.Image) error {
	s, ok, err := l.r.fetch(ctx, image.Digest)
	if err != nil || !ok || soci.IsSchema1(s.desc.MediaType) {
		return err
	}
	if images.IsIndexType(s.desc.MediaType) {
		var index ocispec.Index
		if json.Unmarshal(s.b, &index) != nil {
			return nil // of no kind that could go
		}
		for _, child := range index.Manifests {
			// An image index may list what is not there.
			there, ok, err := l.r.fetch(ctx, child.Digest)
			if err != nil {
				return err
			}
			if ok {
				l.add(inventory.Image{Digest: child.Digest, MediaType: there.desc.MediaType})
			}
		}
		return nil
	}
	referrers, err := l.r.repo.Referrers(ctx, s.desc, soci.ArtifactTypeV1)
	if err != nil {
		return err
	}
	for _, d := range referrers {
		l.add(inventory.Image{Digest: d.Digest, MediaType: d.MediaType, Subject: image.Digest})
	}
	return nil
}

// fetch reads a manifest once, and looks each time whether it is still there.
func (r *registryRepository) fetch(ctx context.Context, d digest.Digest) (stored, bool, error) {
	desc, err := r.repo.Resolve(ctx, d.String())
	if errors.Is(err, ecrclient.ErrNotFound) || errors.Is(err, ecrclient.ErrInvalidReference) {
		return stored{}, false, nil
	}
	if err != nil {
		return stored{}, false, err
	}
	if s, ok := r.read[d]; ok {
		return s, true, nil
	}
	if soci.IsSchema1(desc.MediaType) {
		return stored{desc: desc}, true, nil // whose digest is not that of its bytes
	}
	b, err := r.repo.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return stored{}, false, nil
	}
	if err != nil {
		return stored{}, false, err
	}
	s := stored{desc, b}
	r.read[d] = s
	return s, true, nil
}

func (r *registryRepository) Open() (*ecrclient.Repository, error) { return r.repo, nil }

func (r *registryRepository) Manifests(_ context.Context, images []inventory.Image) (map[digest.Digest][]byte, error) {
	found := map[digest.Digest][]byte{}
	for _, image := range images {
		if s, ok := r.read[image.Digest]; ok { // by List
			found[image.Digest] = s.b
		}
	}
	return found, nil
}

// Delete deletes by digest, the only way that all registries have, and then the
// tags that a registry keeps. Before each it looks whether the tags still are the
// image's.
func (r *registryRepository) Delete(ctx context.Context, images []inventory.Image) (map[digest.Digest]error, error) {
	refused := map[digest.Digest]error{}
	for _, image := range images {
		err := r.delete(ctx, image)
		if e, ok := errors.AsType[*ecrclient.Error](err); ok && e.DeletionDisabled() {
			return nil, fmt.Errorf("%s: %w: allow it there (of the CNCF distribution registry: "+
				"REGISTRY_STORAGE_DELETE_ENABLED=true): %w", r.Name(), ErrDisabled, err)
		}
		switch {
		case err == nil, errors.Is(err, ecrclient.ErrNotFound):
		case errors.Is(err, ecrclient.ErrDenied), errors.Is(err, context.Canceled),
			errors.Is(err, context.DeadlineExceeded):
			return nil, err
		default:
			refused[image.Digest] = err
		}
	}
	return refused, nil
}

func (r *registryRepository) delete(ctx context.Context, image inventory.Image) error {
	for _, tag := range image.Tags {
		desc, err := r.repo.Resolve(ctx, tag)
		switch {
		case errors.Is(err, ecrclient.ErrNotFound):
		case err != nil:
			return err
		case desc.Digest != image.Digest:
			return ErrChanged
		}
	}
	s, ok := r.read[image.Digest]
	if !ok {
		return fmt.Errorf("manifest %s was not read", image.Digest)
	}
	err := r.repo.DeleteManifest(ctx, s.desc)
	if err != nil && !errors.Is(err, ecrclient.ErrNotFound) {
		return err
	}
	return r.deleteTags(ctx, image)
}

// deleteTags deletes the tags of a manifest that the registry keeps without it,
// as go-containerregistry's does. One of a manifest that somebody has pushed
// again in the meantime stays.
func (r *registryRepository) deleteTags(ctx context.Context, image inventory.Image) error {
	for _, tag := range image.Tags {
		desc, err := r.repo.Resolve(ctx, tag)
		switch {
		case errors.Is(err, ecrclient.ErrNotFound):
			continue
		case err != nil:
			return err
		case desc.Digest != image.Digest:
			continue
		}
		_, err = r.repo.Resolve(ctx, image.Digest.String())
		switch {
		case err == nil:
			return ErrChanged
		case !errors.Is(err, ecrclient.ErrNotFound):
			return err
		}
		if err := r.repo.DeleteTag(ctx, tag); err != nil && !errors.Is(err, ecrclient.ErrNotFound) {
			return err
		}
	}
	return nil
}

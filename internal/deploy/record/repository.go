package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/filters"
	"soci-index-builder/pkg/ecrclient"
)

// ArtifactType is that of a record in a registry, and the media type of all of
// its parts: nothing takes it for an image, and the filter function knows it.
const ArtifactType = filters.DeploymentRecord

// annotationSucceeded marks the record of a deploy that succeeded.
const annotationSucceeded = "soci-index-builder.succeeded"

// emptyConfig is the config of every record.
const emptyConfig = "{}"

// Deleter deletes manifests, with all tags; one that is gone is no error. ECR
// does not do so by the protocol of registries.
type Deleter interface {
	Delete(ctx context.Context, digests ...digest.Digest) error
}

type repositoryStore struct {
	repository *ecrclient.Repository
	deleter    Deleter
	stack      string
	prefix     string
}

// InRepository keeps records as artifacts in the repository of a function's
// image. Each state of a record has a tag of its own, since tags may be
// immutable: deploy.<8 of the SHA-256 of the stack's name>.<id>, and the same with
// .succeeded. No lifecycle rule about images without a tag lets them expire.
//
// A nil deleter is for a user's own repository, which loses nothing: Delete then
// does nothing. Anyone who may push there can also push a record.
func InRepository(r *ecrclient.Repository, d Deleter, stack string) Store {
	return &repositoryStore{r, d, stack, tagPrefix(stack)}
}

// tagPrefix is what the tags of a stack's records begin with.
func tagPrefix(stack string) string {
	return "deploy." + digest.FromString(stack).Encoded()[:8] + "."
}

// IsMark reports whether an artifact with these tags only marks a record, which
// has an artifact of its own.
func IsMark(tags []string) bool {
	return len(tags) > 0 &&
		!slices.ContainsFunc(tags, func(tag string) bool { return !strings.HasSuffix(tag, markEnd) })
}

// artifact returns the manifest of a record's state, and its blobs.
func artifact(r *Record, content []byte, succeeded bool) (manifest ocispec.Descriptor, _ []byte,
	blobs map[string]ocispec.Descriptor, _ error) {
	config, layer := describe([]byte(emptyConfig)), describe(content)
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       config,
		Layers:       []ocispec.Descriptor{layer},
		Annotations:  map[string]string{ocispec.AnnotationCreated: r.Time.Format(time.RFC3339)},
	}
	if succeeded {
		m.Annotations[annotationSucceeded] = "true"
	}
	b, err := json.Marshal(m)
	manifest = describe(b)
	manifest.MediaType = ocispec.MediaTypeImageManifest
	return manifest, b, map[string]ocispec.Descriptor{emptyConfig: config, string(content): layer}, err
}

func describe(content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ArtifactType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func (s *repositoryStore) Write(ctx context.Context, r *Record) error {
	return s.push(ctx, r, recordEnd, false)
}

func (s *repositoryStore) MarkSucceeded(ctx context.Context, r *Record) error {
	return s.push(ctx, r, markEnd, true)
}

func (s *repositoryStore) push(ctx context.Context, r *Record, end string, succeeded bool) error {
	content, err := encodeFor(r, s.stack)
	if err != nil {
		return err
	}
	desc, manifest, blobs, err := artifact(r, content, succeeded)
	if err != nil {
		return err
	}
	tag := s.prefix + r.ID + end
	if there, err := s.repository.Resolve(ctx, tag); err == nil && there.Digest == desc.Digest {
		return nil
	} else if err != nil && !errors.Is(err, ecrclient.ErrNotFound) {
		return err
	}
	for _, b := range slices.Sorted(maps.Keys(blobs)) {
		if err := s.repository.Push(ctx, blobs[b], strings.NewReader(b)); err != nil {
			return err
		}
	}
	return s.repository.PushTag(ctx, desc, bytes.NewReader(manifest), tag)
}

func (s *repositoryStore) List(ctx context.Context) ([]*Record, error) {
	tags, err := s.tags(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Record
	ids, marked := newest(tags)
	for _, id := range ids {
		end := recordEnd
		if marked[id] {
			end = markEnd // has the whole record too
		}
		r, err := s.read(ctx, id, end)
		if errors.Is(err, ecrclient.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// tags returns those of the stack's records, without the prefix. A repository
// that does not exist has none.
func (s *repositoryStore) tags(ctx context.Context) ([]string, error) {
	tags, err := s.repository.Tags(ctx)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var own []string
	for _, tag := range tags {
		if rest, ok := strings.CutPrefix(tag, s.prefix); ok {
			own = append(own, rest)
		}
	}
	return own, nil
}

// read reads one state of a record.
func (s *repositoryStore) read(ctx context.Context, id, end string) (*Record, error) {
	where := s.repository.Name() + ":" + s.prefix + id + end
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", where, ErrCorrupt, fmt.Sprintf(format, args...))
	}
	desc, err := s.repository.Resolve(ctx, s.prefix+id+end)
	if err != nil {
		return nil, err
	}
	manifest, err := s.repository.FetchManifest(ctx, desc)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, bad("%v", err)
	}
	switch {
	case m.ArtifactType != ArtifactType || m.Config.MediaType != ArtifactType:
		return nil, bad("its artifact type is %.100q, not %s", m.ArtifactType, ArtifactType)
	case len(m.Layers) != 1:
		return nil, bad("it has %d layers, not one", len(m.Layers))
	case m.Layers[0].Size > maxSize:
		return nil, bad("it has %d bytes, %d are allowed", m.Layers[0].Size, maxSize)
	}
	content, err := s.fetch(ctx, m.Layers[0])
	if errors.Is(err, ecrclient.ErrNotFound) || errors.Is(err, ecrclient.ErrDigestMismatch) {
		return nil, bad("%v", err)
	}
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(content) != m.Layers[0].Digest {
		return nil, bad("the digest of its content is %s", digest.FromBytes(content))
	}
	r, err := decode(content, s.stack, id, where)
	if err != nil {
		return nil, err
	}
	r.Succeeded = end == markEnd && m.Annotations[annotationSucceeded] == "true"
	return r, nil
}

func (s *repositoryStore) fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := s.repository.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, maxSize+1))
}

func (s *repositoryStore) Delete(ctx context.Context, all []*Record) error {
	if s.deleter == nil || len(all) == 0 {
		return nil
	}
	var gone []digest.Digest
	for _, r := range all {
		for _, end := range []string{recordEnd, markEnd} {
			desc, err := s.repository.Resolve(ctx, s.prefix+r.ID+end)
			if errors.Is(err, ecrclient.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			gone = append(gone, desc.Digest)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.deleter.Delete(ctx, gone...)
}

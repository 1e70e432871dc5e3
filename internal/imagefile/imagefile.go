// Package imagefile reads images from files: an OCI layout in a folder, an OCI
// archive, which is one in a tar file, or the tar file of "docker save"; and
// writes OCI layouts. Begin with [Open], or with [CreateLayout].
//
// Files are not trusted: counts and sizes have limits, no name leads out of
// the folder, and a manifest's digest is verified. Other content is verified by
// its reader, as with a registry.
package imagefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const (
	maxListed    = 4096    // manifests that index.json lists
	maxIndexSize = 4 << 20 // bytes of index.json, and of docker-save's manifest.json
	indexFile    = "index.json"
	layoutFile   = ocispec.ImageLayoutFile

	// containerdName is the annotation in which containerd and Docker keep the
	// whole name of an image.
	containerdName = "io.containerd.image.name"
)

var (
	// ErrFormat: the file or folder does not hold images in a form that is known,
	// or breaks the rules of it, or a limit.
	ErrFormat = errors.New("not an image file")

	// ErrAmbiguous: there are several images, and none was named.
	ErrAmbiguous = errors.New("several images")
)

// Store is an open file or folder. It is safe for concurrent use.
type Store struct {
	path  string
	files files

	mu          sync.RWMutex
	index       []ocispec.Descriptor // what index.json lists
	annotations map[string]string    // of index.json

	// Of a file of docker-save: the manifests that are made for its images, and
	// the names of the files that hold other content.
	made map[digest.Digest][]byte
	held map[digest.Digest]string
}

// Open opens an OCI layout, an OCI archive, or a file of docker-save. The context
// ends the reading of compressed layers of docker-save, whose digests must be
// computed. The error is ErrFormat, or that of the file system.
func Open(ctx context.Context, path string) (*Store, error) {
	files, err := openFiles(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, files: files}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return s, nil
}

func (s *Store) load(ctx context.Context) error {
	raw, err := readFile(s.files, indexFile, maxIndexSize)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.loadDockerSave(ctx)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s has neither the index.json of an OCI layout nor the manifest.json of docker save",
				ErrFormat, s.path)
		}
	} else if err == nil {
		err = s.parseIndex(raw)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) parseIndex(raw []byte) error {
	var index ocispec.Index
	if err := documents.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("%w: index.json: %w", ErrFormat, err)
	}
	if n := len(index.Manifests); n > maxListed {
		return fmt.Errorf("%w: index.json lists %d manifests, at most %d are allowed", ErrFormat, n, maxListed)
	}
	for _, desc := range index.Manifests {
		if err := desc.Digest.Validate(); err != nil || desc.Size < 0 {
			return fmt.Errorf("%w: index.json lists the digest %.100q with %d bytes: a digest is such as "+
				"sha256: and 64 of 0-9 and a-f, a size 0 or more", ErrFormat, desc.Digest, desc.Size)
		}
	}
	s.index, s.annotations = index.Manifests, index.Annotations
	return nil
}

// Close closes the file.
func (s *Store) Close() error { return s.files.Close() }

// Name is the path.
func (s *Store) Name() string { return s.path }

// Tags returns the tags of all images, sorted.
func (s *Store) Tags(context.Context) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var tags []string
	for _, desc := range s.index {
		if tag := tagOf(desc); tag != "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// tagOf returns the tag that an entry of index.json has: the annotation may hold
// it, or a whole name. It is empty for none.
func tagOf(desc ocispec.Descriptor) string {
	for _, name := range []string{ocispec.AnnotationRefName, containerdName} {
		if tag := tagIn(desc.Annotations[name]); tag != "" {
			return tag
		}
	}
	return ""
}

// tagIn returns the tag in a name, or the name if it is no more than a tag.
func tagIn(name string) string {
	if i := strings.LastIndexAny(name, ":/"); i >= 0 && name[i] == ':' {
		name = name[i+1:]
	}
	if !names.IsTag(name) {
		return ""
	}
	return name
}

// Only returns the tag of the one image that is there, or its digest if it has no
// tag. SOCI indexes, SOCI-enabled images and other artifacts beside it do not
// count. The error is ErrAmbiguous if there are several images.
func (s *Store) Only(ctx context.Context) (string, error) {
	s.mu.RLock()
	listed := slices.Clone(s.index)
	s.mu.RUnlock()
	found := map[digest.Digest]string{}
	for _, enabled := range []bool{false, true} { // SOCI-enabled images if there is nothing else
		for _, desc := range listed {
			tag, seen := found[desc.Digest]
			if !seen {
				ok, err := s.isImage(ctx, desc, enabled)
				if err != nil {
					return "", err
				}
				if !ok {
					continue
				}
			}
			if other := tagOf(desc); tag == "" || other != "" && other < tag {
				tag = other
			}
			found[desc.Digest] = tag
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		for _, desc := range s.index {
			if _, err := s.FetchManifest(ctx, desc); errors.Is(err, ecrclient.ErrNotFound) {
				return "", fmt.Errorf("%w: %s lacks %s, which its index.json lists", ErrFormat, s.path, desc.Digest)
			}
		}
		return "", fmt.Errorf("%w: %s holds no image", ErrFormat, s.path)
	case 1:
		for digest, tag := range found {
			if tag == "" {
				return digest.String(), nil
			}
			return tag, nil
		}
	}
	var all []string
	for digest, tag := range found {
		if tag == "" {
			tag = "@" + digest.String()
		} else {
			tag = ":" + tag
		}
		all = append(all, s.path+tag)
	}
	slices.Sort(all)
	text := strings.Join(all[:min(len(all), 10)], ", ")
	if more := len(all) - 10; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "", fmt.Errorf("%w: %s holds %d; name one: %s", ErrAmbiguous, s.path, len(all), text)
}

// isImage reports whether an entry of index.json is an image or an image index as
// it was built, or, if enabled is true, a SOCI-enabled image.
func (s *Store) isImage(ctx context.Context, desc ocispec.Descriptor, enabled bool) (bool, error) {
	if kind := soci.ClassifyListed(desc); kind != soci.KindImage && kind != soci.KindImageIndex {
		return false, nil
	}
	raw, err := s.FetchManifest(ctx, desc)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := soci.Classify(desc.MediaType, raw)
	if err != nil {
		return false, fmt.Errorf("%s: manifest %s: %w", s.path, desc.Digest, err)
	}
	switch info.Kind {
	case soci.KindImage, soci.KindImageIndex, soci.KindEnabledManifest:
		return true, nil
	case soci.KindEnabledImage:
		return enabled, nil
	}
	return false, nil
}

// Split takes PATH[:TAG|@DIGEST] apart. What exists as a whole is a path.
func Split(name string) (path, reference string) {
	if _, err := os.Lstat(name); err == nil {
		return name, ""
	}
	if i := strings.LastIndex(name, "@"); i > 0 && names.IsDigest(name[i+1:]) {
		return name[:i], name[i+1:]
	}
	if i := strings.LastIndex(name, ":"); i > 0 && names.IsTag(name[i+1:]) {
		return name[:i], name[i+1:]
	}
	return name, ""
}

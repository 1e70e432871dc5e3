package imagefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
)

const (
	maxSavedImages = 1000
	maxSavedLayers = 1000 // of one image
	maxSavedConfig = 16 << 20
)

// savedImage is an entry of docker-save's manifest.json.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// loadDockerSave makes manifests for the images of docker-save. Nothing is
// converted: a layer stays as it is in the file, which most tools write
// uncompressed. fs.ErrNotExist says that there is no manifest.json.
func (s *Store) loadDockerSave(ctx context.Context) error {
	raw, err := readFile(s.files, "manifest.json", maxIndexSize)
	if err != nil {
		return err
	}
	var saved []savedImage
	if err := documents.Unmarshal(raw, &saved); err != nil {
		return fmt.Errorf("%w: manifest.json: %w", ErrFormat, err)
	}
	if len(saved) > maxSavedImages {
		return fmt.Errorf("%w: manifest.json lists %d images, at most %d are allowed", ErrFormat, len(saved),
			maxSavedImages)
	}
	s.made, s.held = map[digest.Digest][]byte{}, map[digest.Digest]string{}
	layers := map[string]ocispec.Descriptor{} // compressed ones, by name
	for _, one := range saved {
		desc, err := s.convert(ctx, one, layers)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: manifest.json names what is not there: %v", ErrFormat, err)
		}
		if err != nil {
			return err
		}
		if len(one.RepoTags) == 0 {
			s.index = append(s.index, desc)
		}
		for _, name := range one.RepoTags {
			tagged := desc
			tagged.Annotations = map[string]string{ocispec.AnnotationRefName: tagIn(name), containerdName: name}
			s.index = append(s.index, tagged)
		}
		if len(s.index) > maxListed {
			return fmt.Errorf("%w: manifest.json lists more than %d tags", ErrFormat, maxListed)
		}
	}
	return nil
}

// convert makes the manifest of an image.
func (s *Store) convert(ctx context.Context, one savedImage, layers map[string]ocispec.Descriptor) (
	ocispec.Descriptor, error) {
	config, err := readFile(s.files, one.Config, maxSavedConfig)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var image ocispec.Image
	if err := documents.Unmarshal(config, &image); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%w: %s: %w", ErrFormat, one.Config, err)
	}
	ids := image.RootFS.DiffIDs
	if len(ids) != len(one.Layers) || len(ids) > maxSavedLayers {
		return ocispec.Descriptor{},
			fmt.Errorf("%w: %s names %d layers, manifest.json names %d; at most %d are allowed",
				ErrFormat, one.Config, len(ids), len(one.Layers), maxSavedLayers)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config),
			Size: int64(len(config))},
		Layers: []ocispec.Descriptor{},
	}
	s.held[m.Config.Digest] = one.Config
	for i, name := range one.Layers {
		desc, err := s.layer(ctx, name, ids[i], layers)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		s.held[desc.Digest] = name
		m.Layers = append(m.Layers, desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s.made[desc.Digest] = raw
	return desc, nil
}

// layer describes a layer. The digest of an uncompressed one is what the config
// says; the layer's reader verifies it. A compressed one is read for its
// digest.
func (s *Store) layer(ctx context.Context, name string, id digest.Digest, known map[string]ocispec.Descriptor) (
	ocispec.Descriptor, error) {
	if desc, ok := known[name]; ok {
		return desc, nil
	}
	if err := id.Validate(); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%w: layer %.100q: digest %.100q: %w", ErrFormat, name, id, err)
	}
	f, err := s.files.open(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.close()
	start := make([]byte, 4)
	n, err := f.ReadAt(start, 0)
	if err != nil && err != io.EOF {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: f.size}
	for _, c := range compressions[:2] {
		if bytes.HasPrefix(start[:n], []byte(c.magic)) {
			desc.MediaType += "+" + c.name
			if desc.Digest, err = digest.FromReader(&part{ctx, io.NewSectionReader(f, 0, f.size), nil}); err != nil {
				return ocispec.Descriptor{}, fmt.Errorf("layer %.100q: %w", name, err)
			}
			known[name] = desc
		}
	}
	return desc, nil
}

func inMemory(b []byte) file {
	return file{bytes.NewReader(b), int64(len(b)), func() error { return nil }}
}

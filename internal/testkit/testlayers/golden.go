package testlayers

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// goldenFile is the record of what upstream made of the stored layers and of
// the images of Images, in testdata.
const goldenFile = "golden.json"

// GoldenRecord is that record.
type GoldenRecord struct {
	Layers []GoldenLayer `json:"layers"`
	Images []GoldenImage `json:"images"`
}

// GoldenLayer is what upstream makes of one stored layer.
type GoldenLayer struct {
	Name             string        `json:"name"`
	Blob             digest.Digest `json:"blob"`
	Compression      string        `json:"compression"`
	CompressedSize   int64         `json:"compressedSize"`
	UncompressedSize int64         `json:"uncompressedSize"`
	Entries          int           `json:"entries"`
	Ztocs            []GoldenZtoc  `json:"ztocs"`
}

// GoldenZtoc is one zTOC of a layer.
type GoldenZtoc struct {
	SpanSize  int64         `json:"spanSize"`
	BuildTool string        `json:"buildTool"`
	Spans     int           `json:"spans"`
	Size      int64         `json:"size"`
	Digest    digest.Digest `json:"digest"`
}

// GoldenImage is the SOCI index of one image.
type GoldenImage struct {
	Name     string          `json:"name"`
	Manifest digest.Digest   `json:"manifest"` // of the image
	Index    json.RawMessage `json:"index"`    // as it is, but for white space
	Digest   digest.Digest   `json:"digest"`
	Size     int64           `json:"size"`
}

// Golden returns the record. One without layers or images is an error.
func Golden() (*GoldenRecord, error) {
	b, err := readTestdata(goldenFile)
	if err != nil {
		return nil, err
	}
	var g GoldenRecord
	if err := json.Unmarshal(b, &g); err != nil {
		return nil, fmt.Errorf("%s: %w", goldenFile, err)
	}
	if len(g.Layers) == 0 || len(g.Images) == 0 {
		return nil, fmt.Errorf("%s: %w", goldenFile, errors.New("nothing in it"))
	}
	return &g, nil
}

// Sizes with which the SOCI indexes of Images are built; the least layer size
// lies between those of their layers.
const (
	ImageSpanSize     = 64 << 10
	ImageMinLayerSize = 20_000
)

// Image is a manifest over stored layers.
type Image struct {
	Name     string
	Desc     ocispec.Descriptor
	Contents map[digest.Digest]Content // the manifest, its config and its layers
}

// Content is a blob or manifest of an image.
type Content struct {
	MediaType string
	Bytes     []byte
}

// Images returns images made of stored layers.
func Images() ([]Image, error) {
	stored, err := Stored()
	if err != nil {
		return nil, err
	}
	layers := make(map[string]Layer)
	for _, l := range stored {
		layers[l.Name] = l
	}
	const (
		dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
		dockerConfig   = "application/vnd.docker.container.image.v1+json"
		dockerGzip     = "application/vnd.docker.image.rootfs.diff.tar.gzip"
		dockerTar      = "application/vnd.docker.image.rootfs.diff.tar"
	)
	recipes := []struct {
		name   string
		docker bool
		layers []string
	}{
		{"oci", false, []string{"writer/go-6", "tar/types", "member/7k", "plain/base"}},
		{"docker", true, []string{"writer/klauspost-1", "plain/base", "tar/xattrs"}},
		{"one-layer", false, []string{"member/bgzip"}},
		{"duplicate", false, []string{"writer/go-9", "block/alternating", "writer/go-9"}},
	}
	var all []Image
	for _, r := range recipes {
		image := Image{Name: r.name, Contents: make(map[digest.Digest]Content)}
		add := func(mediaType string, b []byte) ocispec.Descriptor {
			d := digest.FromBytes(b)
			image.Contents[d] = Content{mediaType, b}
			return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
		}
		addJSON := func(mediaType string, v any) ocispec.Descriptor {
			b, err := json.Marshal(v)
			must(err)
			return add(mediaType, b)
		}
		manifestType, configType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig
		if r.docker {
			manifestType, configType = dockerManifest, dockerConfig
		}
		m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType}
		m.Config = addJSON(configType, ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}})
		for _, name := range r.layers {
			l, ok := layers[name]
			if !ok {
				return nil, fmt.Errorf("image %s: no stored layer %s", r.name, name)
			}
			mediaType := l.Compression.MediaType()
			if r.docker && l.Compression == Gzip {
				mediaType = dockerGzip
			} else if r.docker {
				mediaType = dockerTar
			}
			m.Layers = append(m.Layers, add(mediaType, l.Blob()))
		}
		image.Desc = addJSON(manifestType, m)
		all = append(all, image)
	}
	return all, nil
}

// GoldenPath is where the record stands.
func GoldenPath() (string, error) {
	dir, err := testdata()
	return filepath.Join(dir, goldenFile), err
}

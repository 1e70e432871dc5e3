package registrytest

import (
	"bytes"
	"cmp"
	_ "crypto/sha512" // so that package digest knows it
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image format.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Layer is a layer blob as it is stored.
type Layer struct {
	MediaType string // "" is the image's gzip layer
	Content   []byte
	Algorithm digest.Algorithm // of its digest; "" is sha256
}

// Image is an image manifest to be.
type Image struct {
	Layers      []Layer
	Platform    string // "os/arch[/variant]"; "" is linux/amd64
	Docker      bool   // Docker's media types instead of OCI's
	Config      []byte // "" is made of the platform
	Annotations map[string]string
}

// Pushed is an image in the registry.
type Pushed struct {
	Manifest ocispec.Descriptor // with its platform, as an image index lists it
	Bytes    []byte             // of the manifest
	Config   ocispec.Descriptor
	Layers   []ocispec.Descriptor
}

// PushImage stores an image in a repository, under tag unless that is "".
func (s *Server) PushImage(t testing.TB, repository, tag string, img Image) Pushed {
	t.Helper()
	p := platform(img.Platform)
	manifestType, configType, layerType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig,
		ocispec.MediaTypeImageLayerGzip
	if img.Docker {
		manifestType, configType, layerType = DockerManifest, DockerConfig, DockerLayer
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType,
		Layers: []ocispec.Descriptor{}, Annotations: img.Annotations,
	}
	image := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	for _, layer := range img.Layers {
		desc := s.pushBlob(t, repository, cmp.Or(layer.Algorithm, digest.SHA256), layer.Content)
		if desc.MediaType = layer.MediaType; desc.MediaType == "" {
			desc.MediaType = layerType
		}
		m.Layers = append(m.Layers, desc)
		// The diff ID is that of the uncompressed layer; nothing here unpacks it.
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, desc.Digest)
	}
	config := img.Config
	if config == nil {
		config = encode(t, image)
	}
	m.Config = s.PushBlob(t, repository, config)
	m.Config.MediaType = configType
	b := encode(t, m)
	desc := s.PushManifest(t, repository, tag, manifestType, b)
	desc.Platform = &p
	return Pushed{Manifest: desc, Bytes: b, Config: m.Config, Layers: m.Layers}
}

// PushAttestation stores what buildkit adds to an image index for one of its
// images: a manifest of no platform with a provenance statement as its layer.
func (s *Server) PushAttestation(t testing.TB, repository string, of ocispec.Descriptor) Pushed {
	t.Helper()
	p := s.PushImage(t, repository, "", Image{
		Platform: "unknown/unknown",
		Layers: []Layer{{
			MediaType: "application/vnd.in-toto+json",
			Content:   []byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":"` + of.Digest.String() + `"}`),
		}},
	})
	p.Manifest.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": of.Digest.String(),
	}
	return p
}

// PushIndex stores an image index, or with docker a manifest list, of
// manifests that are there already.
func (s *Server) PushIndex(t testing.TB, repository, tag string, docker bool,
	manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	mediaType := ocispec.MediaTypeImageIndex
	if docker {
		mediaType = DockerManifestList
	}
	return s.PushManifest(t, repository, tag, mediaType, encode(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: manifests,
	}))
}

// PushReferrer stores an artifact whose subject is desc.
func (s *Server) PushReferrer(t testing.TB, repository string, desc ocispec.Descriptor, artifactType string,
	content []byte) ocispec.Descriptor {
	t.Helper()
	config := s.PushBlob(t, repository, []byte("{}"))
	config.MediaType = artifactType
	blob := s.PushBlob(t, repository, content)
	subject := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	return s.PushManifest(t, repository, "", ocispec.MediaTypeImageManifest, encode(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{blob}, Subject: &subject,
	}))
}

// PushBlob stores a blob.
//
// It can be read at once, as if an image had it.
func (s *Server) PushBlob(t testing.TB, repository string, content []byte) ocispec.Descriptor {
	t.Helper()
	return s.pushBlob(t, repository, digest.SHA256, content)
}

func (s *Server) pushBlob(t testing.TB, repository string, algorithm digest.Algorithm,
	content []byte) ocispec.Descriptor {
	t.Helper()
	d := algorithm.FromBytes(content)
	path := fmt.Sprintf("/v2/%s/blobs/uploads/?digest=%s", repository, d)
	s.request(t, http.MethodPost, path, "application/octet-stream", content, http.StatusCreated)
	s.named.add(repository, d)
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(content))}
}

// PushManifest stores any bytes that the registry takes for a manifest, under
// tag, or by digest if that is "".
func (s *Server) PushManifest(t testing.TB, repository, tag, mediaType string, manifest []byte) ocispec.Descriptor {
	t.Helper()
	d := digest.FromBytes(manifest)
	reference := tag
	if tag == "" {
		reference = d.String()
	}
	path := fmt.Sprintf("/v2/%s/manifests/%s", repository, reference)
	s.request(t, http.MethodPut, path, mediaType, manifest, http.StatusCreated)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(manifest))}
}

// Blob returns the content of a blob, nil if it is not there. From then on it can
// be read.
func (s *Server) Blob(t testing.TB, repository string, d digest.Digest) []byte {
	t.Helper()
	s.named.add(repository, d)
	return s.request(t, http.MethodGet, fmt.Sprintf("/v2/%s/blobs/%s", repository, d), "", nil, http.StatusOK,
		http.StatusNotFound)
}

// Manifest returns the bytes of a manifest, nil if it is not there.
func (s *Server) Manifest(t testing.TB, repository, reference string) []byte {
	t.Helper()
	return s.request(t, http.MethodGet, fmt.Sprintf("/v2/%s/manifests/%s", repository, reference), "", nil,
		http.StatusOK, http.StatusNotFound)
}

// request talks to the registry past all faults; the first of want has a body
// worth returning.
func (s *Server) request(t testing.TB, method, path, contentType string, body []byte, want ...int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Registry.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if len(body) > 0 {
		// What the registry has it does not read: it answers and closes the connection.
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for i, status := range want {
		if resp.StatusCode == status {
			if i == 0 {
				return got
			}
			return nil
		}
	}
	t.Fatalf("%s %s: status %d: %s", method, path, resp.StatusCode, got)
	return nil
}

func platform(s string) ocispec.Platform {
	if s == "" {
		s = "linux/amd64"
	}
	part := append(strings.SplitN(s, "/", 3), "", "")
	return ocispec.Platform{OS: part[0], Architecture: part[1], Variant: part[2]}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

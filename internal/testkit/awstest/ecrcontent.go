package awstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
)

const (
	mediaTypeManifest = ocispec.MediaTypeImageManifest
	mediaTypeConfig   = ocispec.MediaTypeImageConfig
)

// ecrContent reads the registry, past its faults.
type ecrContent struct {
	registry  *registrytest.Server
	manifests map[digest.Digest]*ecrManifest // content never changes
}

// ecrManifest is a manifest as far as ECR looks into it.
type ecrManifest struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       ocispec.Descriptor   `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`

	raw []byte
}

// artifactMediaType is what ECR calls that of its config.
func (m *ecrManifest) artifactMediaType() string {
	if m.Config.MediaType != "" && m.Config.MediaType != ocispec.MediaTypeEmptyJSON {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

func (c *ecrContent) do(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, http.NoBody)
	r.Header.Set("Accept", strings.Join([]string{
		mediaTypeManifest, ocispec.MediaTypeImageIndex, registrytest.DockerManifest, registrytest.DockerManifestList,
	}, ", "))
	c.registry.Registry.Handler().ServeHTTP(w, r)
	return w
}

// repositories returns the names of those that hold something, sorted.
func (c *ecrContent) repositories() []string {
	if c.registry == nil {
		return nil
	}
	var names []string
	for _, s := range c.registry.Stored() {
		names = append(names, s.Repository)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// manifest reads one, nil when it is not there (any more).
func (c *ecrContent) manifest(repository string, d digest.Digest) *ecrManifest {
	known := c.manifests[d]
	method := http.MethodGet
	if known != nil {
		method = http.MethodHead // it may have been deleted
	}
	w := c.do(method, "/v2/"+repository+"/manifests/"+d.String())
	if w.Code != http.StatusOK {
		return nil
	}
	if known != nil {
		return known
	}
	m := &ecrManifest{raw: w.Body.Bytes()}
	if json.Unmarshal(m.raw, m) != nil {
		return nil
	}
	m.MediaType = w.Header().Get("Content-Type")
	c.manifests[d] = m
	return m
}

// tags returns the sorted tags of each manifest of a repository.
func (c *ecrContent) tags(repository string) map[digest.Digest][]string {
	var list struct{ Tags []string }
	if w := c.do(http.MethodGet, "/v2/"+repository+"/tags/list"); w.Code != http.StatusOK ||
		json.Unmarshal(w.Body.Bytes(), &list) != nil {
		return nil
	}
	sort.Strings(list.Tags)
	of := map[digest.Digest][]string{}
	for _, tag := range list.Tags {
		w := c.do(http.MethodHead, "/v2/"+repository+"/manifests/"+tag)
		d := digest.Digest(w.Header().Get("Docker-Content-Digest"))
		of[d] = append(of[d], tag)
	}
	return of
}

func (c *ecrContent) delete(repository, reference string) {
	c.do(http.MethodDelete, "/v2/"+repository+"/manifests/"+reference)
}

// ecrImage is an image of a repository, from the registry or without content.
type ecrImage struct {
	digest            digest.Digest
	tags              []string
	pushedAt          time.Time
	pulledAt          time.Time
	size              int64
	mediaType         string
	artifactMediaType string
	subject           digest.Digest
	archived          bool
	status            string // of archived; "" is ARCHIVED
	raw               string
	manifest          *ecrManifest // nil without content
}

// list returns all images of a repository, in the order of their digests, which
// is not one that a caller could expect.
func (e *ECR) list(repository string) []*ecrImage {
	var all []*ecrImage
	for _, image := range e.images[repository] {
		all = append(all, &ecrImage{
			digest: image.Digest, tags: image.Tags, pushedAt: image.PushedAt, pulledAt: image.PulledAt,
			size:      image.Size,
			mediaType: image.MediaType, artifactMediaType: image.ArtifactMediaType,
			subject: image.Subject, archived: image.Archived, status: image.Status, raw: image.Manifest,
		})
	}
	if e.content.registry != nil {
		tags := e.content.tags(repository)
		for _, s := range e.content.registry.Stored() {
			if s.Repository != repository {
				continue
			}
			m := e.content.manifest(repository, s.Digest)
			if m == nil {
				continue
			}
			image := &ecrImage{
				digest: s.Digest, tags: tags[s.Digest], pushedAt: s.At, size: e.size(repository, m),
				mediaType: m.MediaType, artifactMediaType: m.artifactMediaType(), raw: string(m.raw), manifest: m,
			}
			if m.Subject != nil {
				image.subject = m.Subject.Digest
			}
			if at, ok := e.pushed[ecrKey{repository, s.Digest}]; ok {
				image.pushedAt = at
			}
			all = append(all, image)
		}
	}
	slices.SortFunc(all, func(a, b *ecrImage) int { return strings.Compare(a.digest.String(), b.digest.String()) })
	return all
}

// size is that of all that an image manifest names, and of an image index that
// of its largest.
func (e *ECR) size(repository string, m *ecrManifest) int64 {
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	for _, child := range m.Manifests {
		if c := e.content.manifest(repository, child.Digest); c != nil {
			size = max(size, e.size(repository, c))
		}
	}
	return size
}

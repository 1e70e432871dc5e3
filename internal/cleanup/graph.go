package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// node is a manifest that the repository lists.
type node struct {
	inventory.Image
	*content // nil: not read, or not to be read

	listedBy []*node // the image indexes of the repository that list it
}

// content is what a manifest holds. It never changes.
type content struct {
	*soci.ManifestInfo
	image ocispec.Manifest // of what is no image index
	size  int64            // of the manifest in bytes
}

// is reports whether the content is known, and of a kind.
func (n *node) is(kinds ...soci.Kind) bool {
	return n != nil && n.content != nil && slices.Contains(kinds, n.Kind)
}

// isImage reports whether the content is known to be an image manifest.
func (n *node) isImage() bool { return n.is(soci.KindImage, soci.KindEnabledManifest) }

// isIndex reports whether the manifest lists others.
func (n *node) isIndex() bool { return images.IsIndexType(n.MediaType) }

// reader reads manifests, each once however often the repository is listed.
type reader struct {
	repo     Repository
	known    map[digest.Digest]*content
	progress func(Progress)
}

// graph is what a repository held when it was listed.
type graph struct {
	reader *reader
	nodes  map[digest.Digest]*node
	order  []*node // as they were listed
	hidden []*node // image indexes whose content is not known
	tags   map[string]*node
}

// load lists the repository and reads what could be a SOCI artifact, or need
// one: all image indexes, whatever is no image, and the images that nothing
// leads to; the others, which may be thousands, only if there is reason to.
func (r *reader) load(ctx context.Context) (*graph, error) {
	listed, err := r.repo.List(ctx)
	if err != nil {
		return nil, err
	}
	g := &graph{reader: r, nodes: make(map[digest.Digest]*node, len(listed)), tags: map[string]*node{}}
	for _, image := range listed {
		if g.nodes[image.Digest] != nil {
			continue
		}
		n := &node{Image: image, content: r.known[image.Digest]}
		g.nodes[image.Digest] = n
		g.order = append(g.order, n)
		for _, tag := range image.Tags {
			g.tags[tag] = n
		}
	}
	err = g.read(ctx, func(n *node) bool { return n.isIndex() || !images.IsConfigType(n.ArtifactType) })
	if err != nil {
		return nil, err
	}
	for _, n := range g.order {
		if n.content == nil {
			if n.isIndex() {
				g.hidden = append(g.hidden, n)
			}
			continue
		}
		for _, child := range n.Manifests {
			if c := g.nodes[child.Digest]; c != nil && !slices.Contains(c.listedBy, n) {
				c.listedBy = append(c.listedBy, n)
			}
		}
	}
	err = g.read(ctx, func(n *node) bool { return len(n.Tags) == 0 && len(n.listedBy) == 0 })
	if err != nil {
		return nil, err
	}
	// A SOCI index that no image index lists may still be named by any image.
	if slices.ContainsFunc(g.order, func(n *node) bool { return n.is(soci.KindSOCIIndexV2) && len(n.listedBy) == 0 }) {
		err = g.read(ctx, func(*node) bool { return true })
	}
	return g, err
}

// read fills in the content of those that want it.
func (g *graph) read(ctx context.Context, want func(*node) bool) error {
	var missing []inventory.Image
	for _, n := range g.order {
		if n.content == nil && !n.Archived && !soci.IsSchema1(n.MediaType) && want(n) {
			missing = append(missing, n.Image)
		}
	}
	for some := range slices.Chunk(missing, readAtOnce) {
		if err := g.readSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// readAtOnce bounds the manifests that are held as they came.
const readAtOnce = 1000

func (g *graph) readSome(ctx context.Context, missing []inventory.Image) error {
	found, err := g.reader.repo.Manifests(ctx, missing)
	if err != nil {
		return err
	}
	for d, b := range found {
		n := g.nodes[d]
		c, err := parse(n.MediaType, b)
		if errors.Is(err, soci.ErrManifest) {
			continue // of no kind that could go
		}
		if err != nil {
			return fmt.Errorf("manifest %s of %s: %w", d, g.reader.repo.Name(), err)
		}
		g.reader.known[d], n.content = c, c
	}
	g.reader.progress(Progress{Manifests: len(g.reader.known)})
	return nil
}

// readImages reads all image manifests that roots lead to.
func (g *graph) readImages(ctx context.Context, roots []*node) error {
	wanted := map[*node]bool{}
	for _, root := range roots {
		g.walk(root, func(n *node) { wanted[n] = true })
	}
	return g.read(ctx, func(n *node) bool { return wanted[n] })
}

// walk calls visit with root and all below it that are there, each once.
func (g *graph) walk(root *node, visit func(*node)) {
	seen := map[*node]bool{}
	var descend func(*node)
	descend = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		visit(n)
		if n.content != nil {
			for _, child := range n.Manifests {
				descend(g.nodes[child.Digest])
			}
		}
	}
	descend(root)
}

func parse(mediaType string, b []byte) (*content, error) {
	m, err := soci.Classify(mediaType, b)
	if err != nil {
		return nil, err
	}
	c := &content{ManifestInfo: m, size: int64(len(b))}
	if !images.IsIndexType(mediaType) {
		err = json.Unmarshal(b, &c.image)
	}
	return c, err
}

// fingerprint is what an image is made of, whatever its manifest looks like: config
// and layers keep their digests when a manifest is rewritten.
func (c *content) fingerprint() string {
	var b strings.Builder
	b.WriteString(c.image.Config.Digest.String())
	for _, l := range c.image.Layers {
		b.WriteString(" " + l.Digest.String())
	}
	return b.String()
}

// rewritten returns the digest that an image manifest has once it has OCI's
// media types and names no SOCI index, as SOCI-enabled images list those
// without one, and unindexed images those that had inherited one.
func (c *content) rewritten(unindexed bool) digest.Digest {
	m := c.image
	m.Annotations = maps.Clone(m.Annotations)
	delete(m.Annotations, soci.AnnotationIndexDigest)
	delete(m.Annotations, soci.AnnotationUnindexed)
	if unindexed {
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[soci.AnnotationUnindexed] = "true"
	} else if len(m.Annotations) == 0 && c.Kind == soci.KindEnabledManifest {
		m.Annotations = nil
	}
	m.MediaType = ocispec.MediaTypeImageManifest
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	b, err := json.Marshal(m)
	if err != nil {
		return "" // of no manifest
	}
	return digest.FromBytes(b)
}

// fingerprints returns those of all images that a node leads to, which must have
// been read.
func (g *graph) fingerprints(root *node) []string {
	found := map[string]bool{}
	g.walk(root, func(n *node) {
		if n.isImage() {
			found[n.fingerprint()] = true
		}
	})
	return slices.Sorted(maps.Keys(found))
}

// sociIndexes returns the SOCI indexes v2 that a SOCI-enabled image lists and
// that are there. It is not proven when something else stands in the place of
// one, or there is none.
func (g *graph) sociIndexes(root *node) (found []*node, proven bool) {
	proven = true
	for _, d := range root.SOCIIndexes() {
		switch n := g.nodes[d.Digest]; {
		case n == nil: // gone
		case n.is(soci.KindSOCIIndexV2):
			found = append(found, n)
		default:
			proven = false
		}
	}
	return found, proven && len(found) > 0
}

// tools returns the build tools of an artifact, sorted; "" is an unknown one.
func (g *graph) tools(n *node) []string {
	switch n.Kind {
	case soci.KindSOCIIndexV1, soci.KindSOCIIndexV2:
		return []string{n.BuildTool}
	case soci.KindUnindexed:
		return []string{soci.BuildToolIdentifier}
	case soci.KindEnabledManifest:
		if index := g.nodes[n.indexDigest()]; index.is(soci.KindSOCIIndexV2) {
			return []string{index.BuildTool}
		}
	case soci.KindEnabledImage:
		var tools []string
		for _, d := range n.SOCIIndexes() {
			tool := ""
			if index := g.nodes[d.Digest]; index.is(soci.KindSOCIIndexV2) {
				tool = index.BuildTool
			}
			tools = append(tools, tool)
		}
		slices.Sort(tools)
		return slices.Compact(tools)
	}
	return nil
}

// indexDigest is the SOCI index that an image manifest names.
func (c *content) indexDigest() digest.Digest {
	return digest.Digest(c.image.Annotations[soci.AnnotationIndexDigest])
}

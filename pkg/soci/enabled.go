package soci

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// enabledImage is a SOCI-enabled image, or the unindexed one in its place, as
// it is to be pushed: what comes first in manifests does not need what follows.
type enabledImage struct {
	indexes   []content // SOCI indexes v2
	manifests []content // image manifests and nested image indexes
	root      content   // the image index to be tagged

	indexOf    map[*target]ocispec.Descriptor // SOCI index v2 of an image manifest
	manifestOf map[*target]ocispec.Descriptor // what stands for an image manifest
}

// enabler rewrites an image as upstream's conversion does, whose digest the
// result has. There is one difference: attestations and whatever else is no
// image keep the annotations with which they are listed, and their manifests.
type enabler struct {
	tree      *tree
	unindexed bool // the unindexed image is made, in which whatever is rewritten says so
	out       enabledImage
	done      map[digest.Digest]bool
	moved     map[string]string // digests of image manifests, before and after
}

func newEnabler(t *tree) *enabler {
	return &enabler{tree: t, done: make(map[digest.Digest]bool), moved: make(map[string]string), out: enabledImage{
		indexOf: make(map[*target]ocispec.Descriptor), manifestOf: make(map[*target]ocispec.Descriptor),
	}}
}

// newEnabledImage makes the SOCI-enabled image of the zTOCs that layers found
// for each target. Without any it returns nil.
func newEnabledImage(t *tree, ztocsOf map[digest.Digest][]ocispec.Descriptor, buildTool string) (*enabledImage, error) {
	e := newEnabler(t)
	for _, x := range t.targets {
		if x.kept.Digest != "" { // and its manifest is there too, or it would not be kept
			e.out.indexOf[x] = x.kept
			continue
		}
		// Of several manifests of one platform each is some client's choice:
		// they differ in the features of the system, or in compression.
		ztocs := ztocsOf[x.desc.Digest]
		if x.manifest == nil || !x.wanted || len(ztocs) == 0 {
			continue
		}
		b, err := marshalIndex(ArtifactTypeV2, nil, ztocs, buildTool, x.unindexable)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", x.desc.Digest, err)
		}
		c := content{sociIndexDescriptor(b, ArtifactTypeV2), b}
		e.out.indexOf[x] = c.desc
		e.add(&e.out.indexes, c)
	}
	if len(e.out.indexOf) == 0 {
		return nil, nil
	}
	for _, x := range t.targets {
		if x.manifest != nil {
			if err := e.rewriteManifest(x); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", x.desc.Digest, err)
			}
		}
	}
	root, err := e.rewriteRoot()
	if err != nil {
		return nil, err
	}
	e.out.root = root
	return &e.out, nil
}

// add appends c unless it is there.
func (e *enabler) add(list *[]content, c content) {
	if !e.done[c.desc.Digest] {
		e.done[c.desc.Digest] = true
		*list = append(*list, c)
	}
}

// rewriteManifest gives an image manifest OCI's media types, since registries
// take those of Docker amiss beside a SOCI index, and the name of its SOCI
// index, if it has one.
func (e *enabler) rewriteManifest(t *target) error {
	m := *t.manifest
	m.MediaType = ocispec.MediaTypeImageManifest
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	m.Annotations = notInherited(m.Annotations)
	if index, ok := e.out.indexOf[t]; ok {
		m.Annotations = annotated(m.Annotations, AnnotationIndexDigest, index.Digest.String())
	} else if e.unindexed {
		m.Annotations = annotated(m.Annotations, AnnotationUnindexed, "true")
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c := content{blobDescriptor(b), b}
	c.desc.MediaType = m.MediaType
	if t.held == nil { // else it is there, and could not be pushed again without its config
		e.add(&e.out.manifests, c)
	}
	e.moved[t.desc.Digest.String()] = c.desc.Digest.String()
	c.desc.Annotations = m.Annotations // as it is listed
	e.out.manifestOf[t] = c.desc
	return nil
}

// rewriteRoot makes the image index to be tagged, which has the SOCI indexes
// of all platforms at its end.
func (e *enabler) rewriteRoot() (content, error) {
	root := imageIndexOf(e.tree)
	var err error
	if root.Manifests, err = e.rewriteList(root.Manifests, e.tree.places()); err != nil {
		return content{}, err
	}
	for _, t := range e.tree.targets {
		index, ok := e.out.indexOf[t]
		if !ok {
			continue
		}
		index.Platform = t.platform.listed()
		index.Annotations = map[string]string{AnnotationImageManifestDigest: e.out.manifestOf[t].Digest.String()}
		root.Manifests = append(root.Manifests, index)
	}
	root.Annotations = withoutVerdict(root.Annotations)
	return marshalImageIndex(root)
}

// rewriteList returns what an image index lists, listed, in its new form; nodes
// are the places that belong to it.
func (e *enabler) rewriteList(listed []ocispec.Descriptor, nodes []*node) ([]ocispec.Descriptor, error) {
	out := make([]ocispec.Descriptor, len(listed), len(listed)+len(e.out.indexOf))
	for i, desc := range listed {
		n := nodes[i]
		rewritten, ok := e.manifestAt(n)
		switch {
		case n.index != nil && (len(e.out.indexOf) > 0 || e.changes(n)):
			nested := *n.index
			nested.MediaType = ocispec.MediaTypeImageIndex
			var err error
			if nested.Manifests, err = e.rewriteList(nested.Manifests, n.children); err != nil {
				return nil, err
			}
			c, err := marshalImageIndex(nested)
			if err != nil {
				return nil, err
			}
			e.add(&e.out.manifests, c)
			out[i] = replaced(desc, c.desc)
		case ok:
			out[i] = replaced(desc, rewritten)
			out[i].Annotations = rewritten.Annotations
		default:
			out[i] = desc
			if to, ok := e.moved[desc.Annotations[annotationReferenceDigest]]; ok {
				out[i].Annotations = annotated(desc.Annotations, annotationReferenceDigest, to)
			}
		}
	}
	return out, nil
}

// manifestAt returns what stands for the image manifest at a place, if it is
// rewritten.
func (e *enabler) manifestAt(n *node) (ocispec.Descriptor, bool) {
	if n.target == nil {
		return ocispec.Descriptor{}, false
	}
	rewritten, ok := e.out.manifestOf[n.target]
	return rewritten, ok
}

// changes reports whether anything below an image index is rewritten.
func (e *enabler) changes(n *node) bool {
	return slices.ContainsFunc(n.children, func(c *node) bool {
		_, ok := e.manifestAt(c)
		return ok || c.index != nil && e.changes(c)
	})
}

// newUnindexedImage lists the manifests of the image as they are, under the
// annotation that says so. One that inherited the name of another image's SOCI
// index is rewritten without it, or clients would look for that; it has the same
// annotation, by which events of it are told from those of images. unindexable and
// verdict are the values of AnnotationUnindexable and AnnotationVerdict, empty for
// none.
func newUnindexedImage(t *tree, unindexable, verdict string) (*enabledImage, error) {
	e := newEnabler(t)
	e.unindexed = true
	root := imageIndexOf(t)
	for _, x := range t.targets {
		if x.kind == KindEnabledManifest && x.manifest != nil {
			if err := e.rewriteManifest(x); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", x.desc.Digest, err)
			}
		}
	}
	var err error
	if root.Manifests, err = e.rewriteList(root.Manifests, t.places()); err != nil {
		return nil, err
	}
	root.Annotations = annotated(withoutVerdict(root.Annotations), AnnotationUnindexed, "true")
	if unindexable != "" {
		root.Annotations[AnnotationUnindexable] = unindexable
	}
	if verdict != "" {
		root.Annotations[AnnotationVerdict] = verdict
	}
	if e.out.root, err = marshalImageIndex(root); err != nil {
		return nil, err
	}
	return &e.out, nil
}

// imageIndexOf returns the image's image index, which is made for an image of
// one manifest, with OCI's media type.
func imageIndexOf(t *tree) ocispec.Index {
	if t.root.index != nil {
		index := *t.root.index
		index.MediaType = ocispec.MediaTypeImageIndex
		return index
	}
	d := t.root.desc
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
			Platform: t.root.target.platform.listed()}},
	}
}

// places returns the nodes of what the image's image index lists.
func (t *tree) places() []*node {
	if t.root.index != nil {
		return t.root.children
	}
	return []*node{t.root}
}

func marshalImageIndex(index ocispec.Index) (content, error) {
	b, err := json.Marshal(index)
	if err != nil {
		return content{}, fmt.Errorf("image index: %w", err)
	}
	c := content{blobDescriptor(b), b}
	c.desc.MediaType = ocispec.MediaTypeImageIndex
	return c, nil
}

// replaced lists other content in place of what desc names.
func replaced(desc, by ocispec.Descriptor) ocispec.Descriptor {
	desc.MediaType, desc.Digest, desc.Size = by.MediaType, by.Digest, by.Size
	desc.Data = nil // the content that was
	return desc
}

// notInherited drops the annotations that a manifest can only have from the
// image that it was built from.
func notInherited(annotations map[string]string) map[string]string {
	if !isAnnotated(annotations) {
		return annotations
	}
	return without(annotations, AnnotationIndexDigest, AnnotationUnindexed)
}

// withoutVerdict drops the annotations in which the image index of another image
// says what was found of that one's layers, and which the next build would believe.
func withoutVerdict(annotations map[string]string) map[string]string {
	if annotations[AnnotationUnindexable] == "" && annotations[AnnotationVerdict] == "" {
		return annotations
	}
	return without(annotations, AnnotationUnindexable, AnnotationVerdict)
}

// without returns a copy that lacks some annotations, nil if nothing is left.
func without(annotations map[string]string, names ...string) map[string]string {
	out := maps.Clone(annotations)
	for _, name := range names {
		delete(out, name)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func annotated(annotations map[string]string, name, value string) map[string]string {
	out := make(map[string]string, len(annotations)+1)
	maps.Copy(out, annotations)
	out[name] = value
	return out
}

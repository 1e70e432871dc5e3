package soci

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is a blob or a manifest with its descriptor.
type content struct {
	desc ocispec.Descriptor
	b    []byte
}

// output is what is to be pushed for an image.
type output struct {
	prefetch []content     // prefetch artifacts
	indexes  []content     // SOCI indexes v1
	enabled  *enabledImage // nil when there is none to be tagged
	tree     *tree         // of the image; nil unless enabled is an unindexed one

	unindexable string // AnnotationUnindexable of the unindexed image
}

// publish pushes the SOCI indexes, whose zTOCs are there, the manifests that
// name them, and the tag at last.
func (x *indexer) publish(ctx context.Context, p *publisher, result *Result, out *output, round int) error {
	enabled := out.enabled
	var (
		t *tagger
		n tagNames
	)
	if enabled != nil {
		t = x.newTagger(p, result, out)
		var err error
		if n, err = t.names(ctx); err != nil {
			return err
		}
		if t.superseded(n) {
			enabled = nil // leave nothing behind that no tag names
			result.withoutEnabled()
		}
	}
	if len(out.indexes) > 0 || enabled != nil && len(enabled.indexes) > 0 {
		if err := x.pushConfig(ctx, p); err != nil {
			return err
		}
		if err := p.blobs(ctx, out.prefetch); err != nil {
			return err
		}
	}
	existed, err := p.manifests(ctx, "SOCI index", out.indexes)
	if err != nil {
		return err
	}
	if enabled != nil {
		there, err := p.manifests(ctx, "SOCI index", enabled.indexes)
		if err != nil {
			return err
		}
		maps.Copy(existed, there)
		if _, err := p.manifests(ctx, "manifest", enabled.manifests); err != nil {
			return err
		}
	}
	for i := range result.Manifests {
		m := &result.Manifests[i]
		m.AlreadyThere = m.Outcome == OutcomeIndexed
		for _, index := range []ocispec.Descriptor{m.Index, m.IndexV2} {
			m.AlreadyThere = m.AlreadyThere && (index.Digest == "" || existed[index.Digest])
		}
	}
	if enabled != nil {
		n, result.Enabled.Outcome, err = t.move(ctx, n)
		result.warn(result.Enabled.Tag, t.warnings)
		result.Enabled.Image = t.root.desc
		if err != nil {
			return err
		}
	}
	if t == nil || result.Enabled.Outcome != OutcomeSuperseded {
		return nil
	}
	result.Enabled.Reason = t.whySuperseded(n)
	if t.misplaced(n) {
		return x.putRight(ctx, n.image, result, round)
	}
	return nil
}

// newTagger returns the tagger of out's SOCI-enabled image.
func (x *indexer) newTagger(p *publisher, result *Result, out *output) *tagger {
	t := &tagger{publisher: p, src: x.src, limits: x.o.Limits, dst: x.tagger, tag: x.o.Tag,
		enabledTag: result.Enabled.Tag,
		image:      result.Image, root: out.enabled.root, prefetch: make(map[string]*prefetchOf), tree: out.tree}
	made := make(map[digest.Digest]*PrefetchResult)
	for _, m := range result.Manifests {
		if m.Prefetch != nil {
			made[m.IndexV2.Digest] = m.Prefetch
		}
	}
	for of, index := range out.enabled.indexOf {
		platform := platformOf(of.platform.listed()).String()
		p := t.prefetch[platform]
		if p == nil {
			p = &prefetchOf{layers: make(map[digest.Digest]bool)}
			t.prefetch[platform] = p
		}
		p.add(of, made[index.Digest])
	}
	return t
}

// foresee replaces publish in a dry run: it finds what would become of the
// suffixed tag, as far as that can be known without pushing.
func (x *indexer) foresee(ctx context.Context, result *Result, out *output) error {
	if out.enabled == nil || x.tagger == nil {
		return nil
	}
	t := x.newTagger(&publisher{dst: x.dst, src: x.src, force: x.o.Force}, result, out)
	n, err := t.names(ctx)
	if err != nil {
		return err
	}
	n, outcome, err := t.decide(ctx, n)
	result.warn(result.Enabled.Tag, t.warnings)
	if outcome != "" {
		result.Enabled.Outcome = outcome
	}
	result.Enabled.Image = t.root.desc
	if outcome == OutcomeSuperseded {
		result.withoutEnabled()
		result.Enabled.Reason = t.whySuperseded(n)
	}
	return err
}

// publisher stores content that is not there yet.
type publisher struct {
	dst     Destination
	src     Source
	force   bool                   // push also what is there
	damaged map[digest.Digest]bool // what must be pushed though it is there
	sent    atomic.Int64           // bytes

	ztocs, indexes atomic.Int64 // that were sent
}

// put stores one content; it reports whether it was there before, unless it is
// forced. A manifest that its subject's referrers do not list is not: clients would
// not find it.
func (p *publisher) put(ctx context.Context, what string, c content) (existed bool, err error) {
	damaged := p.damaged[c.desc.Digest]
	if !p.force && !damaged {
		existed, damaged, err = p.exists(ctx, c.desc, what == "blob")
		if existed && what != "blob" {
			existed, err = p.listed(ctx, c)
		}
		if err != nil {
			return false, fmt.Errorf("looking for %s %s: %w", what, c.desc.Digest, err)
		}
		if existed {
			return true, nil
		}
	}
	push := p.dst.Push
	if r, ok := p.dst.(Replacer); ok && (p.force || damaged) {
		push = r.Replace
	}
	if err := push(ctx, c.desc, bytes.NewReader(c.b)); err != nil {
		return false, fmt.Errorf("pushing %s %s%s: %w", what, c.desc.Digest, damagedText(damaged), err)
	}
	p.sent.Add(c.desc.Size)
	switch {
	case what == "SOCI index":
		p.indexes.Add(1)
	case c.desc.MediaType == ZtocMediaType:
		p.ztocs.Add(1)
	}
	if damaged {
		return false, p.readBack(ctx, what, c.desc)
	}
	return false, nil
}

// exists looks whether content is there. A blob of another size is not: it is
// damaged.
func (p *publisher) exists(ctx context.Context, desc ocispec.Descriptor, blob bool) (existed, damaged bool, err error) {
	sizer, ok := p.dst.(BlobSizer)
	if !blob || !ok {
		existed, err = p.dst.Exists(ctx, desc)
		return existed, false, err
	}
	size, err := sizer.BlobSize(ctx, desc)
	if notThere(err) {
		return false, false, nil
	}
	return err == nil && size == desc.Size, err == nil && size != desc.Size, err
}

// listed reports whether clients find a manifest that is there by its subject, if
// it has one.
func (p *publisher) listed(ctx context.Context, c content) (bool, error) {
	if l, ok := p.dst.(Lister); ok {
		return l.Listed(ctx, c.desc, c.b)
	}
	return true, nil
}

// readBack makes sure that damaged content was replaced: a registry may take a
// push of what it has by its digest for done already.
func (p *publisher) readBack(ctx context.Context, what string, desc ocispec.Descriptor) error {
	err := verifyStored(ctx, p.src, desc)
	switch {
	case err == nil:
		return nil
	case damaged(err) || notThere(err):
		return fmt.Errorf(
			"%w: %s %s is damaged in the registry, and still is after it was pushed again; have it removed "+
				"there: %w",
			ErrDigestMismatch, what, desc.Digest, err)
	}
	return fmt.Errorf("reading %s %s back, which was damaged: %w", what, desc.Digest, err)
}

func damagedText(damaged bool) string {
	if damaged {
		return ", which is damaged in the registry"
	}
	return ""
}

// blobs stores small blobs, each once.
func (p *publisher) blobs(ctx context.Context, list []content) error {
	done := make(map[digest.Digest]bool)
	for _, c := range list {
		if done[c.desc.Digest] {
			continue
		}
		done[c.desc.Digest] = true
		if _, err := p.put(ctx, "blob", c); err != nil {
			return err
		}
	}
	return nil
}

// manifests stores manifests one after the other; it returns those that were
// there before.
func (p *publisher) manifests(ctx context.Context, what string, list []content) (existed map[digest.Digest]bool,
	err error) {
	existed = make(map[digest.Digest]bool)
	for _, c := range list {
		there, err := p.put(ctx, what, c)
		if err != nil {
			return nil, err
		}
		existed[c.desc.Digest] = there
	}
	return existed, nil
}

package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/filters"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// look is a repository whose images are looked at.
type look struct {
	o    *Options
	repo *ecrclient.Repository
	tags map[string]bool // all that it has; nil when not all are known

	check *soci.Checker
}

// open lists the images of a repository, and returns those that are to be
// looked at. Manifests listed by an image index are not separate images.
func (s *survey) open(ctx context.Context, name string) (*look, []Image, error) {
	if !s.o.All && !s.o.Rules.Filters.MatchesRepository(name) {
		return nil, nil, nil
	}
	all, err := s.src.Images(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	l := &look{o: &s.o, tags: map[string]bool{}}
	if l.repo, err = s.src.Open(name); err != nil {
		return nil, nil, err
	}
	l.check = soci.NewChecker(l.repo, s.o.Deep)
	for _, image := range all {
		for _, tag := range image.Tags {
			l.tags[tag] = true
		}
	}
	only := s.o.Tags[name]
	for _, tag := range only {
		if !l.tags[tag] {
			return nil, nil, fmt.Errorf("%s: %w: %q", l.repo.Name(), ErrNoTag, tag)
		}
	}
	if len(only) > 0 {
		l.tags = nil // a source may list no others
	}
	var listed map[digest.Digest]bool
	if len(only) == 0 && (s.o.All || s.o.Rules.Untagged) &&
		slices.ContainsFunc(all, func(i Image) bool { return len(i.Tags) == 0 }) {
		if listed, err = l.children(ctx, all); err != nil {
			return nil, nil, err
		}
	}
	var chosen []Image
	for _, image := range all {
		if !s.o.Since.IsZero() && image.PushedAt.Before(s.o.Since) {
			continue
		}
		if len(only) > 0 {
			image.Tags = slices.DeleteFunc(slices.Clone(image.Tags),
				func(tag string) bool { return !slices.Contains(only, tag) })
			if len(image.Tags) == 0 {
				continue
			}
		}
		if len(image.Tags) == 0 && (listed[image.Digest] || !s.o.All && !s.o.Rules.Untagged) {
			continue
		}
		if s.o.All || l.mayBeChosen(image) {
			chosen = append(chosen, image)
		}
	}
	return l, chosen, nil
}

// mayBeChosen saves a look at what the rules do not choose.
func (l *look) mayBeChosen(image Image) bool {
	return slices.ContainsFunc(tagsOf(image),
		func(tag string) bool { return l.decide(image, tag).Decision == filters.Matched })
}

// tagsOf returns an image's tags, or "" for that of one without.
func tagsOf(image Image) []string {
	if len(image.Tags) == 0 {
		return []string{""}
	}
	return image.Tags
}

// decide asks what the filter function would say to the push of the image.
func (l *look) decide(image Image, tag string) filters.Verdict {
	return l.o.Rules.Decide(filters.Image{Repository: image.Repository, Tag: tag, ArtifactType: image.ArtifactType})
}

// children returns what the image indexes of a repository list.
func (l *look) children(ctx context.Context, all []Image) (map[digest.Digest]bool, error) {
	lists := make([][]ocispec.Descriptor, len(all))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(l.o.Concurrency)
	for i, image := range all {
		if !images.IsIndexType(image.MediaType) || image.Archived {
			continue
		}
		group.Go(func() error {
			m, _, err := l.classify(within, image)
			if errors.Is(err, ecrclient.ErrNotFound) || errors.Is(err, soci.ErrManifest) {
				return nil // deleted meanwhile, or nobody's
			}
			if err == nil {
				lists[i] = m.Manifests
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	listed := map[digest.Digest]bool{}
	for _, d := range slices.Concat(lists...) {
		listed[d.Digest] = true
	}
	return listed, nil
}

// classify reads the manifest of an image. One of Docker schema 1 is not read:
// its digest is not that of its bytes.
func (l *look) classify(ctx context.Context, image Image) (*soci.ManifestInfo, *content, error) {
	if soci.IsSchema1(image.MediaType) {
		m, err := soci.Classify(image.MediaType, nil)
		return m, &content{l.repo, ocispec.Descriptor{MediaType: image.MediaType, Digest: image.Digest}, nil}, err
	}
	desc, err := l.repo.Resolve(ctx, image.Digest.String())
	if err != nil {
		return nil, nil, err
	}
	b, err := l.repo.FetchManifest(ctx, desc)
	if err != nil {
		return nil, nil, err
	}
	c := &content{l.repo, desc, b}
	m, err := soci.Classify(desc.MediaType, b)
	if err != nil {
		err = fmt.Errorf("%s@%s: %w", l.repo.Name(), image.Digest, err)
	}
	return m, c, err
}

// content is a repository of which one manifest was read already.
type content struct {
	*ecrclient.Repository
	desc ocispec.Descriptor
	b    []byte
}

func (c *content) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if desc.Digest == c.desc.Digest {
		return io.NopCloser(bytes.NewReader(c.b)), nil
	}
	return c.Repository.Fetch(ctx, desc)
}

// image returns the records of an image, one for each tag; none when it is gone,
// or when it turns out to be something that was not asked for.
func (l *look) image(ctx context.Context, image Image) ([]Record, error) {
	records, err := l.records(ctx, image)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil, nil
	}
	return slices.DeleteFunc(records, func(r Record) bool { return !l.o.All && !r.State.Chosen() }), err
}

// records is image for everything, whether asked for or not. The error is
// ErrNotFound when the image is gone.
func (l *look) records(ctx context.Context, image Image) ([]Record, error) {
	var (
		records []Record
		matched []string
	)
	for _, tag := range tagsOf(image) {
		r := Record{Image: image, Tag: tag}
		r.BeforeStack = !image.PushedAt.IsZero() && image.PushedAt.Before(l.o.Deployed)
		v := l.decide(image, tag)
		r.Filter, r.Reason = v.Filter, explain(v)
		switch v.Decision {
		case filters.Matched:
			if tag != "" {
				matched = append(matched, tag)
			}
		case filters.Untagged:
			r.State = StateUntagged
		default:
			r.State = StateExcluded
		}
		records = append(records, r)
	}
	chosen := slices.ContainsFunc(records, func(r Record) bool { return r.State == "" })
	if !chosen && !l.o.All {
		return nil, nil
	}
	if image.Archived {
		why := "in ECR's archive storage class, so nobody can pull it: restore it to have it indexed"
		if image.Restoring {
			why = "being restored from ECR's archive storage class: it can be indexed when that is done"
		}
		for i := range records {
			if r := &records[i]; r.State == "" {
				r.State, r.Reason = StateArchived, why
			}
		}
		return records, nil
	}
	manifest, read, err := l.classify(ctx, image)
	if errors.Is(err, soci.ErrManifest) {
		manifest, err = &soci.ManifestInfo{Kind: soci.KindArtifact, ArtifactType: image.MediaType}, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range records {
		r := &records[i]
		r.Kind, r.Descriptor = manifest.Kind, read.desc
		if !mayBeImage(manifest.Kind, r.Tag) || manifest.Kind == soci.KindEnabledImage && r.State != "" {
			r.State, r.Reason = StateNoImage, l.artifact(manifest, r.Tag)
		}
	}
	if slices.ContainsFunc(records, func(r Record) bool { return r.State == "" }) {
		err = l.examine(ctx, read, matched, records)
	}
	for i := range records {
		if r := &records[i]; r.State == StateNoImage && r.Kind == soci.KindEnabledImage {
			r.Reason = l.artifact(manifest, r.Tag)
		}
	}
	return records, err
}

// mayBeImage reports whether the engine has a closer look at a manifest of this
// kind under a tag: at images, at those that inherited the annotation of a
// SOCI-enabled one, and at SOCI-enabled images, which may lack a platform.
func mayBeImage(kind soci.Kind, tag string) bool {
	switch kind {
	case soci.KindImage, soci.KindImageIndex, soci.KindEnabledImage:
		return true
	case soci.KindEnabledManifest:
		return tag != ""
	}
	return false
}

// artifact says what something is that is no image.
func (l *look) artifact(m *soci.ManifestInfo, tag string) string {
	text := m.Kind.Text()
	if m.Kind == soci.KindArtifact && m.ArtifactType != "" {
		text += fmt.Sprintf(" of type %.100q", m.ArtifactType)
	}
	if m.Kind == soci.KindEnabledImage || m.Kind == soci.KindUnindexed {
		if original, ok := strings.CutSuffix(tag, l.o.Rules.TagSuffix); ok && l.o.Rules.TagSuffix != "" &&
			l.tags != nil &&
			!l.tags[original] {
			text += fmt.Sprintf(", but there is no tag %s any more", original)
		}
	}
	return text
}

// examine fills in the states of the records that have none yet.
func (l *look) examine(ctx context.Context, read *content, tags []string, records []Record) error {
	o := soci.Options{IndexVersion: l.o.IndexVersion, MinLayerSize: max(l.o.MinLayerSize, 1),
		TagSuffix: l.o.Rules.TagSuffix, Choice: l.o.Platforms}
	status, err := soci.Examine(ctx, read, read.desc, tags, o, l.check)
	fails := err != nil && (errors.Is(err, soci.ErrCorrupt) || errors.Is(err, soci.ErrLimit) ||
		errors.Is(err, soci.ErrUnsupported))
	if errors.Is(err, ecrclient.ErrNotFound) {
		// Either all of it is gone, or a part that it names.
		if _, gone := l.repo.Resolve(ctx, read.desc.Digest.String()); gone != nil {
			return gone
		}
		fails = true
	}
	if err != nil && !fails {
		return fmt.Errorf("%s: %w", l.repo.Name(), err)
	}
	for i := range records {
		r := &records[i]
		switch {
		case r.State != "":
			continue
		case fails:
			r.State, r.Reason = StateFails, err.Error()
			continue
		case status.LeftAlone == soci.OutcomeOptedOut:
			r.State, r.Reason = StateOptedOut, status.Reason
			continue
		case status.LeftAlone == soci.OutcomePlatformNotChosen:
			r.State, r.Reason = StatePlatformNotChosen, status.Reason
			continue
		case len(status.Lacking) > 0:
			r.State, r.Reason = StatePartial, status.Reason
			continue
		case status.LeftAlone != "":
			r.State, r.Reason = StateNoImage, status.Reason
			continue
		}
		var enabled *soci.EnabledStatus
		if at := slices.IndexFunc(status.Enabled, func(e soci.EnabledStatus) bool { return e.Tag == r.Tag }); at >= 0 {
			enabled = &status.Enabled[at]
		}
		if l.o.IndexVersion == soci.V2 && r.Tag == "" {
			r.State, r.Reason = StateUntagged, "a SOCI-enabled image needs a tag"
			continue
		}
		l.o.judge(r, status, enabled)
	}
	return nil
}

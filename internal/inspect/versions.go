package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Versions is an image with the SOCI indexes of both versions: those that the
// image leads to, and the SOCI-enabled image under its suffixed tag.
type Versions struct {
	*Node

	// SociTag and SociDigest are the Tag and the Digest of Suffixed.
	SociTag    string        `json:"sociTag,omitempty"`
	SociDigest digest.Digest `json:"sociDigest,omitempty"`

	// Suffixed is nil for an image that was not named by a tag, and for what is no
	// image as it was built.
	Suffixed *Suffixed `json:"suffixedTag,omitempty"`
}

// Suffixed is what the suffixed tag of an image names.
type Suffixed struct {
	Tag    string        `json:"-"` // with the suffix; empty when there can be none
	Digest digest.Digest `json:"-"` // what the tag names; empty when it names nothing

	// State is empty for an image that an index run leaves alone.
	State  soci.EnabledState `json:"state,omitempty"`
	Reason string            `json:"reason,omitempty"` // see soci.EnabledStatus, or why the image is left alone

	// Image is the SOCI-enabled image; nil if the tag names none.
	Image *Node `json:"image,omitempty"`
}

// VersionsRepository is what LoadVersions reads.
type VersionsRepository interface {
	Repository
	soci.BlobSizer
}

// LoadVersions is Load, and also reads what the image's tag with the suffix
// names. An empty tag is that of an image named by its digest, which has no
// SOCI-enabled image.
func LoadVersions(ctx context.Context, repo VersionsRepository, desc ocispec.Descriptor, tag, suffix string) (
	*Versions, error) {
	root, err := Load(ctx, repo, desc)
	if err != nil {
		return nil, err
	}
	v := &Versions{Node: root}
	if tag == "" || len(root.Images()) == 0 || root.Kind == soci.KindEnabledImage || root.Kind == soci.KindUnindexed {
		return v, nil
	}
	if v.Suffixed, err = loadSuffixed(ctx, repo, desc, tag, suffix); err != nil {
		return nil, err
	}
	v.SociTag, v.SociDigest = v.Suffixed.Tag, v.Suffixed.Digest
	return v, nil
}

func loadSuffixed(ctx context.Context, repo VersionsRepository, desc ocispec.Descriptor, tag, suffix string) (
	*Suffixed, error) {
	status, err := soci.Examine(ctx, repo, desc, []string{tag}, soci.Options{TagSuffix: suffix}, nil)
	if err != nil {
		return nil, err
	}
	if len(status.Enabled) == 0 {
		return leftAlone(ctx, repo, status, tag, suffix)
	}
	enabled := status.Enabled[0]
	s := &Suffixed{Tag: enabled.EnabledTag, State: enabled.State, Digest: enabled.Image.Digest, Reason: enabled.Reason}
	switch s.State {
	case soci.EnabledAbsent, soci.EnabledForeign, soci.EnabledUnindexed:
		return s, nil
	}
	if s.Image, err = Load(ctx, repo, enabled.Image); err != nil {
		return nil, fmt.Errorf("tag %s: %w", s.Tag, err)
	}
	if s.Image.Kind == soci.KindUnindexed { // of another image
		s.Image = nil
	}
	return s, nil
}

// leftAlone says whether there is a suffixed tag of an image that an index run
// leaves alone, such as one that has the label against it.
func leftAlone(ctx context.Context, repo VersionsRepository, status *soci.Status, tag, suffix string) (
	*Suffixed, error) {
	s := &Suffixed{Tag: tag + suffix, Reason: status.Reason}
	if !names.IsTag(s.Tag) {
		return &Suffixed{State: soci.EnabledAbsent, Reason: status.Reason}, nil
	}
	desc, err := repo.Resolve(ctx, s.Tag)
	if errors.Is(err, ecrclient.ErrNotFound) {
		s.State = soci.EnabledAbsent
		return s, nil
	}
	s.Digest = desc.Digest
	return s, err
}

// Text says what the suffixed tag names, for people.
func (s *Suffixed) Text() string {
	switch s.State {
	case soci.EnabledAbsent:
		if s.Tag == "" {
			return s.Reason
		}
		return "there is no tag " + s.Tag
	case soci.EnabledMatches:
		return "the SOCI-enabled image " + s.Tag
	case soci.EnabledUnindexed:
		return s.Tag + " stands for an image without a layer to index"
	case soci.EnabledForeign:
		return s.Tag + " is not a SOCI-enabled image: " + s.Reason
	case soci.EnabledBroken:
		if !strings.HasPrefix(s.Reason, "is ") {
			return fmt.Sprintf("the SOCI-enabled image %s: %s", s.Tag, s.Reason)
		}
	case soci.EnabledDiffers:
	case soci.EnabledStale:
		if s.Image == nil {
			return s.Tag + " stands for an image without a layer to index, and " + s.Reason
		}
	default:
		return fmt.Sprintf("%s is left as it is: %s", s.Tag, s.Reason)
	}
	return fmt.Sprintf("the SOCI-enabled image %s %s", s.Tag, s.Reason)
}

// IndexedLayers returns the layers that SOCI indexes have zTOCs for, each once.
func (v *Versions) IndexedLayers() []ocispec.Descriptor {
	var list []ocispec.Descriptor
	known := map[digest.Digest]bool{}
	var add func(n *Node)
	add = func(n *Node) {
		indexed := map[digest.Digest]bool{}
		for _, index := range n.SociIndexes {
			for _, z := range index.Ztocs {
				indexed[z.Layer] = true
			}
		}
		for _, l := range n.Layers {
			if indexed[l.Digest] && !known[l.Digest] {
				known[l.Digest] = true
				list = append(list, ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
			}
		}
		for _, m := range n.Manifests {
			add(m)
		}
	}
	add(v.Node)
	if v.Suffixed != nil && v.Suffixed.Image != nil {
		add(v.Suffixed.Image)
	}
	return list
}

// CheckBlobs is CheckBlobs of both trees.
func (v *Versions) CheckBlobs(ctx context.Context, repo soci.BlobSizer) error {
	if err := CheckBlobs(ctx, repo, v.Node); err != nil || v.Suffixed == nil || v.Suffixed.Image == nil {
		return err
	}
	return CheckBlobs(ctx, repo, v.Suffixed.Image)
}

// WriteText draws both trees, with a line on the suffixed tag between them. With
// full, digests are whole, and no line is fitted to a terminal.
func (v *Versions) WriteText(w io.Writer, full bool) error {
	if err := WriteText(w, v.Node, full); err != nil || v.Suffixed == nil {
		return err
	}
	line := terminal.Of(w).Fill("SOCI index v2: " + v.Suffixed.Text())
	if _, err := fmt.Fprintf(w, "\n%s\n", line); err != nil || v.Suffixed.Image == nil {
		return err
	}
	return draw(w, v.Suffixed.Image, full) // its layers are those of the other
}

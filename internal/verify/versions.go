package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/pkg/soci"
)

// Versions verifies the SOCI indexes of an image and of its SOCI-enabled image.
// want says which must exist: V1, V2 or Both; no others are looked at. Empty
// means that both are looked at and one of them must exist. The error is
// ErrNoIndex if one that must exist does not; there is a report beside it if
// there was something to compare. A suffixed tag that names the SOCI-enabled
// image of another image is a difference.
func (v *Verifier) Versions(ctx context.Context, image *inspect.Versions, want soci.IndexVersion) (*Report, error) {
	start := time.Now()
	if len(image.Images()) == 0 {
		return nil, notAnImage(image.Node)
	}
	work := v.begin(ctx)
	defer work.end()
	report := work.report
	if want != soci.V1 {
		report.Suffixed = image.Suffixed
	}
	looked := image.Images()
	if err := work.images(looked, versionOf(want), ""); err != nil {
		return nil, err
	}
	if s := report.Suffixed; s != nil && s.Image != nil && s.State != soci.EnabledStale {
		if err := work.images(s.Image.Images(), versionOf(soci.V2), s.Tag); err != nil {
			return nil, err
		}
	}
	if err := work.finish(); err != nil {
		return nil, err
	}
	for _, node := range looked {
		if !node.Missing && !slices.ContainsFunc(report.Indexes,
			func(i IndexReport) bool { return SameImage(i.image, node) }) {
			report.WithoutIndex = append(report.WithoutIndex, node)
		}
	}
	if wrong := report.wrongTag(); wrong != "" {
		report.Wrong = append(report.Wrong, Difference{Span: -1, Offset: -1, What: wrong})
	}
	report.Seconds = time.Since(start).Seconds()
	if lacks := report.lacks(image, want); lacks != nil {
		err := fmt.Errorf("%w: %s", ErrNoIndex, strings.Join(lacks, "; "))
		if len(report.Indexes) == 0 && report.Differences() == 0 {
			return nil, err
		}
		return report, err
	}
	return report, nil
}

// versionOf returns which SOCI indexes are looked at.
func versionOf(want soci.IndexVersion) func(version string) bool {
	return func(version string) bool {
		return want == "" || want == soci.Both || version == strings.ToLower(string(want))
	}
}

// SameImage reports whether two image manifests are of one image: that of a
// SOCI-enabled image is written again, with the same layers.
func SameImage(a, b *inspect.Node) bool {
	return a.Digest == b.Digest || a.Platform == b.Platform && slices.EqualFunc(a.Layers, b.Layers,
		func(a, b inspect.Layer) bool { return a.Digest == b.Digest })
}

// Has reports whether SOCI indexes of a version, "v1" or "v2", were found.
func (r *Report) Has(version string) bool {
	return slices.ContainsFunc(r.Indexes, func(i IndexReport) bool { return i.Version == version })
}

// DifferencesOf returns the number of differences of the SOCI indexes of a
// version, "v1" or "v2"; one in a layer is of each version that has its zTOC.
func (r *Report) DifferencesOf(version string) int {
	of := &Report{}
	for _, index := range r.Indexes {
		if index.Version == version {
			of.Indexes = append(of.Indexes, index)
		}
	}
	if version == "v2" {
		of.Wrong = r.Wrong
	}
	return of.Differences()
}

// wrongTag says what is wrong with the suffixed tag, empty if nothing is that the
// comparison has not found.
func (r *Report) wrongTag() string {
	switch s := r.Suffixed; {
	case s == nil:
		return ""
	case s.State == soci.EnabledStale:
		return s.Text()
	case s.State == soci.EnabledBroken:
		for _, index := range r.Indexes {
			if index.Tag == "" {
				continue
			}
			if len(index.Differences) > 0 || slices.ContainsFunc(index.Layers,
				func(l *LayerReport) bool { return len(l.Differences) > 0 }) {
				return ""
			}
		}
		return s.Text()
	}
	return ""
}

// lacks says which SOCI indexes must exist and do not.
func (r *Report) lacks(image *inspect.Versions, want soci.IndexVersion) []string {
	if want == "" && len(r.Indexes) > 0 {
		return nil
	}
	var lacks []string
	if want != soci.V2 && !r.Has("v1") {
		lacks = append(lacks, fmt.Sprintf("v1: the image %s has none as a referrer", image.Digest))
	}
	if want != soci.V1 && !r.Has("v2") {
		text := "the image names none in an annotation"
		if s := image.Suffixed; s != nil {
			text = s.Text()
		}
		lacks = append(lacks, "v2: "+text)
	}
	return lacks
}

// notAnImage is the error for what no SOCI index can be of.
func notAnImage(root *inspect.Node) error {
	what := string(root.Kind)
	if root.ArtifactType != "" {
		what += fmt.Sprintf(" of type %.100q", root.ArtifactType)
	}
	return fmt.Errorf("%w: %s is not an image (%s)", ErrNoIndex, root.Digest, what)
}

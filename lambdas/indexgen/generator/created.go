package generator

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/report"
	"soci-index-builder/pkg/soci"
)

// startable reports whether there is something new that the image can be started
// with: SOCI indexes, or a suffixed tag for an image that has none.
func startable(r *soci.Result) bool {
	return r.Outcome() == soci.OutcomeIndexed || enabled(r) && r.Outcome() == soci.OutcomeNoLayer
}

// enabled reports whether the suffixed tag names the image.
func enabled(r *soci.Result) bool {
	return r.Enabled.Outcome == soci.OutcomeTagged || r.Enabled.Outcome == soci.OutcomeAlreadyTagged
}

// created is the announcement of what became of an image.
func created(d ecrevent.Detail, r *soci.Result) announce.Created {
	c := announce.Created{
		Repository: d.RepositoryName,
		Tag:        d.ImageTag,
		Digest:     d.ImageDigest,
		Outcome:    string(r.Outcome()),
		Layers:     announceLayers(r.Manifests...),
	}
	if enabled(r) {
		c.SociTag, c.SociDigest = r.Enabled.Tag, r.Enabled.Image.Digest.String()
	}
	for _, m := range r.Manifests {
		if m.Platform == "" {
			continue // passed over
		}
		c.Platforms = append(c.Platforms, announce.Platform{
			Platform:      m.Platform,
			Digest:        m.Manifest.Digest.String(),
			IndexV1Digest: m.Index.Digest.String(),
			IndexV2Digest: m.IndexV2.Digest.String(),
			Layers:        announceLayers(m),
		})
		for _, index := range []ocispec.Descriptor{m.Index, m.IndexV2} {
			if index.Digest != "" {
				c.IndexDigests = append(c.IndexDigests, index.Digest.String())
			}
		}
	}
	return c
}

func announceLayers(manifests ...soci.ManifestResult) announce.Layers {
	layers := report.CountLayers(manifests...)
	return announce.Layers{Indexed: layers.Indexed(), Skipped: layers.WithoutZtoc()}
}

package main

import (
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/report"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/soci"
)

// The JSON output of verify; its field names are promised in the help text.
type (
	verifyJSON struct {
		Reference    string            `json:"reference"`
		Differences  int               `json:"differenceCount"`
		Seconds      float64           `json:"seconds"`
		Indexes      []verifyIndexJSON `json:"indexes"`
		WithoutIndex []string          `json:"withoutIndex,omitempty"`
		Missing      []digest.Digest   `json:"missingManifests,omitempty"`

		Versions    map[string]string `json:"versions,omitempty"`
		SociTag     string            `json:"sociTag,omitempty"`
		SociDigest  digest.Digest     `json:"sociDigest,omitempty"`
		SuffixedTag *suffixedTagJSON  `json:"suffixedTag,omitempty"`
		Wrong       []differenceJSON  `json:"wrongTag,omitempty"`
		NoIndex     string            `json:"noIndex,omitempty"`
		Error       string            `json:"error,omitempty"`
	}

	verifyIndexJSON struct {
		Platform    string            `json:"platform"`
		Manifest    digest.Digest     `json:"manifest"`
		Version     string            `json:"version"`
		Index       report.Content    `json:"index"`
		SociTag     string            `json:"sociTag,omitempty"`
		Differences []differenceJSON  `json:"differences,omitempty"`
		Omitted     int               `json:"omitted,omitempty"`
		Layers      []verifyLayerJSON `json:"layers"`
		Prefetch    []prefetchJSON    `json:"prefetchArtifacts,omitempty"`
	}

	prefetchJSON struct {
		Digest digest.Digest `json:"digest"`
		Size   int64         `json:"size"`
		Layer  digest.Digest `json:"layer"`
		Ranges int           `json:"ranges"`
		Spans  int64         `json:"spanCount"`
	}

	verifyLayerJSON struct {
		Layer        digest.Digest    `json:"layer"`
		Size         int64            `json:"size"`
		Ztoc         report.Content   `json:"ztoc"`
		Spans        int              `json:"spanCount"`
		Entries      int              `json:"entryCount"`
		Files        int              `json:"fileCount"`
		Bytes        int64            `json:"bytes"`
		FetchedBytes int64            `json:"fetchedBytes"`
		Seconds      float64          `json:"seconds"`
		Differences  []differenceJSON `json:"differences,omitempty"`
		Omitted      int              `json:"omitted,omitempty"`
	}

	differenceJSON struct {
		Layer  digest.Digest `json:"layer,omitempty"`
		Span   *int          `json:"span,omitempty"`
		File   string        `json:"file,omitempty"`
		Offset *int64        `json:"offset,omitempty"`
		What   string        `json:"what"`
	}
)

// newVerifyJSON is the output about an image; r is nil for one that could not be
// compared.
func newVerifyJSON(ref string, r *verify.Report, want soci.IndexVersion) verifyJSON {
	out := verifyJSON{Reference: ref, Indexes: []verifyIndexJSON{}}
	if r == nil {
		return out
	}
	out.Differences, out.Seconds, out.Wrong = r.Differences(), r.Seconds, newDifferencesJSON(r.Wrong)
	out.Versions = map[string]string{}
	for _, version := range versionsLookedAt(want) {
		out.Versions[version] = versionState(r, version)
	}
	if r.Suffixed != nil {
		out.SociTag, out.SociDigest = r.Suffixed.Tag, r.Suffixed.Digest
		out.SuffixedTag = &suffixedTagJSON{r.Suffixed.State, r.Suffixed.Reason}
	}
	for _, index := range r.Indexes {
		one := verifyIndexJSON{
			Platform: index.Platform, Manifest: index.Manifest, Version: index.Version,
			Index:       report.Content{Digest: index.Index, Size: index.Size},
			SociTag:     index.Tag,
			Differences: newDifferencesJSON(index.Differences), Omitted: index.Omitted, Layers: []verifyLayerJSON{},
		}
		for _, l := range index.Layers {
			one.Layers = append(one.Layers, verifyLayerJSON{
				Layer: l.Layer.Digest, Size: l.Layer.Size,
				Ztoc:  report.Content{Digest: l.Ztoc.Digest, Size: l.Ztoc.Size},
				Spans: l.Spans, Entries: l.Entries, Files: l.Files, Bytes: l.Bytes,
				FetchedBytes: l.FetchedBytes, Seconds: l.Seconds,
				Differences: newDifferencesJSON(l.Differences), Omitted: l.Omitted,
			})
		}
		for _, p := range index.Prefetch {
			one.Prefetch = append(one.Prefetch,
				prefetchJSON{p.Artifact.Digest, p.Artifact.Size, p.Layer, p.Ranges, p.Spans})
		}
		out.Indexes = append(out.Indexes, one)
	}
	for _, node := range r.WithoutIndex {
		out.WithoutIndex = append(out.WithoutIndex, node.Platform)
	}
	for _, node := range r.Missing {
		out.Missing = append(out.Missing, node.Digest)
	}
	return out
}

func newDifferencesJSON(all []verify.Difference) []differenceJSON {
	var out []differenceJSON
	for _, d := range all {
		one := differenceJSON{Layer: d.Layer, File: d.File, What: d.What}
		if d.Span >= 0 {
			one.Span = &d.Span
		}
		if d.Offset >= 0 {
			one.Offset = &d.Offset
		}
		out = append(out, one)
	}
	return out
}

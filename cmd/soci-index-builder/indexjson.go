package main

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// The JSON output of index; its field names are promised in the help text.
type (
	indexJSON struct {
		Reference   string            `json:"reference"`
		Error       string            `json:"error,omitempty"`
		Digest      digest.Digest     `json:"digest,omitempty"`
		Outcome     soci.Outcome      `json:"outcome,omitempty"`
		Reason      string            `json:"reason,omitempty"`
		Version     soci.IndexVersion `json:"version,omitempty"`
		DryRun      bool              `json:"dryRun,omitempty"`
		BytesRead   int64             `json:"bytesRead"`
		BytesPushed int64             `json:"bytesPushed"`
		Seconds     float64           `json:"seconds"`
		SearchError string            `json:"searchError,omitempty"`
		Enabled     *enabledJSON      `json:"enabled,omitempty"`
		Manifests   []manifestJSON    `json:"manifests,omitempty"`
	}

	enabledJSON struct {
		Outcome   soci.Outcome `json:"outcome"`
		Reason    string       `json:"reason,omitempty"`
		Tag       string       `json:"tag,omitempty"`
		Image     *contentJSON `json:"image,omitempty"`
		Unindexed bool         `json:"unindexed,omitempty"`
	}

	manifestJSON struct {
		Digest       digest.Digest `json:"digest"`
		Platform     string        `json:"platform,omitempty"`
		Outcome      soci.Outcome  `json:"outcome"`
		Reason       string        `json:"reason,omitempty"`
		Index        *contentJSON  `json:"index,omitempty"`
		IndexV2      *contentJSON  `json:"indexV2,omitempty"`
		Enabled      *contentJSON  `json:"enabled,omitempty"`
		AlreadyThere bool          `json:"alreadyThere,omitempty"`
		Layers       []layerJSON   `json:"layers,omitempty"`
	}

	layerJSON struct {
		Digest           digest.Digest    `json:"digest"`
		MediaType        string           `json:"mediaType"`
		Size             int64            `json:"size"`
		Skipped          soci.SkipReason  `json:"skipped,omitempty"`
		Detail           string           `json:"detail,omitempty"`
		Compression      soci.Compression `json:"compression,omitempty"`
		UncompressedSize int64            `json:"uncompressedSize,omitempty"`
		Spans            int              `json:"spans,omitempty"`
		Files            int              `json:"files,omitempty"`
		Seconds          float64          `json:"seconds,omitempty"`
		Ztoc             *contentJSON     `json:"ztoc,omitempty"`
		Reused           bool             `json:"reused,omitempty"`
	}

	contentJSON struct {
		Digest digest.Digest `json:"digest"`
		Size   int64         `json:"size"`
	}
)

func newIndexJSON(ref string, dryRun bool, r *soci.Result) indexJSON {
	out := indexJSON{
		Reference: ref, Digest: r.Image.Digest, Outcome: r.Outcome(), Reason: r.Reason, Version: r.Version, DryRun: dryRun,
		BytesRead: r.BytesRead, BytesPushed: r.BytesPushed, Seconds: r.Seconds,
	}
	if r.SearchError != nil {
		out.SearchError = r.SearchError.Error()
	}
	if e := r.Enabled; e.Outcome != "" {
		out.Enabled = &enabledJSON{Outcome: e.Outcome, Reason: e.Reason, Tag: e.Tag, Image: newContentJSON(e.Image), Unindexed: e.Unindexed}
	}
	for _, m := range r.Manifests {
		one := manifestJSON{
			Digest: m.Manifest.Digest, Platform: m.Platform, Outcome: m.Outcome, Reason: m.Reason,
			Index: newContentJSON(m.Index), IndexV2: newContentJSON(m.IndexV2), Enabled: newContentJSON(m.Enabled),
			AlreadyThere: m.AlreadyThere,
		}
		for _, l := range m.Layers {
			one.Layers = append(one.Layers, layerJSON{
				Digest: l.Layer.Digest, MediaType: l.Layer.MediaType, Size: l.Layer.Size,
				Skipped: l.Reason, Detail: l.Detail,
				Compression: l.Compression, UncompressedSize: l.UncompressedSize,
				Spans: l.Spans, Files: l.Files, Seconds: l.Seconds, Ztoc: newContentJSON(l.Ztoc), Reused: l.Reused,
			})
		}
		out.Manifests = append(out.Manifests, one)
	}
	return out
}

// newContentJSON gives nil for a descriptor of nothing.
func newContentJSON(desc ocispec.Descriptor) *contentJSON {
	if desc.Digest == "" {
		return nil
	}
	return &contentJSON{Digest: desc.Digest, Size: desc.Size}
}

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// statusJSONWriter writes each record on a line, and the summary elsewhere.
type statusJSONWriter struct{ w, summary io.Writer }

func (s *statusJSONWriter) record(_ string, source inventory.Source, r *inventory.Record, more string) error {
	repo, err := source.Open(r.Repository)
	if err != nil {
		return err
	}
	out := newStatusJSON(repo.Name(), r)
	out.Reason += more
	return writeJSONLine(s.w, out)
}

func (s *statusJSONWriter) end(counts map[inventory.State]int) error {
	_, err := fmt.Fprintln(s.summary, statusSummary(counts))
	return err
}

// The JSON output of status; its field names are promised in the help text.
type (
	statusJSON struct {
		Reference   string             `json:"reference"`
		Repository  string             `json:"repository"`
		Tag         string             `json:"tag,omitempty"`
		Digest      digest.Digest      `json:"digest"`
		PushedAt    *time.Time         `json:"pushedAt,omitempty"`
		Size        int64              `json:"size,omitempty"`
		Kind        soci.Kind          `json:"kind,omitempty"`
		State       inventory.State    `json:"state"`
		Lacking     bool               `json:"lacking"`
		Reason      string             `json:"reason,omitempty"`
		Hint        string             `json:"hint,omitempty"`
		Filter      string             `json:"filter,omitempty"`
		BeforeStack bool               `json:"beforeStack,omitempty"`
		BuildTools  []string           `json:"buildTools,omitempty"`
		V1          inventory.Coverage `json:"v1,omitempty"`
		Surplus     int                `json:"surplus,omitempty"`
		SociTag     string             `json:"sociTag,omitempty"`
		SociDigest  digest.Digest      `json:"sociDigest,omitempty"`
		Suffixed    *suffixedTagJSON   `json:"suffixedTag,omitempty"`
		ToRead      *statusToReadJSON  `json:"toRead,omitempty"`
		Platforms   []statusPlatform   `json:"platforms,omitempty"`
	}

	suffixedTagJSON struct {
		State  soci.EnabledState `json:"state,omitempty"`
		Reason string            `json:"reason,omitempty"`
	}

	statusToReadJSON struct {
		Layers int   `json:"layerCount"`
		Bytes  int64 `json:"bytes"`
	}

	statusPlatform struct {
		Platform string                  `json:"platform"`
		Digest   digest.Digest           `json:"digest"`
		Layers   int                     `json:"layerCount"`
		Skipped  map[soci.SkipReason]int `json:"skippedLayers,omitempty"`
		V1       []statusIndexJSON       `json:"indexesV1,omitempty"`
		V2       []statusIndexJSON       `json:"indexesV2,omitempty"`
	}

	statusIndexJSON struct {
		Digest    digest.Digest     `json:"digest"`
		BuildTool string            `json:"buildTool"`
		Faults    []statusFaultJSON `json:"faults,omitempty"`
	}

	statusFaultJSON struct {
		Ztoc   digest.Digest  `json:"ztocDigest,omitempty"`
		Layer  digest.Digest  `json:"layer,omitempty"`
		Fault  soci.FaultKind `json:"fault"`
		Detail string         `json:"detail"`
	}
)

func newStatusJSON(name string, r *inventory.Record) statusJSON {
	out := statusJSON{
		Reference: name + "@" + r.Digest.String(), Repository: r.Repository, Tag: r.Tag, Digest: r.Digest, Size: r.Size,
		Kind: r.Kind, State: r.State, Lacking: r.State.Lacking(), Reason: r.Reason, Hint: r.Hint(), Filter: r.Filter,
		BeforeStack: r.BeforeStack,
		BuildTools:  r.BuildTools, V1: r.V1, Surplus: r.Surplus,
	}
	if r.Tag != "" {
		out.Reference = name + ":" + r.Tag
	}
	if !r.PushedAt.IsZero() {
		at := r.PushedAt.UTC()
		out.PushedAt = &at
	}
	if e := r.Enabled; e.State != "" {
		out.SociTag, out.SociDigest = e.EnabledTag, e.Image.Digest
		out.Suffixed = &suffixedTagJSON{State: e.State, Reason: e.Reason}
	}
	for _, m := range r.Manifests {
		if m.Reason != "" {
			continue
		}
		p := statusPlatform{Platform: m.Platform, Digest: m.Manifest.Digest}
		for _, l := range m.Layers {
			if l.Reason == "" {
				p.Layers++
				continue
			}
			if p.Skipped == nil {
				p.Skipped = map[soci.SkipReason]int{}
			}
			p.Skipped[l.Reason]++
		}
		for _, f := range m.Indexes {
			p.V1 = append(p.V1, newStatusIndexJSON(f))
		}
		if f, ok := r.Enabled.Indexes[m.Manifest.Digest]; ok {
			p.V2 = append(p.V2, newStatusIndexJSON(f))
		}
		out.Platforms = append(out.Platforms, p)
	}
	if out.Platforms != nil {
		layers, bytes := r.ToRead()
		out.ToRead = &statusToReadJSON{layers, bytes}
	}
	return out
}

func newStatusIndexJSON(f soci.FoundIndex) statusIndexJSON {
	out := statusIndexJSON{Digest: f.Index.Digest, BuildTool: f.BuildTool}
	for _, z := range f.Faults {
		out.Faults = append(out.Faults, statusFaultJSON{z.Ztoc, z.Layer, z.Kind, z.Detail})
	}
	return out
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"soci-index-builder/internal/report"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// indexText writes what became of an image.
type indexText struct {
	*printer
	dryRun bool
	full   fullFlag
	note   string // behind what a dry run does not write
}

// writeText tells people what became of an image.
func (c *indexCommand) writeText(w io.Writer, ref string, r *indexed) error {
	t := &indexText{printer: newPrinter(w), dryRun: c.dryRun, full: c.full}
	pushed := "pushed"
	if c.outputLayout != "" {
		pushed = "written to " + c.outputLayout
	}
	switch {
	case c.dryRun && c.outputLayout != "":
		t.note = " (dry run, not written)"
	case c.dryRun:
		t.note = " (dry run, not pushed)"
	}
	tone := outcomeTone(r.Outcome())
	t.printf("%s%s: %s, %s read, %s %s, %.1f s\n", t.screen.Mark(tone), ref,
		t.screen.Paint(tone, r.Outcome().Text()), bytesize.Format(r.BytesRead), bytesize.Format(r.BytesPushed), pushed,
		r.Seconds)
	if r.SearchError != nil {
		t.printf("earlier zTOCs not all found: %s\n", strings.ReplaceAll(r.SearchError.Error(), "\n", "; "))
	}
	for _, warning := range r.Warnings {
		t.printf("%s: %s\n", t.screen.Paint(terminal.Warning, "warning"), warning)
	}
	if r.LeftAlone != "" && r.Reason != "" {
		t.printf("%s\n", r.Reason)
	}
	for _, m := range r.Manifests {
		t.manifest(&m)
	}
	t.enabled(&r.Enabled)
	if fix := fixOf(r.Result); fix != "" {
		t.printf("zstd layers cannot be indexed: %s\n", fix)
	}
	t.older(r, &c.registry)
	return t.err
}

// outcomeTone says how good an outcome is.
func outcomeTone(o soci.Outcome) terminal.Tone {
	switch o {
	case soci.OutcomeIndexed:
		return terminal.Good
	case soci.OutcomeFailed, soci.OutcomeMissing, soci.OutcomeUnreadable:
		return terminal.Bad
	case soci.OutcomeSuperseded, soci.OutcomeTagTaken, soci.OutcomeTagImmutable:
		return terminal.Warning
	}
	return terminal.Plain
}

func (t *indexText) manifest(m *soci.ManifestResult) {
	bad := func(text string) string { return t.screen.Paint(outcomeTone(m.Outcome), text) }
	switch m.Outcome {
	case soci.OutcomePassedOver:
		t.printf("manifest %s: %s\n", t.full.digest(m.Manifest.Digest), because(m.Outcome.Text(), ": ", m.Reason))
		return
	case soci.OutcomeNoLayer:
		t.printf("%s: no SOCI index: %s\n", m.Platform, because(m.Outcome.Text(), ", ", m.Reason))
	case soci.OutcomeFailed:
		t.printf("%s: manifest %s\n", m.Platform, because(m.Manifest.Digest.String()+" "+bad("failed"), ": ", m.Reason))
		return
	case soci.OutcomeMissing, soci.OutcomeUnreadable:
		t.printf("manifest %s: %s\n", m.Manifest.Digest, because(bad(m.Outcome.Text()), ": ", m.Reason))
		return
	case soci.OutcomeSuperseded:
		t.printf("%s: no SOCI index, because the image is superseded\n", m.Platform)
	}
	if m.Index.Digest != "" {
		t.printf("%s: SOCI index v1 %s%s\n", m.Platform, t.full.digest(m.Index.Digest), t.note)
	}
	if m.IndexV2.Digest != "" {
		t.printf("%s: SOCI index v2 %s%s\n", m.Platform, t.full.digest(m.IndexV2.Digest), t.note)
	}
	if p := m.Prefetch; p != nil {
		t.printf("%s: %s to prefetch, in %s of %s\n", m.Platform, count(p.Files, "file"),
			count(p.Spans(), "span"), count(len(p.Artifacts), "layer"))
	}
	t.layers(m.Layers)
}

func (t *indexText) layers(layers []soci.LayerResult) {
	table := t.full.table(t.w, "  ")
	table.Head("LAYER", "SIZE", "ZTOC", "SPANS", "ENTRIES", "SECONDS")
	for _, l := range layers {
		if !l.Indexed() {
			table.Row(t.full.digest(l.Layer.Digest), bytesize.Format(l.Layer.Size),
				t.screen.Paint(terminal.Faint, "skipped")+": "+withDetail(l))
			continue
		}
		seconds := fmt.Sprintf("%.1f", l.Seconds)
		if l.Reused {
			seconds = "reused"
		}
		table.Row(t.full.digest(l.Layer.Digest), bytesize.Format(l.Layer.Size), bytesize.Format(l.Ztoc.Size),
			strconv.Itoa(l.Spans), strconv.Itoa(l.Entries), seconds)
	}
	if err := table.Flush(); t.err == nil {
		t.err = err
	}
}

func (t *indexText) enabled(e *soci.EnabledResult) {
	switch e.Outcome {
	case "": // not asked for
	case soci.OutcomeTagged, soci.OutcomeAlreadyTagged:
		what := "SOCI-enabled image"
		if e.Unindexed {
			what = "unindexed image"
		}
		note := t.note
		if e.Outcome == soci.OutcomeAlreadyTagged {
			note = ""
		}
		t.printf("%s %s: %s as %s%s\n", what, t.full.digest(e.Image.Digest), e.Outcome.Text(), e.Tag, note)
	case soci.OutcomeNoLayer, soci.OutcomePassedOver:
		t.printf("no SOCI-enabled image: %s\n", e.Outcome.Text())
	case soci.OutcomeUntagged, soci.OutcomeFailed:
		t.printf("%s\n", because("no SOCI-enabled image", ": ", e.Reason))
	default:
		t.printf("no SOCI-enabled image: %s\n", because(e.Outcome.Text(), ": ", e.Reason))
	}
}

// older says what became of the SOCI indexes v1 that were replaced.
func (t *indexText) older(r *indexed, from *imageFlags) {
	kept := false
	for _, o := range r.older {
		what := fmt.Sprintf("%s: older SOCI index v1 %s", o.Platform, t.full.digest(o.Index.Digest))
		switch {
		case o.Err != nil:
			kept = true
			t.printf("%s kept: %s\n", what, oneLine(whyKept(o.Err), 500))
		case t.dryRun:
			t.printf("%s (dry run, not deleted)\n", what)
		default:
			t.printf("%s deleted\n", what)
		}
	}
	if kept {
		t.printf("clients may still choose an older SOCI index v1: delete it with:\n")
		host, repository, _ := strings.Cut(r.repository, "/")
		t.asIs("  " + deleteSurplus(host, repository, &from.aws, &from.registryFlags) + "\n")
	}
	if r.unknown != nil {
		t.printf("older SOCI indexes v1: %s\n", oneLine(explain(r.unknown).Error(), 500))
	}
}

// whyKept says why a SOCI index was not deleted.
func whyKept(err error) string {
	if e, ok := errors.AsType[*ecrclient.Error](err); ok && e.DeletionDisabled() {
		return "the registry does not delete manifests"
	}
	return explain(err).Error()
}

// addOlder adds what became of the SOCI indexes v1 that were replaced.
func addOlder(out *report.Image, r *indexed, dryRun bool) {
	for _, o := range r.older {
		one := report.Older{Digest: o.Index.Digest, Outcome: report.OlderDeleted}
		switch {
		case o.Err != nil:
			one.Outcome, one.Reason = report.OlderKept, whyKept(o.Err)
		case dryRun:
			one.Outcome = report.OlderWouldDelete
		}
		for i := range out.Manifests {
			if m := &out.Manifests[i]; m.Digest == o.Subject.Digest {
				m.Older = append(m.Older, one)
				break
			}
		}
	}
	if r.unknown != nil {
		out.OlderError = explain(r.unknown).Error()
	}
}

// because adds the reason, if there is one.
func because(what, separator, reason string) string {
	if reason == "" {
		return what
	}
	return what + separator + reason
}

func withDetail(l soci.LayerResult) string {
	if l.Detail == "" || l.Reason == soci.SkipZstd {
		return l.Reason.Text()
	}
	return fmt.Sprintf("%s (%s)", l.Reason.Text(), l.Detail)
}

// fixOf says what the image's maker can do about skipped layers; empty if there
// is nothing to say.
func fixOf(r *soci.Result) string {
	for _, m := range r.Manifests {
		for _, l := range m.Layers {
			if fix := l.Reason.Fix(); fix != "" {
				return fix
			}
		}
	}
	return ""
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/internal/report"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// writeIndexText tells people what became of an image.
func writeIndexText(w io.Writer, ref string, dryRun bool, r *indexed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %s, %s read, %s pushed, %.1f s\n", ref, r.Outcome().Text(), bytesize.Format(r.BytesRead),
		bytesize.Format(r.BytesPushed), r.Seconds)
	if r.SearchError != nil {
		fmt.Fprintf(t, "earlier zTOCs not all found: %s\n", strings.ReplaceAll(r.SearchError.Error(), "\n", "; "))
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(t, "warning: %s\n", warning)
	}
	if r.LeftAlone != "" && r.Reason != "" {
		fmt.Fprintln(t, r.Reason)
	}
	note := ""
	if dryRun {
		note = " (dry run, not pushed)"
	}
	for _, m := range r.Manifests {
		switch m.Outcome {
		case soci.OutcomePassedOver:
			fmt.Fprintf(t, "manifest %s: %s\n", m.Manifest.Digest, because(m.Outcome.Text(), ": ", m.Reason))
			continue
		case soci.OutcomeNoLayer:
			fmt.Fprintf(t, "%s: no SOCI index: %s\n", m.Platform, because(m.Outcome.Text(), ", ", m.Reason))
		case soci.OutcomeFailed:
			fmt.Fprintf(t, "%s: %s\n", m.Platform, because("manifest "+m.Manifest.Digest.String()+" failed", ": ", m.Reason))
			continue
		case soci.OutcomeMissing, soci.OutcomeUnreadable:
			fmt.Fprintf(t, "manifest %s: %s\n", m.Manifest.Digest, because(m.Outcome.Text(), ": ", m.Reason))
			continue
		case soci.OutcomeSuperseded:
			fmt.Fprintf(t, "%s: no SOCI index, because the image is superseded\n", m.Platform)
		}
		if m.Index.Digest != "" {
			fmt.Fprintf(t, "%s: SOCI index v1 %s%s\n", m.Platform, m.Index.Digest, note)
		}
		if m.IndexV2.Digest != "" {
			fmt.Fprintf(t, "%s: SOCI index v2 %s%s\n", m.Platform, m.IndexV2.Digest, note)
		}
		if p := m.Prefetch; p != nil {
			fmt.Fprintf(t, "%s: %s to prefetch, in %s of %s\n", m.Platform, count(p.Files, "file"),
				count(p.Spans(), "span"), count(len(p.Artifacts), "layer"))
		}
		fmt.Fprintf(t, "  LAYER\tSIZE\tZTOC\tSPANS\tENTRIES\tSECONDS\n")
		for _, l := range m.Layers {
			if !l.Indexed() {
				fmt.Fprintf(t, "  %s\t%s\tskipped: %s\n", shortDigest(l.Layer.Digest), bytesize.Format(l.Layer.Size), withDetail(l))
				continue
			}
			seconds := fmt.Sprintf("%.1f", l.Seconds)
			if l.Reused {
				seconds = "reused"
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%d\t%s\n", shortDigest(l.Layer.Digest), bytesize.Format(l.Layer.Size),
				bytesize.Format(l.Ztoc.Size), l.Spans, l.Files, seconds)
		}
	}
	switch e := r.Enabled; e.Outcome {
	case "": // not asked for
	case soci.OutcomeTagged, soci.OutcomeAlreadyTagged:
		what := "SOCI-enabled image"
		if e.Unindexed {
			what = "unindexed image"
		}
		fmt.Fprintf(t, "%s %s: %s as %s%s\n", what, e.Image.Digest, e.Outcome.Text(), e.Tag, note)
	case soci.OutcomeNoLayer, soci.OutcomePassedOver:
		fmt.Fprintf(t, "no SOCI-enabled image: %s\n", e.Outcome.Text())
	case soci.OutcomeUntagged, soci.OutcomeFailed:
		fmt.Fprintln(t, because("no SOCI-enabled image", ": ", e.Reason))
	default:
		fmt.Fprintf(t, "no SOCI-enabled image: %s\n", because(e.Outcome.Text(), ": ", e.Reason))
	}
	if fix := fixOf(r.Result); fix != "" {
		fmt.Fprintf(t, "zstd layers cannot be indexed: %s\n", fix)
	}
	writeOlder(t, dryRun, r)
	return t.Flush()
}

// writeOlder says what became of the SOCI indexes v1 that were replaced.
func writeOlder(w io.Writer, dryRun bool, r *indexed) {
	kept := false
	for _, o := range r.older {
		switch {
		case o.Err != nil:
			kept = true
			fmt.Fprintf(w, "%s: older SOCI index v1 %s kept: %s\n", o.Platform, o.Index.Digest,
				oneLine(whyKept(o.Err), 500))
		case dryRun:
			fmt.Fprintf(w, "%s: older SOCI index v1 %s (dry run, not deleted)\n", o.Platform, o.Index.Digest)
		default:
			fmt.Fprintf(w, "%s: older SOCI index v1 %s deleted\n", o.Platform, o.Index.Digest)
		}
	}
	if kept {
		fmt.Fprintf(w, "clients may still choose an older SOCI index v1: delete it with %q\n",
			programName+" cleanup --surplus")
	}
	if r.unknown != nil {
		fmt.Fprintf(w, "older SOCI indexes v1: %s\n", oneLine(explain(r.unknown).Error(), 500))
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

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/pkg/soci"
)

// writeIndexText tells people what became of an image.
func writeIndexText(w io.Writer, ref string, dryRun bool, r *soci.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %s, %s read, %s pushed, %.1f s\n", ref, r.Outcome(), bytesize.Format(r.BytesRead),
		bytesize.Format(r.BytesPushed), r.Seconds)
	if r.SearchError != nil {
		fmt.Fprintf(t, "earlier zTOCs not all found: %s\n", strings.ReplaceAll(r.SearchError.Error(), "\n", "; "))
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(t, "warning: %s\n", warning)
	}
	if r.LeftAlone != "" {
		fmt.Fprintln(t, because("left alone", ": ", r.Reason))
	}
	note := ""
	if dryRun {
		note = " (dry run, not pushed)"
	}
	for _, m := range r.Manifests {
		switch m.Outcome {
		case soci.OutcomePassedOver:
			fmt.Fprintf(t, "manifest %s: %s\n", m.Manifest.Digest, because("passed over", ", ", m.Reason))
			continue
		case soci.OutcomeNoLayer:
			fmt.Fprintf(t, "%s: no layer to index, so no SOCI index (%s)\n", m.Platform, m.Reason)
		case soci.OutcomeFailed:
			fmt.Fprintf(t, "%s: manifest %s failed: %s\n", m.Platform, m.Manifest.Digest, m.Reason)
			continue
		case soci.OutcomeMissing, soci.OutcomeUnreadable:
			fmt.Fprintf(t, "manifest %s: %s, %s\n", m.Manifest.Digest, m.Outcome, m.Reason)
			continue
		case soci.OutcomeSuperseded:
			fmt.Fprintf(t, "%s: no SOCI index, since the image is superseded\n", m.Platform)
		}
		if m.Index.Digest != "" {
			fmt.Fprintf(t, "%s: SOCI index v1 %s%s\n", m.Platform, m.Index.Digest, note)
		}
		if m.IndexV2.Digest != "" {
			fmt.Fprintf(t, "%s: SOCI index v2 %s%s\n", m.Platform, m.IndexV2.Digest, note)
		}
		if p := m.Prefetch; p != nil {
			fmt.Fprintf(t, "%s: %d files to prefetch, in %d spans of %d layers\n", m.Platform, p.Files, p.Spans(),
				len(p.Artifacts))
		}
		fmt.Fprintf(t, "  LAYER\tSIZE\tZTOC\tSPANS\tFILES\tSECONDS\n")
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
		fmt.Fprintf(t, "%s %s: %s as %s%s\n", what, e.Image.Digest, e.Outcome, e.Tag, note)
	case soci.OutcomeNoLayer, soci.OutcomePassedOver:
		fmt.Fprintf(t, "no SOCI-enabled image: %s\n", e.Outcome)
	default:
		fmt.Fprintf(t, "no SOCI-enabled image: %s\n", because(string(e.Outcome), ", ", e.Reason))
	}
	return t.Flush()
}

// because adds the reason, if there is one.
func because(what, separator, reason string) string {
	if reason == "" {
		return what
	}
	return what + separator + reason
}

func withDetail(l soci.LayerResult) string {
	if l.Detail == "" {
		return string(l.Reason)
	}
	return fmt.Sprintf("%s (%s)", l.Reason, l.Detail)
}

package main

import (
	"cmp"
	"fmt"
	"io"

	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/soci"
)

// writeVerifyText writes a report. A layer that both SOCI indexes list has the
// same zTOC in both, and is reported once.
func writeVerifyText(w io.Writer, r *verify.Report, want soci.IndexVersion, full fullFlag) error {
	p := newPrinter(w)
	told := map[*verify.LayerReport]bool{}
	for _, index := range r.Indexes {
		of := ""
		if index.Tag != "" {
			of = ", in the SOCI-enabled image " + index.Tag
		}
		p.printf("%s%s: SOCI index %s %s%s\n", p.screen.Mark(verified(len(index.Differences)+index.Omitted == 0)),
			index.Platform, index.Version, full.digest(index.Index), of)
		p.differences(index.Differences, index.Omitted)
		again := 0
		for _, l := range index.Layers {
			if told[l] {
				again++
				continue
			}
			told[l] = true
			p.printf("  layer %s, %s: %s, %s, %s, %s compared\n",
				full.digest(l.Layer.Digest), bytesize.Format(l.Layer.Size), count(l.Spans, "span"),
				counted(l.Entries, "entry", "entries"), count(l.Files, "file"), bytesize.Format(l.Bytes))
			p.differences(l.Differences, l.Omitted)
		}
		if again > 0 {
			p.printf("  %s as above, with the same zTOCs\n", count(again, "layer"))
		}
		for _, one := range index.Prefetch {
			p.printf("  prefetch artifact %s of layer %s: %s\n",
				full.digest(one.Artifact.Digest), full.digest(one.Layer), count(int(one.Spans), "span"))
		}
	}
	for _, node := range r.WithoutIndex {
		p.printf("%s: no SOCI index\n", node.Platform)
	}
	for _, node := range r.Missing {
		platform := cmp.Or(node.Platform, "unknown platform")
		p.printf("%s: the image manifest %s is not in the repository\n", platform, node.Digest)
	}
	p.differences(r.Wrong, 0)
	p.versions(r, want)
	var layers, spans, files int
	var size int64
	for _, l := range r.Layers() {
		layers, spans, files, size = layers+1, spans+l.Spans, files+l.Files, size+l.Bytes
	}
	verdict := p.screen.Paint(terminal.Good, "no difference")
	if n := r.Differences(); n > 0 {
		verdict = p.screen.Paint(terminal.Bad, fmt.Sprintf("DIFFERENCES: %d", n))
	}
	before := ""
	if n := layers - r.Compared; n > 0 {
		before = fmt.Sprintf(" (%d of the layers with an earlier image)", n)
	}
	p.printf("compared %s, %s, %s, %s in %.1f s%s: %s\n", count(layers, "layer"), count(spans, "span"),
		count(files, "file"),
		bytesize.Format(size), r.Seconds, before, verdict)
	return p.err
}

// verified is the tone of what was compared.
func verified(same bool) terminal.Tone {
	if same {
		return terminal.Good
	}
	return terminal.Bad
}

// versions says of each version that was looked at what was found.
func (p *printer) versions(r *verify.Report, want soci.IndexVersion) {
	for _, version := range versionsLookedAt(want) {
		state := versionState(r, version)
		where := "a referrer of the image"
		switch {
		case version == "v2" && r.Suffixed != nil && (state != versionNone || !r.Has("v2")):
			where = r.Suffixed.Text()
		case version == "v2" && state == versionNone:
			where = "the image names none in an annotation"
		case version == "v2":
			where = "named by the image itself"
		case state == versionNone:
			where = "the image has none as a referrer"
		}
		tone := map[string]terminal.Tone{versionVerified: terminal.Good, versionDiffers: terminal.Bad}[state]
		p.printf("%sSOCI index %s: %s, %s\n", p.screen.Mark(tone), version, p.screen.Paint(tone, state), where)
	}
}

// Outcomes for the SOCI indexes of one version.
const (
	versionVerified = "verified"
	versionDiffers  = "differs"
	versionNone     = "none"
)

// versionsLookedAt returns the versions as the SOCI indexes have them.
func versionsLookedAt(want soci.IndexVersion) []string {
	switch want {
	case soci.V1:
		return []string{"v1"}
	case soci.V2:
		return []string{"v2"}
	}
	return []string{"v1", "v2"}
}

func versionState(r *verify.Report, version string) string {
	switch {
	case r.DifferencesOf(version) > 0:
		return versionDiffers
	case r.Has(version):
		return versionVerified
	}
	return versionNone
}

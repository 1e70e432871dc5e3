package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/pkg/soci"
)

// WriteText draws the tree, one line for each thing in it.
func WriteText(w io.Writer, root *Node) error {
	if err := draw(w, root); err != nil {
		return err
	}
	return writeFixes(w, root)
}

func draw(w io.Writer, root *Node) error {
	t := &tree{w: w}
	t.node(root, "", "")
	return t.err
}

// writeFixes says how to build the image so that more of it can be indexed.
func writeFixes(w io.Writer, root *Node) error {
	if !hasZstd(root) {
		return nil
	}
	_, err := fmt.Fprintf(w, "zstd layers cannot be indexed: %s\n", soci.SkipZstd.Fix())
	return err
}

// hasZstd reports whether a layer is compressed with zstd, by its media type.
func hasZstd(n *Node) bool {
	return slices.ContainsFunc(n.Layers, func(l Layer) bool { return soci.IsZstd(l.MediaType) }) ||
		slices.ContainsFunc(n.Manifests, hasZstd)
}

type tree struct {
	w   io.Writer
	err error // sticky
}

// branch is one thing below another.
type branch func(first, rest string)

func (t *tree) line(prefix, format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, prefix+fmt.Sprintf(format, args...))
	}
}

func (t *tree) branches(prefix string, all []branch) {
	for i, b := range all {
		if i == len(all)-1 {
			b(prefix+"└── ", prefix+"    ")
		} else {
			b(prefix+"├── ", prefix+"│   ")
		}
	}
}

func (t *tree) node(n *Node, first, rest string) {
	words := []string{n.Kind.Text()}
	if n.Platform != "" {
		words = append(words, n.Platform)
	}
	words = append(words, n.Digest.String(), bytesText(n.Size))
	if n.ArtifactType != "" && !n.Kind.SOCI() {
		words = append(words, n.ArtifactType)
	}
	if n.Missing {
		words = append(words, "(not in the repository)")
	}
	t.line(first, "%s", strings.Join(words, "  "))

	var below []branch
	for _, m := range n.Manifests {
		below = append(below, func(first, rest string) { t.node(m, first, rest) })
	}
	for _, l := range n.Layers {
		below = append(below, func(first, _ string) {
			t.line(first, "layer  %s  %s  %s", l.Digest, bytesText(l.Size), l.MediaType)
		})
	}
	for _, s := range n.SociIndexes {
		below = append(below, func(first, rest string) { t.sociIndex(s, first, rest) })
	}
	t.branches(rest, below)
}

func (t *tree) sociIndex(s *SociIndex, first, rest string) {
	switch {
	case s.Missing:
		t.line(first, "SOCI index %s  %s  (not in the repository)", s.Version, s.Digest)
	case s.Invalid != "":
		t.line(first, "SOCI index %s  %s  %s  (%s)", s.Version, s.Digest, bytesText(s.Size), s.Invalid)
	default:
		t.line(first, "SOCI index %s  %s  %s  by %q", s.Version, s.Digest, bytesText(s.Size), s.BuildTool)
	}
	var below []branch
	add := func(what string, blobs []*Blob) {
		for _, blob := range blobs {
			below = append(below, func(first, _ string) { t.line(first, "%s", blobText(what, blob)) })
		}
	}
	add("zTOC", s.Ztocs)
	add("prefetch artifact", s.Prefetch)
	add("other blob", s.Other)
	t.branches(rest, below)
}

func blobText(what string, b *Blob) string {
	words := []string{what, b.Digest.String(), bytesText(b.Size)}
	if b.MediaType != "" {
		words = append(words, b.MediaType)
	}
	if b.Layer != "" {
		words = append(words, "of layer "+b.Layer.String())
	}
	for _, flag := range []struct {
		set  bool
		text string
	}{
		{b.Foreign && b.Layer != "", "(not a layer of this image)"},
		{b.Foreign && b.Layer == "", "(names no layer)"},
		{b.Missing, "(not in the repository)"},
		{b.Invalid != "", "(" + b.Invalid + ")"},
	} {
		if flag.set {
			words = append(words, flag.text)
		}
	}
	if b.StoredSize != nil {
		words = append(words, fmt.Sprintf("(size differs: %d bytes in the repository, not %d)", *b.StoredSize, b.Size))
	}
	return strings.Join(words, "  ")
}

func bytesText(n int64) string { return bytesize.Format(n) }

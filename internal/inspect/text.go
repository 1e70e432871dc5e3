package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/soci"

	"github.com/opencontainers/go-digest"
)

// WriteText draws the tree, one line for each thing in it. With full, digests are
// whole, and no line is fitted to a terminal.
func WriteText(w io.Writer, root *Node, full bool) error {
	if err := draw(w, root, full); err != nil {
		return err
	}
	return writeFixes(w, root)
}

func draw(w io.Writer, root *Node, full bool) error {
	t := &tree{w: w, full: full, screen: terminal.Of(w)}
	t.node(root, "", "")
	return t.err
}

// writeFixes says how to build the image so that more of it can be indexed.
func writeFixes(w io.Writer, root *Node) error {
	if !hasZstd(root) {
		return nil
	}
	text := fmt.Sprintf("zstd layers cannot be indexed: %s", soci.SkipZstd.Fix())
	_, err := fmt.Fprintln(w, terminal.Of(w).Fill(text))
	return err
}

// hasZstd reports whether a layer is compressed with zstd, by its media type.
func hasZstd(n *Node) bool {
	return slices.ContainsFunc(n.Layers, func(l Layer) bool { return soci.IsZstd(l.MediaType) }) ||
		slices.ContainsFunc(n.Manifests, hasZstd)
}

type tree struct {
	w      io.Writer
	full   bool
	screen terminal.Screen
	err    error // sticky
}

// digest returns a digest, of which people need the beginning.
func (t *tree) digest(d digest.Digest) string {
	if t.full {
		return d.String()
	}
	return names.ShortDigest(d.String())
}

// bad lets a text stand out.
func (t *tree) bad(text string) string { return t.screen.Paint(terminal.Bad, text) }

// branch is one thing below another.
type branch func(first, rest string)

// line writes words after a prefix. A media type at their end is shortened to
// what the screen has room for, and what is too long otherwise is broken.
func (t *tree) line(first, rest string, words ...string) {
	const separator = "  "
	text := strings.Join(words, separator)
	if room := t.screen.Width - terminal.Width(first); !t.full && t.screen.Width > 0 && terminal.Width(text) > room {
		last := words[len(words)-1]
		before := strings.TrimSuffix(text, last)
		if left := room - terminal.Width(before); strings.Contains(last, "/") && !strings.Contains(last, " ") &&
			left >= 12 {
			text = before + terminal.Shorten(last, left)
		} else {
			text = strings.Join(terminal.Wrap(text, room-len(separator)), "\n"+rest+separator)
		}
	}
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, first+text)
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
	words = append(words, t.digest(n.Digest), bytesText(n.Size))
	if n.ArtifactType != "" && !n.Kind.SOCI() {
		words = append(words, n.ArtifactType)
	}
	if n.Missing {
		words = append(words, t.bad("(not in the repository)"))
	}
	t.line(first, rest, words...)

	var below []branch
	for _, m := range n.Manifests {
		below = append(below, func(first, rest string) { t.node(m, first, rest) })
	}
	for _, l := range n.Layers {
		below = append(below, func(first, rest string) {
			t.line(first, rest, "layer", t.digest(l.Digest), bytesText(l.Size), l.MediaType)
		})
	}
	for _, s := range n.SociIndexes {
		below = append(below, func(first, rest string) { t.sociIndex(s, first, rest) })
	}
	t.branches(rest, below)
}

func (t *tree) sociIndex(s *SociIndex, first, rest string) {
	what := "SOCI index " + s.Version
	switch {
	case s.Missing:
		t.line(first, rest, what, t.digest(s.Digest), t.bad("(not in the repository)"))
	case s.Invalid != "":
		t.line(first, rest, what, t.digest(s.Digest), bytesText(s.Size), t.bad("("+s.Invalid+")"))
	default:
		t.line(first, rest, what, t.digest(s.Digest), bytesText(s.Size), fmt.Sprintf("by %q", s.BuildTool))
	}
	var below []branch
	add := func(what string, blobs []*Blob) {
		for _, blob := range blobs {
			below = append(below, func(first, rest string) { t.line(first, rest, t.blob(what, blob)...) })
		}
	}
	add("zTOC", s.Ztocs)
	add("prefetch artifact", s.Prefetch)
	add("other blob", s.Other)
	t.branches(rest, below)
}

func (t *tree) blob(what string, b *Blob) []string {
	words := []string{what, t.digest(b.Digest), bytesText(b.Size)}
	if b.MediaType != "" {
		words = append(words, b.MediaType)
	}
	if b.Layer != "" {
		words = append(words, "of layer "+t.digest(b.Layer))
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
			words = append(words, t.bad(flag.text))
		}
	}
	if b.StoredSize != nil {
		words = append(words,
			t.bad(fmt.Sprintf("(size differs: %d bytes in the repository, not %d)", *b.StoredSize, b.Size)))
	}
	return words
}

func bytesText(n int64) string { return bytesize.Format(n) }

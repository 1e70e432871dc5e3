// Package descriptors decodes manifests without allocating more for the lists of
// descriptors in them than in proportion to their bytes: "{}," makes a descriptor
// of more than a hundred bytes. Start with [Manifest] and [Index].
package descriptors

import (
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/plainjson"
)

// Max is how many descriptors a list may have. No manifest of 4 MiB has as many
// with digests: the shortest takes about 90 bytes.
const Max = 50_000

// List is a list of at most Max descriptors.
type List []ocispec.Descriptor

// UnmarshalJSON reads a list, whose elements are counted first.
func (l *List) UnmarshalJSON(b []byte) error {
	if longer(b, Max) {
		return fmt.Errorf("a list of more than %d descriptors, as many as do not fit into a manifest", Max)
	}
	return json.Unmarshal(b, (*[]ocispec.Descriptor)(l))
}

// Manifest decodes an image manifest, or whatever has the form of one.
func Manifest(b []byte, m *ocispec.Manifest) error {
	d := struct {
		*ocispec.Manifest
		Layers List `json:"layers"`
	}{Manifest: m}
	err := plainjson.Unmarshal(b, &d)
	m.Layers = d.Layers
	return err
}

// Index decodes an image index.
func Index(b []byte, x *ocispec.Index) error {
	d := struct {
		*ocispec.Index
		Manifests List `json:"manifests"`
	}{Index: x}
	err := plainjson.Unmarshal(b, &d)
	x.Manifests = d.Manifests
	return err
}

// longer reports whether a valid JSON array has more than n elements.
func longer(array []byte, n int) bool {
	depth, commas := 0, 0
	quoted := false
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case quoted && c == '\\':
			i++ // whatever is escaped
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			depth++
		case c == ']', c == '}':
			depth--
		case c == ',' && depth == 1:
			if commas++; commas == n {
				return true
			}
		}
	}
	return false
}

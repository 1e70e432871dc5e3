package documents

import (
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxDescriptors is how many descriptors a list may have. No manifest of 4 MiB has as many
// with digests: the shortest takes about 90 bytes.
const MaxDescriptors = 50_000

// Descriptors is a list of at most MaxDescriptors descriptors.
type Descriptors []ocispec.Descriptor

// UnmarshalJSON reads a list, whose elements are counted first.
func (l *Descriptors) UnmarshalJSON(b []byte) error {
	if longer(b, MaxDescriptors) {
		return fmt.Errorf("a list of more than %d descriptors, as many as do not fit into a manifest", MaxDescriptors)
	}
	return json.Unmarshal(b, (*[]ocispec.Descriptor)(l))
}

// Manifest decodes an image manifest, or whatever has the form of one.
func Manifest(b []byte, m *ocispec.Manifest) error {
	d := struct {
		*ocispec.Manifest
		Layers Descriptors `json:"layers"`
	}{Manifest: m}
	err := Unmarshal(b, &d)
	m.Layers = d.Layers
	return err
}

// Index decodes an image index.
func Index(b []byte, x *ocispec.Index) error {
	d := struct {
		*ocispec.Index
		Manifests Descriptors `json:"manifests"`
	}{Index: x}
	err := Unmarshal(b, &d)
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

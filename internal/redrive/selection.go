package redrive

import (
	"slices"

	"soci-index-builder/internal/names"
)

// matches reports whether m is about the image, or about an image of the
// repository if neither tag nor digest is given.
func matches(i names.Image, m *Message) bool {
	return i.Repository == m.Repository && (i.Tag == "" || i.Tag == m.Tag) && (i.Digest == "" || i.Digest == m.Digest)
}

// Selection chooses messages: those that match one of each kind that is not
// empty. Its zero value chooses all.
type Selection struct {
	Images  []names.Image // as names.ParseECR reads them; without tag and digest, all of a repository
	Reasons []string
	IDs     []string
}

// Matches reports whether m is chosen.
func (s Selection) Matches(m *Message) bool {
	return (len(s.Images) == 0 || slices.ContainsFunc(s.Images, func(i names.Image) bool { return matches(i, m) })) &&
		(len(s.Reasons) == 0 || slices.Contains(s.Reasons, m.Reason)) &&
		(len(s.IDs) == 0 || slices.Contains(s.IDs, m.ID))
}

package redrive

import (
	"slices"
	"strings"

	"soci-index-builder/internal/logquery"
)

// Image chooses the messages about an image, or about a repository.
type Image struct{ logquery.Image }

// ParseImage reads REPOSITORY[:TAG][@DIGEST]; the host of an ECR registry may
// stand in front. Its error matches logquery.ErrInvalidImage.
func ParseImage(s string) (Image, error) {
	whole := s
	if !strings.ContainsAny(s, ":@") {
		whole += ":any"
	}
	i, err := logquery.ParseImage(whole)
	if whole != s {
		i.Tag = ""
	}
	return Image{i}, err
}

func (i Image) matches(m *Message) bool {
	return i.Repository == m.Repository && (i.Tag == "" || i.Tag == m.Tag) && (i.Digest == "" || i.Digest == m.Digest)
}

// Selection chooses messages: those that match one of each kind that is not
// empty. Its zero value chooses all.
type Selection struct {
	Images  []Image
	Reasons []string
	IDs     []string
}

// Matches reports whether m is chosen.
func (s Selection) Matches(m *Message) bool {
	return (len(s.Images) == 0 || slices.ContainsFunc(s.Images, func(i Image) bool { return i.matches(m) })) &&
		(len(s.Reasons) == 0 || slices.Contains(s.Reasons, m.Reason)) &&
		(len(s.IDs) == 0 || slices.Contains(s.IDs, m.ID))
}

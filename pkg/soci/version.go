package soci

import (
	"fmt"

	"soci-index-builder/internal/names"
)

// IndexVersion says which SOCI indexes an image gets. One build of the zTOCs
// serves both.
type IndexVersion string

// The index versions.
const (
	// V1: each image manifest gets a SOCI index that is its referrer.
	V1 IndexVersion = "V1"
	// V2: a SOCI-enabled image is made, and tagged beside the original.
	V2 IndexVersion = "V2"
	// Both of them.
	Both IndexVersion = "Both"
)

// ParseIndexVersion reads "V1", "V2" or "Both"; anything else is
// ErrInvalidOption.
func ParseIndexVersion(s string) (IndexVersion, error) {
	switch v := IndexVersion(s); v {
	case V1, V2, Both:
		return v, nil
	}
	return "", invalidOption("index version %q, not V1, V2 or Both", cut(s, 100))
}

func (v IndexVersion) v1() bool { return v != V2 }
func (v IndexVersion) v2() bool { return v != V1 }

// DefaultTagSuffix makes the tag of a SOCI-enabled image of the tag of the
// original.
const DefaultTagSuffix = names.DefaultTagSuffix

// checkTagSuffix returns an error unless a tag with this suffix can be valid:
// letters, digits, "_", "." and "-", 1 to 127 of them. Otherwise it is
// ErrInvalidOption.
func checkTagSuffix(suffix string) error {
	if !names.IsTagSuffix(suffix) {
		return invalidOption("tag suffix %q, not 1 to 127 letters, digits, \"_\", \".\" and \"-\"", cut(suffix, 200))
	}
	return nil
}

// errTagTooLong is the ErrInvalidOption of a sound tag to which a sound suffix
// cannot be added.
var errTagTooLong = invalidOption("the tag is too long")

// enabledTag is the tag of the SOCI-enabled image.
func enabledTag(tag, suffix string) (string, error) {
	if err := checkTagSuffix(suffix); err != nil {
		return "", err
	}
	if !names.IsTag(tag) {
		return "", invalidOption(
			"tag %q, not 1 to %d letters, digits, \"_\", \".\" and \"-\" that begin with none of the "+
				"last two", cut(tag, 200), names.MaxTag)
	}
	if n := len(tag) + len(suffix); n > names.MaxTag {
		return "", fmt.Errorf("%w: %q with the suffix %q has %d characters, more than the %d of a tag", errTagTooLong,
			tag, suffix, n, names.MaxTag)
	}
	return tag + suffix, nil
}

// Package ours knows what in an account belongs to the program: whatever has
// its tag. Nothing else is ever updated or deleted. Start with [Check].
package ours

import (
	"errors"
	"fmt"
)

// The tag of everything that the program makes: stacks, the companion stacks'
// repositories, the bucket. SAM CLI names its own in the same way, with another
// value.
const (
	TagKey   = "ManagedStackSource"
	TagValue = "SociIndexBuilder"
)

// ErrForeign: something has a name of the program's, and the program did not
// make it.
var ErrForeign = errors.New("is not of soci-index-builder")

// Check reports whether something, named for the error, is the program's by its
// tags. The error matches ErrForeign.
func Check(what string, tags map[string]string) error {
	switch value, ok := tags[TagKey]; {
	case !ok:
		return fmt.Errorf("%s %w: it lacks the tag %s=%s, so it is neither updated nor deleted", what, ErrForeign,
			TagKey, TagValue)
	case value != TagValue:
		return fmt.Errorf("%s %w: its tag %s is %.100q, not %s, so it is neither updated nor deleted", what, ErrForeign,
			TagKey, value, TagValue)
	}
	return nil
}

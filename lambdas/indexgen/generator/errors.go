package generator

import (
	"errors"
	"fmt"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/lambdafn"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// ErrOutOfTime: the function's timeout came near. It is permanent, since a
// second run would get no further.
var ErrOutOfTime = errors.New("stopped before the function's timeout")

// Error is how the work on an event failed.
type Error struct {
	Class              lambdafn.Class
	Repository, Digest string // empty for an event that is not valid
	Err                error
}

func (e *Error) Error() string {
	if e.Repository == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("repository %s: %v", e.Repository, e.Err) // Err names the image
}

func (e *Error) Unwrap() error { return e.Err }

// permanent lists what no second attempt changes. Content that differs from
// its descriptor is not on it, since the transfer may have been at fault; nor
// is access denied, since a role that was just changed takes time to work.
var permanent = []error{
	ErrOutOfTime,
	ecrevent.ErrInvalid,
	soci.ErrTruncated, soci.ErrCorrupt, soci.ErrUnsupported, soci.ErrLimit, soci.ErrInvalidOption,
	ecrclient.ErrManifestTooLarge, ecrclient.ErrInvalidReference,
}

func classify(err error) lambdafn.Class {
	for _, p := range permanent {
		if errors.Is(err, p) {
			return lambdafn.Permanent
		}
	}
	return lambdafn.Transient
}

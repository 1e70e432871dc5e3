package generator

import (
	"errors"
	"fmt"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/pkg/soci"
)

// mostMemory is the largest function of Lambda, in MB.
const mostMemory = 10_240

// withParameter adds to an error for want of memory which value of the stack's
// parameter would do.
func withParameter(err error, parameter string) error {
	limit, ok := errors.AsType[*soci.MemoryError](err)
	if !ok || limit.Enough == 0 {
		return err
	}
	size := fanout.MemorySize(limit.Enough)
	if size > mostMemory {
		return fmt.Errorf("%w: index the image with the command line; no function has so much", err)
	}
	return fmt.Errorf("%w: set %s to %d or more", err, parameter, size)
}

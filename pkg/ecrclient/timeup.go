package ecrclient

import (
	"context"
	"errors"
)

// timeUpError is the end of the caller's own deadline, which is no fault of the
// registry.
type timeUpError struct{}

func (timeUpError) Error() string   { return "the time that the caller allowed is up" }
func (timeUpError) Unwrap() error   { return context.DeadlineExceeded }
func (timeUpError) Timeout() bool   { return true }
func (timeUpError) Temporary() bool { return false }

// ended returns why a caller's context ended, in plain words for its deadline; nil
// if it has not.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return timeUpError{}
	}
	return err
}

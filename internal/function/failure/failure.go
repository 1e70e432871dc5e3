// Package failure separates failures that another attempt may fix from
// permanent ones, and names the reason. Start with [Of].
package failure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure/class"
	"soci-index-builder/internal/permission"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Class is [class.Class].
type Class = class.Class

// The classes of failure.
const (
	Permanent = class.Permanent
	Transient = class.Transient
)

// Reason names what went wrong, in one stable word.
type Reason string

// The reasons of permanent failures.
const (
	OutOfTime        Reason = "out-of-time"
	InvalidEvent     Reason = "invalid-event"
	Truncated        Reason = "truncated"
	Corrupt          Reason = "corrupt"
	Unsupported      Reason = "unsupported"
	LimitExceeded    Reason = "limit-exceeded"
	ImmutableTag     Reason = "immutable-tag"
	TagTaken         Reason = "tag-taken"
	InvalidOption    Reason = "invalid-option"
	InvalidReference Reason = "invalid-reference"
)

// The reasons of transient failures.
const (
	// DigestMismatch: what arrived is not what the descriptor names. The
	// transfer may have been at fault.
	DigestMismatch Reason = "digest-mismatch"
	// TagMoving: the image's tag kept moving in the meantime.
	TagMoving Reason = "tag-moving"
	// AccessDenied: also worth another attempt, since a role that was just
	// changed takes time to work.
	AccessDenied Reason = "access-denied"
	Throttled    Reason = "throttled"
	Unavailable  Reason = "unavailable"
	NotFound     Reason = "not-found"
	Unexpected   Reason = "unexpected"
)

// ErrOutOfTime: the function's timeout came near. It is permanent, since a
// second run would get no further.
var ErrOutOfTime = errors.New("stopped before the function's timeout")

// Error is a failure with its class and reason.
type Error struct {
	Class  Class
	Reason Reason

	// Permission is the action of IAM that was denied, "ecr:PutImage", as far
	// as it can be known; empty for every other reason. Err's text names it.
	Permission string

	// Once: nobody has tried again, although another attempt may succeed, as of a
	// step that ended without an answer.
	Once bool

	Err error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// sentinels are judged in this order: what no second attempt changes comes
// first, whatever else stands in the chain.
var sentinels = []struct {
	err    error
	class  Class
	reason Reason
}{
	{ErrOutOfTime, Permanent, OutOfTime},
	{ecrevent.ErrInvalid, Permanent, InvalidEvent},
	{soci.ErrTruncated, Permanent, Truncated},
	{soci.ErrCorrupt, Permanent, Corrupt},
	{soci.ErrUnsupported, Permanent, Unsupported},
	{soci.ErrLimit, Permanent, LimitExceeded},
	{ecrclient.ErrManifestTooLarge, Permanent, LimitExceeded},
	{soci.ErrTagImmutable, Permanent, ImmutableTag},
	{soci.ErrTagTaken, Permanent, TagTaken},
	{soci.ErrInvalidOption, Permanent, InvalidOption},
	{ecrclient.ErrInvalidReference, Permanent, InvalidReference},
	{soci.ErrTagMoving, Transient, TagMoving},
	{soci.ErrDigestMismatch, Transient, DigestMismatch},
	{ecrclient.ErrDigestMismatch, Transient, DigestMismatch},
	{ecrclient.ErrDenied, Transient, AccessDenied},
	{ecrclient.ErrThrottled, Transient, Throttled},
	{ecrclient.ErrUnavailable, Transient, Unavailable},
	{ecrclient.ErrNotFound, Transient, NotFound},
}

// Of classifies err, which must not be nil. What has been classified before
// stays what it is.
func Of(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return &Error{Class: known.Class, Reason: known.Reason, Permission: known.Permission,
			Once: known.Once, Err: err}
	}
	if failed, ok := errors.AsType[soci.ManifestErrors](err); ok {
		return ofManifests(err, failed)
	}
	for _, s := range sentinels {
		if !errors.Is(err, s.err) {
			continue
		}
		if s.reason == AccessDenied {
			return denied(err, permission.List(permission.OfRefusal(err)))
		}
		return &Error{Class: s.class, Reason: s.reason, Err: err}
	}
	if isAWS(err) {
		return ofAWS(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Class: Transient, Reason: Unavailable, Err: err}
	}
	return &Error{Class: Transient, Reason: Unexpected, Err: err}
}

// ofManifests judges an image of which manifests failed: another attempt is
// worth it as long as one of them may succeed.
func ofManifests(err error, failed soci.ManifestErrors) *Error {
	f := Of(failed[0].Err)
	for _, m := range failed[1:] {
		if other := Of(m.Err); f.Class == Permanent && other.Class == Transient {
			f = other
		}
	}
	if f.Permission != "" {
		return denied(err, f.Permission)
	}
	return &Error{Class: f.Class, Reason: f.Reason, Err: err}
}

func denied(err error, missing string) *Error {
	if missing != "" {
		err = fmt.Errorf("%w; the function's role needs %s", err, missing)
	}
	return &Error{Class: Transient, Reason: AccessDenied, Permission: missing, Err: err}
}

// isAWS reports whether err is of the AWS SDK.
func isAWS(err error) bool {
	_, operation := errors.AsType[*smithy.OperationError](err)
	_, answer := errors.AsType[smithy.APIError](err)
	return operation || answer
}

// ofAWS judges an error of the AWS SDK by what the service answered.
func ofAWS(err error) *Error {
	code, status := awscode.Of(err), 0
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	reason := Unexpected
	switch {
	case awscode.IsDenied(code):
		return denied(err, awsPermission(err))
	case awscode.IsCredentials(code), code == "KMSAccessDeniedException", // of another service
		status == http.StatusForbidden, status == http.StatusUnauthorized:
		return denied(err, "")
	case awscode.IsThrottled(err):
		reason = Throttled
	case status == http.StatusNotFound, strings.Contains(code, "NonExistent"), strings.Contains(code, "DoesNotExist"),
		strings.Contains(code, "NotFound"):
		reason = NotFound
	case retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary, status >= 500,
		errors.Is(err, context.DeadlineExceeded):
		reason = Unavailable
	}
	return &Error{Class: Transient, Reason: reason, Err: err}
}

func awsPermission(err error) string {
	if e, ok := errors.AsType[*smithy.OperationError](err); ok {
		return permission.OfCall(e.Service(), e.Operation())
	}
	return ""
}

// Package awscode judges the error codes of AWS's services, each of which has
// its own words for the same refusals. Start with [Of].
package awscode

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// Of returns the code of a service's answer; empty for any other error, and for
// nil.
func Of(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Says reports whether a service answered with the code, and a message with the
// text in it: some of CloudFormation's answers differ in nothing else.
func Says(err error, code, text string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code && strings.Contains(api.ErrorMessage(), text)
}

// credentials are answers about who asks, not about what was asked.
var credentials = []string{
	"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
	"InvalidAccessKeyId", "InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationToken",
	"MissingAuthenticationTokenException", "InvalidToken", "AuthFailure", "IncompleteSignature",
}

var expired = []string{"ExpiredToken", "ExpiredTokenException"}

// denied has the codes of calls, and those that EventBridge has for one event of
// several.
var denied = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
	"NotAuthorized", "NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException"}

// clock says that the time is wrong; mayBeClock has that among other reasons.
var (
	clock      = []string{"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
	mayBeClock = []string{"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"}
)

// IsCredentials reports whether there were no credentials, or AWS does not
// accept them.
func IsCredentials(code string) bool { return slices.Contains(credentials, code) }

// IsExpired reports whether AWS does not accept the credentials any more.
func IsExpired(code string) bool { return slices.Contains(expired, code) }

// IsDenied reports whether a permission is missing.
func IsDenied(code string) bool { return slices.Contains(denied, code) }

// IsClock reports whether the time of the request is wrong.
func IsClock(code string) bool { return slices.Contains(clock, code) }

// MayBeClock reports whether a wrong time of the request is one of the reasons
// that the code can have.
func MayBeClock(code string) bool { return IsClock(code) || slices.Contains(mayBeClock, code) }

// IsThrottled reports whether the service was asked too often.
func IsThrottled(err error) bool {
	var answer interface{ HTTPStatusCode() int }
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == aws.TrueTernary ||
		errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusTooManyRequests
}

// IsThrottle is [IsThrottled] for a code alone.
func IsThrottle(code string) bool { return IsThrottled(&smithy.GenericAPIError{Code: code}) }

// Package awscode knows the error codes that AWS's services have for the same
// refusals, each service in its own words.
package awscode

import "slices"

// credentials are answers about who asks, not about what was asked.
var credentials = []string{
	"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
	"InvalidAccessKeyId", "InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationToken",
	"MissingAuthenticationTokenException", "InvalidToken", "AuthFailure", "IncompleteSignature",
}

var expired = []string{"ExpiredToken", "ExpiredTokenException"}

var denied = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
	"NotAuthorized"}

// IsCredentials reports whether there were no credentials, or AWS does not
// accept them.
func IsCredentials(code string) bool { return slices.Contains(credentials, code) }

// IsExpired reports whether AWS does not accept the credentials any more.
func IsExpired(code string) bool { return slices.Contains(expired, code) }

// IsDenied reports whether a permission is missing.
func IsDenied(code string) bool { return slices.Contains(denied, code) }

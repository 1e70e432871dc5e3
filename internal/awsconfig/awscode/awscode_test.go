package awscode_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/testkit/expect"
)

// What each code is: c for credentials, e for expired ones, d for denied, t for the
// time of the request, m for perhaps the time, a for asked too often.
func TestCodes(t *testing.T) {
	all := map[string]func(string) bool{"c": awscode.IsCredentials, "e": awscode.IsExpired, "d": awscode.IsDenied,
		"t": awscode.IsClock, "m": awscode.MayBeClock, "a": awscode.IsThrottle}
	for code, want := range map[string]string{
		"": "", "ValidationError": "", "InternalFailure": "", "NoSuchBucket": "", "KMSAccessDeniedException": "",
		"ExpiredToken": "ce", "ExpiredTokenException": "ce", "InvalidClientTokenId": "c",
		"UnrecognizedClientException": "c", "InvalidAccessKeyId": "c", "MissingAuthenticationToken": "c",
		"MissingAuthenticationTokenException": "c", "InvalidToken": "c", "IncompleteSignature": "c",
		"InvalidSignatureException": "cm", "SignatureDoesNotMatch": "cm", "AuthFailure": "cm",
		"RequestExpired": "tm", "RequestTimeTooSkewed": "tm", "RequestInTheFuture": "tm",
		"AccessDenied": "d", "AccessDeniedException": "d", "UnauthorizedOperation": "d", "AuthorizationError": "d",
		"NotAuthorized": "d", "NotAuthorizedForSourceException": "d", "NotAuthorizedForDetailTypeException": "d",
		"Throttling": "a", "ThrottlingException": "a", "TooManyRequestsException": "a", "LimitExceededException": "a",
		"RequestLimitExceeded": "a", "SlowDown": "a",
	} {
		got := ""
		for _, letter := range []string{"c", "e", "d", "t", "m", "a"} {
			if all[letter](code) {
				got += letter
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", code, got, want)
		}
	}
}

func TestOfErrors(t *testing.T) {
	answer := func(status int, err error) error {
		return &smithy.OperationError{ServiceID: "S3", OperationName: "GetObject", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}}
	}
	missing := &smithy.GenericAPIError{Code: "ValidationError", Message: "Stack with id x does not exist"}
	for name, tt := range map[string]struct {
		err             error
		code            string
		says, throttled bool
	}{
		"nil":       {},
		"no answer": {err: errors.New("ValidationError: it does not exist")},
		"missing":   {missing, "ValidationError", true, false},
		"wrapped":   {fmt.Errorf("asking: %w", answer(400, missing)), "ValidationError", true, false},
		"another text": {&smithy.GenericAPIError{Code: "ValidationError", Message: "no"}, "ValidationError", false,
			false},
		"another code": {&smithy.GenericAPIError{Code: "Other", Message: "does not exist"}, "Other", false,
			false},
		"throttled by code":     {answer(400, &smithy.GenericAPIError{Code: "SlowDown"}), "SlowDown", false, true},
		"throttled by status":   {answer(429, errors.New("no code")), "", false, true},
		"refused by status":     {answer(403, errors.New("no code")), "", false, false},
		"unavailable by status": {answer(503, errors.New("no code")), "", false, false},
	} {
		expect.Equal(t, expect.Facts{
			{"Of", awscode.Of(tt.err), tt.code},
			{"Says", awscode.Says(tt.err, "ValidationError", "does not exist"), tt.says},
			{"IsThrottled", awscode.IsThrottled(tt.err), tt.throttled},
		}, "%s", name)
	}
}

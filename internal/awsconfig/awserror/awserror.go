// Package awserror tells people what an error of the AWS SDK means and what
// to do about it. Start with [Explain].
package awserror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/names/lazyregexp"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/text/netfailure"
)

// Classes of explained errors, for errors.Is.
var (
	// ErrDenied: the caller's identity lacks a permission.
	ErrDenied = errors.New("access denied")

	// ErrCredentials: there are none, or AWS does not accept them.
	ErrCredentials = errors.New("no valid AWS credentials")

	// ErrThrottled: AWS was asked too often, all attempts included.
	ErrThrottled = errors.New("AWS was asked too often")

	// ErrUnreachable: no answer came.
	ErrUnreachable = errors.New("AWS cannot be reached")

	// ErrNotAWS: something else answered in its place, such as a proxy.
	ErrNotAWS = errors.New("the answer is not from AWS")
)

// Error is an error of AWS in one short line.
type Error struct {
	Kind   error  // one of this package's errors; nil for any other
	Action string // of IAM, "ecr:DescribeImages", that was asked for; empty if it cannot be known

	text string
	err  error
}

func (e *Error) Error() string        { return e.text }
func (e *Error) Unwrap() error        { return e.err }
func (e *Error) Is(target error) bool { return e.Kind != nil && target == e.Kind }

// isClock reports whether the request's time is wrong. A signature that is of
// another time has the code of one that is wrong.
func isClock(code, message string) bool {
	return awscode.IsClock(code) || awscode.IsCredentials(code) &&
		(strings.HasPrefix(message, "Signature expired") || strings.HasPrefix(message, "Signature not yet current"))
}

// Explain returns err in one line that says what to do. An error that is
// nothing of AWS's, and one that the end of the context made, is returned as
// it is; so is nil. What the caller wrote in front of the SDK's error stays.
func Explain(err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Action: Action(err), err: err}
	code, message := answer(err)
	var status int
	r, answered := errors.AsType[*smithyhttp.ResponseError](err)
	if answered {
		status = r.HTTPStatusCode()
	}
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	switch {
	case answered && (isPage(r) || isUndecoded(r, code)):
		e.Kind = ErrNotAWS
		what := "content that cannot be decoded"
		if isPage(r) {
			what = "a web page"
		}
		e.text = fmt.Sprintf(
			"%s: %v: %s answered %d %s with %s: if a proxy is in between, check HTTPS_PROXY, NO_PROXY and "+
				"AWS_ENDPOINT_URL", call(err), ErrNotAWS, endpoint(r), status, http.StatusText(status), what)
	case awscode.IsExpired(code):
		e.Kind = ErrCredentials
		e.text = "the AWS credentials have expired: get new ones (for example: aws sso login), then try again"
	case isClock(code, message):
		e.Kind = ErrCredentials
		e.text = fmt.Sprintf(
			"AWS does not accept the time of the request (%s): set this machine's clock, which is at %s",
			code, time.Now().UTC().Format(time.DateTime+" UTC"))
	case awscode.IsCredentials(code):
		e.Kind = ErrCredentials
		e.text = fmt.Sprintf("AWS does not accept the credentials (%s): check --profile and the AWS_ variables of the "+
			"environment, and that the account has the region switched on", code)
	case awscode.IsDenied(code), status == http.StatusForbidden && code != "":
		e.Kind = ErrDenied
		e.text = deniedText(e.Action, message)
	case awscode.IsThrottled(err):
		e.Kind = ErrThrottled
		e.text = fmt.Sprintf("%s: %v (%s): try again in a minute", call(err), ErrThrottled, code)
	case unsent:
		e.Kind = ErrUnreachable
		e.text = fmt.Sprintf("%s: %v: %v: check the network, HTTPS_PROXY and --region", call(err), ErrUnreachable,
			cmp.Or(netfailure.Text("", err), rootOf(err).Error()))
	case code != "":
		e.text = fmt.Sprintf("%s: %s: %s", call(err), code, message)
	default:
		return err
	}
	e.text = inFront(err) + e.text
	return e
}

func deniedText(action, message string) string {
	hint := "allow it"
	if action != "" {
		hint = "it needs the action " + action
	}
	if message == "" {
		return fmt.Sprintf("%v: %s", ErrDenied, hint)
	}
	return fmt.Sprintf("%v: %s; %s", ErrDenied, strings.TrimSuffix(message, "."), hint)
}

// isPage reports whether an answer is a web page.
func isPage(r *smithyhttp.ResponseError) bool {
	return r.Response != nil && r.Response.Response != nil &&
		strings.HasPrefix(r.Response.Header.Get("Content-Type"), "text/html")
}

// isUndecoded reports whether an answer is nothing that the SDK can decode.
func isUndecoded(r *smithyhttp.ResponseError, code string) bool {
	_, undecoded := errors.AsType[*smithy.DeserializationError](r)
	return undecoded && code == "" && r.HTTPStatusCode() != 0
}

// endpoint names the server that was asked.
func endpoint(r *smithyhttp.ResponseError) string {
	if r.Response == nil || r.Response.Response == nil || r.Response.Request == nil || r.Response.Request.URL == nil {
		return "the endpoint"
	}
	u := r.Response.Request.URL
	return u.Scheme + "://" + u.Host
}

// answer returns what the service said.
func answer(err error) (code, message string) {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode(), api.ErrorMessage()
	}
	return "", ""
}

// call names the call of the API that failed.
func call(err error) string {
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		return op.Service() + " " + op.Operation()
	}
	return "AWS"
}

// rootOf is what the network said, without the layers above it.
func rootOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// inFront is what callers wrote in front of the SDK's own text.
func inFront(err error) string {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return ""
	}
	before, _, _ := strings.Cut(err.Error(), op.Error())
	return withoutClass(before)
}

// classes are what pkg/ecrclient puts in front of AWS's error when it asks for a
// token: the text that follows says it better.
var classes = []string{"access denied: ", "registry unavailable: ", "throttled: "}

// asking is the request for a token, in the words of pkg/ecrclient; what it was
// for is in front of it.
var asking = lazyregexp.New(`authenticate [^ ]+: $`)

func withoutClass(before string) string {
	for _, class := range classes {
		before = strings.TrimSuffix(before, class)
	}
	return asking.Compiled().ReplaceAllString(before, "")
}

// Action returns the action of IAM that the failed call needs,
// "ecr:DescribeImages"; empty if it cannot be known.
func Action(err error) string {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return ""
	}
	return permission.OfCall(op.Service(), op.Operation())
}

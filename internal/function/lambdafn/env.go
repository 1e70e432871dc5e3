// Package lambdafn has what the Lambda functions of this project share: how
// they read their environment, log and start.
package lambdafn

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// ErrInvalidVariable: an environment variable has a value that is not
// allowed. Every error of Env matches it.
var ErrInvalidVariable = errors.New("invalid environment variable")

// VariableError names an environment variable, its value and what is allowed.
type VariableError struct {
	Name, Value string
	Err         error // says what is allowed
}

func (e *VariableError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("environment variable %s is not set: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("environment variable %s is %.200q: %v", e.Name, e.Value, e.Err)
}

// Is makes errors.Is(err, ErrInvalidVariable) true.
func (e *VariableError) Is(target error) bool { return target == ErrInvalidVariable }

func (e *VariableError) Unwrap() error { return e.Err }

// Env reads typed values from environment variables and keeps what is wrong
// with them until Err. A variable that is empty counts as not set.
type Env struct {
	lookup func(name string) string
	errs   []error
}

// NewEnv reads through lookup, which is os.Getenv outside of tests.
func NewEnv(lookup func(name string) string) *Env { return &Env{lookup: lookup} }

// Err joins a *VariableError for every variable that was read and is invalid.
func (e *Env) Err() error { return errors.Join(e.errs...) }

func (e *Env) fail(name, value string, err error) {
	e.errs = append(e.errs, &VariableError{Name: name, Value: value, Err: err})
}

// Int reads a whole number from low to high; unit names it in the message.
func (e *Env) Int(name, unit string, low, high, byDefault int64) int64 {
	value := e.lookup(name)
	if value == "" {
		return byDefault
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < low || n > high {
		e.fail(name, value, fmt.Errorf("allowed is a whole number of %s from %d to %d", unit, low, high))
		return byDefault
	}
	return n
}

// Bool reads "true" or "false".
func (e *Env) Bool(name string, byDefault bool) bool {
	switch value := e.lookup(name); value {
	case "":
		return byDefault
	case "true", "false":
		return value == "true"
	default:
		e.fail(name, value, errors.New("allowed are true and false"))
		return byDefault
	}
}

// OneOf reads one of several words. The default is the first of them.
func OneOf[T ~string](e *Env, name string, words ...T) T {
	value := e.lookup(name)
	if value == "" {
		return words[0]
	}
	if !slices.Contains(words, T(value)) {
		e.fail(name, value, fmt.Errorf("allowed are %q", words))
		return words[0]
	}
	return T(value)
}

var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERROR": slog.LevelError,
}

// LogLevel reads LOG_LEVEL. The default is INFO.
func (e *Env) LogLevel() slog.Level {
	const name = contract.VarLogLevel
	value := e.lookup(name)
	if value == "" {
		return slog.LevelInfo
	}
	level, ok := levels[value]
	if !ok {
		e.fail(name, value, errors.New("allowed are DEBUG, INFO, WARN and ERROR"))
	}
	return level
}

var functionARN = lazyregexp.New(`^arn:` + names.Partition + `:lambda:` + names.Region + `:` + names.Account +
	`:function:[A-Za-z0-9_-]{1,140}(?::(?:\$LATEST|[A-Za-z0-9_-]{1,128}))?$`)

// FunctionARN reads the ARN of a Lambda function, which must be set; a version
// or an alias behind it is allowed.
func (e *Env) FunctionARN(name string) string {
	value := e.lookup(name)
	if !functionARN.MatchString(value) {
		e.fail(name, value, errors.New(
			"allowed is the ARN of a Lambda function, arn:aws:lambda:<region>:<account>:function:<name>"))
	}
	return value
}

var stateMachine = lazyregexp.New(`^arn:` + names.Partition + `:states:` + names.Region + `:` + names.Account +
	`:stateMachine:[A-Za-z0-9_-]{1,80}$`)

// StateMachine reads the ARN of a state machine of AWS Step Functions. The
// default is none.
func (e *Env) StateMachine(name string) string {
	value := e.lookup(name)
	if value != "" && !stateMachine.MatchString(value) {
		e.fail(name, value, errors.New(
			"allowed is the ARN of a state machine, arn:aws:states:<region>:<account>:stateMachine:<name>"))
	}
	return value
}

// TagSuffix reads SOCI_TAG_SUFFIX, what is appended to a tag to name the
// SOCI-enabled image. The default is
// names.DefaultTagSuffix.
func (e *Env) TagSuffix() string {
	const name = contract.VarTagSuffix
	value := e.lookup(name)
	if value == "" {
		return names.DefaultTagSuffix
	}
	if !names.IsTagSuffix(value) {
		e.fail(name, value, errors.New("allowed are "+names.TagSuffixAllowed))
	}
	return value
}

// Platforms reads SOCI_PLATFORMS, comma-separated platforms. The default is every Linux.
func (e *Env) Platforms() []string {
	const name = contract.VarPlatforms
	value := e.lookup(name)
	if value == "" {
		return []string{"linux"}
	}
	list := strings.Split(value, ",")
	for _, one := range list {
		if !names.IsPlatform(one) {
			e.fail(name, value, errors.New("allowed are, comma-separated, "+names.PlatformAllowed))
			break
		}
	}
	return list
}

// Endpoint reads the URL of a registry that takes the place of ECR. The
// default is none.
func (e *Env) Endpoint(name string) string {
	value := e.lookup(name)
	if value == "" {
		return ""
	}
	if _, _, err := names.ParseEndpoint(value); err != nil {
		// A password has no place in a message.
		u, parseErr := url.Parse(value)
		if parseErr != nil {
			u = &url.URL{Opaque: "not a URL"}
		}
		e.fail(name, u.Redacted(), err)
		return ""
	}
	return strings.TrimSuffix(value, "/")
}

// QueueURL reads the URL of a queue of SQS. The default is none. It must be a
// standard queue: a FIFO queue wants what an event does not have.
func (e *Env) QueueURL(name string) string {
	value := e.lookup(name)
	if value != "" && !queueURL.MatchString(value) {
		e.fail(name, value, errors.New(
			"allowed is the URL of a standard SQS queue, https://sqs.<region>.amazonaws.com/<account>/<name>"))
	}
	return value
}

// EventBus reads SOCI_EVENT_BUS, the name or ARN of an event bus. The default
// is none.
func (e *Env) EventBus() string {
	const name = contract.VarEventBus
	value := e.lookup(name)
	if value != "" && !eventBus.MatchString(value) {
		e.fail(name, value, errors.New("allowed is the name of an event bus, such as default, or its ARN"))
	}
	return value
}

// StackName reads SOCI_STACK_NAME. The default is the function's name.
func (e *Env) StackName() string {
	const name = contract.VarStackName
	value := e.lookup(name)
	if value == "" {
		if value = e.lookup("AWS_LAMBDA_FUNCTION_NAME"); value == "" {
			value = "soci-index-builder" // outside of Lambda
		}
	}
	if !stackName.MatchString(value) {
		e.fail(name, value, errors.New("allowed are 1 to 255 of A-Z, a-z, 0-9, _ and -"))
	}
	return value
}

var (
	queueURL = lazyregexp.New(`^https?://[A-Za-z0-9.:-]{1,255}/` + names.Account + `/[A-Za-z0-9_-]{1,80}$`)
	eventBus = lazyregexp.New(`^(?:[A-Za-z0-9/._-]{1,256}|arn:` + names.Partition + `:events:` + names.Region + `:` +
		names.Account + `:event-bus/[A-Za-z0-9/._-]{1,256})$`)

	// stackName is wider than names.Stack: without a stack it is the function's name,
	// which may have _ and begin with a digit.
	stackName = lazyregexp.New(`^[A-Za-z0-9_-]{1,255}$`)
)

// Parsed reads a variable that must be set through a parse function, whose
// error says what is allowed.
func Parsed[T any](e *Env, name string, parse func(string) (T, error)) T {
	value := e.lookup(name)
	parsed, err := parse(value)
	if err != nil {
		e.fail(name, value, err)
	}
	return parsed
}

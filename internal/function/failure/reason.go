package failure

import "slices"

// ErrorType is the reason, as Lambda reports it of a failed invocation.
func (e *Error) ErrorType() string { return string(e.Reason) }

// Reasons returns every reason, once.
func Reasons() []Reason {
	var all []Reason
	for _, s := range sentinels {
		if !slices.Contains(all, s.reason) {
			all = append(all, s.reason)
		}
	}
	return append(all, Unexpected)
}

// lambdaErrors are the errors of Lambda itself, as a state machine names them, after
// which a step is tried again.
var lambdaErrors = []string{"Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.AWSLambdaException",
	"Lambda.SdkClientException"}

// LambdaErrors returns the errors of Lambda itself, as a state machine names them,
// that pass: the function may not even have begun.
func LambdaErrors() []string { return slices.Clone(lambdaErrors) }

// TriedAgain reports whether a state machine tries a step again after an error of that
// name: a transient reason, or one of LambdaErrors.
func TriedAgain(name string) bool {
	return ClassOf(Reason(name)) == Transient || slices.Contains(lambdaErrors, name)
}

// ClassOf returns the class of a reason; it is empty if the reason is not one of
// this package's.
func ClassOf(r Reason) Class {
	if r == Unexpected {
		return Transient
	}
	for _, s := range sentinels {
		if s.reason == r {
			return s.class
		}
	}
	return ""
}

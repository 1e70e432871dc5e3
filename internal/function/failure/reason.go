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

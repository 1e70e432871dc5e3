package failure

// ErrorType is the reason, as Lambda reports it of a failed invocation.
func (e *Error) ErrorType() string { return string(e.Reason) }

// ClassOf returns the class of a reason; it is empty if the reason is none of
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

package failure

// texts say for people what each reason means. Each follows "it failed: ".
var texts = map[Reason]string{
	OutOfTime:        "it ran out of time",
	InvalidEvent:     "the event is not valid",
	Truncated:        "a layer or manifest is cut short",
	Corrupt:          "a layer or manifest is damaged",
	Unsupported:      "the image has something that cannot be indexed",
	LimitExceeded:    "a limit is exceeded",
	ImmutableTag:     "the suffixed tag is immutable",
	TagTaken:         "the suffixed tag names an image that is not SOCI-enabled",
	InvalidOption:    "a setting of the builder is not valid",
	InvalidReference: "the name of the image is not valid",
	DigestMismatch:   "what was downloaded is not what the image lists",
	TagMoving:        "the tag kept moving to other images",
	AccessDenied:     "a permission is missing",
	Throttled:        "there were too many requests",
	Unavailable:      "the registry or AWS was not available",
	NotFound:         "something is not in the registry",
	Unexpected:       "an unexpected error",
}

// Text returns what the reason means, for people; the reason itself is for
// programs. It is empty for one that is not of this package, such as Lambda's.
func (r Reason) Text() string { return texts[r] }

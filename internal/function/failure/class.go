package failure

// Class reports whether trying again can help. It is what the log attribute
// "class" of a failure says.
type Class string

// The classes of failure.
const (
	// Permanent: the same event fails again, whenever it is tried.
	Permanent Class = "permanent"
	// Transient: trying again later can help. It is also the class of
	// unexpected failures, since an unnecessary attempt costs little.
	Transient Class = "transient"
)

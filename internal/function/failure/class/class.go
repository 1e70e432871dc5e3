// Package class has the two classes of failures. It imports nothing, so that also
// what must not link the engine can name them.
package class

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

// All returns both.
func All() []Class { return []Class{Permanent, Transient} }

var texts = map[Class]string{
	Permanent: "failed for good",
	Transient: "may succeed later",
}

// Text returns what a failure of the class means for its event, for people; empty
// for a class that is not of this package.
func (c Class) Text() string { return texts[c] }

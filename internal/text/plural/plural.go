// Package plural writes numbers of things for people: "1 message", "2 messages".
package plural

import "fmt"

// Count returns n and the thing, such as "1 layer", "0 layers". The plural has
// an s, unless it is given.
func Count(n int, one string, many ...string) string {
	return fmt.Sprintf("%d %s", n, Word(n, one, many...))
}

// Word returns the thing without the number: "is" or "are".
func Word(n int, one string, many ...string) string {
	switch {
	case n == 1:
		return one
	case len(many) > 0:
		return many[0]
	}
	return one + "s"
}

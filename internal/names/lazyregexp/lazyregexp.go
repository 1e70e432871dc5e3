// Package lazyregexp compiles regular expressions when they are first used, so
// that a program does not spend its start-up time on those that it does not
// need.
package lazyregexp

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression that is compiled once, when it is first used.
// It is safe for concurrent use.
type Regexp struct{ compiled func() *regexp.Regexp }

// New returns the expression. One that is malformed panics when it is first
// used, so a test must use each.
func New(expression string) *Regexp {
	return &Regexp{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })}
}

// Compiled returns the expression itself, for what Regexp has no method for.
func (r *Regexp) Compiled() *regexp.Regexp { return r.compiled() }

// MatchString reports whether s has a match.
func (r *Regexp) MatchString(s string) bool { return r.compiled().MatchString(s) }

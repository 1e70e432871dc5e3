// Package filters is the language in which people choose the images to index.
//
// A list of filters is comma-separated; blanks around a filter are ignored. A
// filter is "repository:tag". In either part "*" matches any run of characters,
// including "/" and the empty one; every other character matches itself. A
// filter matches whole names, and names no registry. A filter that begins with
// "!" excludes what it matches. The last filter of the list that matches
// decides, and an image that none matches is not chosen:
//
//	prod/*:*,!*:*-debug
//
// Start with [Parse].
package filters

import (
	"errors"
	"fmt"
	"strings"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// Errors about a list of filters. Every error of Parse matches at least one of
// them with errors.Is.
var (
	// ErrEmptyList: the list has nothing but blanks.
	ErrEmptyList = errors.New("no filter is given: at least one repository:tag is needed, *:* chooses every image")

	// ErrOnlyExclusions: the list excludes but chooses nothing.
	ErrOnlyExclusions = errors.New(
		"every filter excludes: at least one filter without a leading ! is needed, such as *:* in front")

	// ErrEmpty: nothing stands between two commas, or behind the last.
	ErrEmpty = errors.New("is empty: allowed is repository:tag between two commas")

	// ErrNoTagPart: the filter has no colon.
	ErrNoTagPart = errors.New("has no tag part: allowed is repository:tag, and repository:* for every tag")

	// ErrRepositoryPart: no repository of ECR can have a name like this.
	ErrRepositoryPart = errors.New(
		"has a repository part that no repository can match: allowed are 1 to 256 of a-z, 0-9 and *, separated by " +
			"one of / . _ __ or by hyphens")

	// ErrHost: the filter begins with the host of a registry.
	ErrHost = errors.New("begins with the host of a registry, so it would match nothing: allowed is repository:tag " +
		"alone, such as team/app:*")

	// ErrTagPart: no tag can read like this.
	ErrTagPart = errors.New(
		"has a tag part that no tag can match: allowed are 1 to 128 of A-Z, a-z, 0-9, _, *, and, but not at its " +
			"beginning, . and -")
)

// Error tells which filter of a list is malformed.
type Error struct {
	Position int    // in the list, from 1
	Filter   string // as it was given, without the blanks around it
	Err      error  // one of this package's errors
}

func (e *Error) Error() string {
	const show = 100 // characters of a filter in a message
	filter := e.Filter
	if len(filter) > show {
		filter = filter[:show] + "..."
	}
	return fmt.Sprintf("filter %d %q %v", e.Position, filter, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// The grammar of an ECR repository and of a tag, with * among the letters. A
// pattern fits it exactly when there is a name that the pattern matches.
const (
	word              = `[` + names.RepositoryLetters + `*]+`
	more              = `(?:` + names.RepositorySeparator + word + `)*`
	repositoryGrammar = word + more
	tagGrammar        = `[` + names.TagFirstLetters + `*][` + names.TagLetters + `*-]{0,127}`
	filterGrammar     = `!?` + hostlessGrammar + `:` + tagGrammar
)

// A repository part that begins as the host of an ECR registry does,
// <account>.dkr.ecr.<region>.<suffix> or <account>.dkr-ecr.<region>.<suffix>,
// is refused, although a repository could have that name: it is never what is
// meant. The beginning, <word>.dkr, is enough: the pattern has to be short.
// hostlessGrammar matches exactly what hostGrammar does not.
const (
	hostGrammar = `^` + word + `\.dkr(?:$|[^` + names.RepositoryLetters + `*])`

	notDKR = `(?:(?:[abce-z0-9*]|d[a-jl-z0-9*]|dk[a-qs-z0-9*]|dkr[a-z0-9*])[a-z0-9*]*|dk?)`

	hostlessGrammar = word + `(?:(?:(?:/|__?|-+)` + word + `|\.` + notDKR + `)` + more + `)?`
)

// Pattern is a regular expression, in what Go's and Java's have in common, for
// those who look at a list before Parse can. It matches a list as well as each
// filter of one, since CloudFormation holds it against every value of a
// CommaDelimitedList. Parse accepts whatever it matches, but for a repository
// part of more than 256 characters and for a list that only excludes; and it
// matches whatever Parse accepts, but for blanks beyond ASCII.
const Pattern = `^\s*` + filterGrammar + `(?:\s*,\s*` + filterGrammar + `)*\s*$`

var (
	repositoryPart = lazyregexp.New(`^` + repositoryGrammar + `$`)
	hostPart       = lazyregexp.New(hostGrammar)
	portPart       = lazyregexp.New(`^(?:[0-9]+/|//)`) // of HOST:PORT/REPOSITORY, SCHEME://HOST
	tagPart        = lazyregexp.New(`^` + tagGrammar + `$`)
)

// Filters is a parsed list. Its zero value matches nothing. It may be used by
// several goroutines at once.
type Filters struct {
	list []filter
}

type filter struct {
	text            string // as given, for messages
	exclude         bool
	repository, tag string
}

// Every returns the filters that choose every image, those of "*:*".
func Every() Filters { return Filters{list: []filter{{text: "*:*", repository: "*", tag: "*"}}} }

// Parse reads a comma-separated list. Its error names every malformed filter
// at once: it joins one *Error for each, or is ErrEmptyList or
// ErrOnlyExclusions.
func Parse(list string) (Filters, error) {
	if strings.TrimSpace(list) == "" {
		return Filters{}, ErrEmptyList
	}
	var (
		f      Filters
		errs   []error
		chosen bool
	)
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		one, err := parse(text)
		if err != nil {
			errs = append(errs, &Error{Position: i + 1, Filter: text, Err: err})
			continue
		}
		chosen = chosen || !one.exclude
		f.list = append(f.list, one)
	}
	if len(errs) > 0 {
		return Filters{}, errors.Join(errs...)
	}
	if !chosen {
		return Filters{}, ErrOnlyExclusions
	}
	return f, nil
}

func parse(text string) (filter, error) {
	if text == "" {
		return filter{}, ErrEmpty
	}
	f := filter{text: text}
	text, f.exclude = strings.CutPrefix(text, "!")
	var colon bool
	f.repository, f.tag, colon = strings.Cut(text, ":")
	switch {
	case !colon:
		return filter{}, ErrNoTagPart
	case hostPart.MatchString(f.repository), portPart.MatchString(f.tag):
		return filter{}, ErrHost
	case len(f.repository) > names.MaxRepository || !repositoryPart.MatchString(f.repository):
		return filter{}, ErrRepositoryPart
	case !tagPart.MatchString(f.tag):
		return filter{}, ErrTagPart
	}
	return f, nil
}

// Match reports whether the image is chosen, and the filter that decided it
// as the list gives it: the last that matches, which may be an exclusion. The
// filter is empty when none matches. tag is empty for an image without one;
// only a tag part of "*" matches that.
func (f Filters) Match(repository, tag string) (filter string, ok bool) {
	for i := len(f.list) - 1; i >= 0; i-- {
		if one := f.list[i]; one.match(repository, tag) {
			return one.text, !one.exclude
		}
	}
	return "", false
}

func (f filter) match(repository, tag string) bool {
	if tag == "" && f.tag != "*" {
		return false
	}
	return match(f.tag, tag) && match(f.repository, repository)
}

// String returns the list as Parse takes it.
func (f Filters) String() string {
	texts := make([]string, len(f.list))
	for i, one := range f.list {
		texts[i] = one.text
	}
	return strings.Join(texts, ",")
}

// match reports whether the whole of s is what pattern describes. Each literal
// between two wildcards is looked for once, at its leftmost place, which is
// never worse than a later one: the time is linear, nothing is tried twice.
func match(pattern, s string) bool {
	literals := strings.Split(pattern, "*")
	first, last := literals[0], literals[len(literals)-1]
	if len(literals) == 1 {
		return s == pattern
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, literal := range literals[1 : len(literals)-1] {
		i := strings.Index(s, literal)
		if i < 0 {
			return false
		}
		s = s[i+len(literal):]
	}
	return true
}

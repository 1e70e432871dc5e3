package ecrclient

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"soci-index-builder/internal/names/lazyregexp"
)

// A signed URL's query is as sensitive as a password for the blob, and errors
// and log lines need no other queries: all are removed.
var (
	queryPattern    = lazyregexp.New(`\?[^\s"'=?]+=[^\s"']*`)
	userinfoPattern = lazyregexp.New(`://[^/\s"'@]+@`)
)

// redactText removes the queries and user names of URLs from a text.
func redactText(s string) string {
	s = queryPattern.Compiled().ReplaceAllString(s, "")
	return userinfoPattern.Compiled().ReplaceAllString(s, "://")
}

// redactURL returns u without its query, fragment and user.
func redactURL(u *url.URL) *url.URL {
	if u == nil {
		return nil
	}
	c := *u
	c.User = nil
	c.Fragment, c.RawFragment = "", ""
	c.RawQuery = ""
	return &c
}

// redact returns err itself when its text is clean, else a stand-in.
func redact(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := text
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, parseErr := url.Parse(e.URL); parseErr == nil && u.RawQuery != "" {
			query := "?" + u.RawQuery
			quoted := strings.Trim(strconv.Quote(query), `"`) // as url.Error writes it
			clean = strings.NewReplacer(query, "", quoted, "").Replace(clean)
		}
	}
	if clean = redactText(clean); clean != text {
		return &redactedError{text: clean, err: err}
	}
	return err
}

// redactedError replaces an error whose text must not be seen. It matches what
// that error matches, but does not lead to it: there is no Unwrap.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }

func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }

// As returns what the error leads to, and copies of what holds a URL.
func (e *redactedError) As(target any) bool {
	if !errors.As(e.err, target) {
		return false
	}
	switch t := target.(type) {
	case **url.Error:
		c := **t
		if u, err := url.Parse(c.URL); err == nil {
			c.URL = redactURL(u).String()
		} else {
			c.URL = "" // where its query begins cannot be known
		}
		c.Err = redact(c.Err)
		*t = &c
	case **errcode.ErrorResponse:
		c := **t
		c.URL = redactURL(c.URL)
		*t = &c
	}
	return true
}

// Package iampolicy reads IAM and resource policies far enough to say whether a
// statement can apply to a call. Conditions are not evaluated, only their
// presence is known.
//
// Start with [Parse].
package iampolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid: not a policy document.
var ErrInvalid = errors.New("not a policy document")

// Policy is a document of statements.
type Policy struct {
	Statements []Statement
}

// Statement allows or denies. Of Actions and NotActions, Principals and
// NotPrincipals, Resources and NotResources, at most one of each pair is set.
type Statement struct {
	ID           string // Sid
	Deny         bool
	Actions      []string
	NotActions   []string
	Resources    []string // none of either in a repository's policy, which is about the repository
	NotResources []string

	// Principals by their kind: AWS, Service, Federated, and "*" for anybody.
	Principals    map[string][]string
	NotPrincipals map[string][]string

	// Condition by operator and key.
	Condition map[string]map[string][]string
}

// words are a string or a list of strings. Numbers and booleans, which
// conditions may have, are read as text.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		switch one := one.(type) {
		case string:
			*w = append(*w, one)
		case bool, float64:
			*w = append(*w, fmt.Sprint(one))
		default:
			return fmt.Errorf("%w: %s is neither text nor a list of texts", ErrInvalid, b)
		}
	}
	return nil
}

// principals are "*" or lists by kind.
type principals map[string]words

func (p *principals) UnmarshalJSON(b []byte) error {
	var all string
	if json.Unmarshal(b, &all) == nil {
		*p = principals{all: {all}}
		return nil
	}
	var m map[string]words
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*p = m
	return nil
}

type document struct {
	Statement json.RawMessage
}

type statement struct {
	Sid                     string
	Effect                  string
	Action, NotAction       words
	Resource, NotResource   words
	Principal, NotPrincipal principals
	Condition               map[string]map[string]words
}

// Parse reads a policy document. Its error matches ErrInvalid.
func Parse(text []byte) (Policy, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Policy{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var list []statement
	if len(d.Statement) > 0 && d.Statement[0] == '{' {
		list = make([]statement, 1)
		if err := json.Unmarshal(d.Statement, &list[0]); err != nil {
			return Policy{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	} else if err := json.Unmarshal(d.Statement, &list); err != nil {
		return Policy{}, fmt.Errorf("%w: its statements: %w", ErrInvalid, err)
	}
	var p Policy
	for _, s := range list {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return Policy{}, fmt.Errorf("%w: effect %q, allowed are Allow and Deny", ErrInvalid, s.Effect)
		}
		p.Statements = append(p.Statements, Statement{
			ID: s.Sid, Deny: s.Effect == "Deny", Actions: s.Action, NotActions: s.NotAction,
			Resources: s.Resource, NotResources: s.NotResource,
			Principals: plain(s.Principal), NotPrincipals: plain(s.NotPrincipal), Condition: conditions(s.Condition),
		})
	}
	return p, nil
}

func plain(p principals) map[string][]string {
	if p == nil {
		return nil
	}
	out := map[string][]string{}
	for kind, names := range p {
		out[kind] = names
	}
	return out
}

func conditions(c map[string]map[string]words) map[string]map[string][]string {
	if len(c) == 0 {
		return nil
	}
	out := map[string]map[string][]string{}
	for operator, keys := range c {
		out[operator] = map[string][]string{}
		for key, values := range keys {
			out[operator][key] = values
		}
	}
	return out
}

// HasAction reports whether the statement is about an action such as
// "ecr:PutImage".
func (s Statement) HasAction(action string) bool {
	action = strings.ToLower(action) // which IAM does not tell apart
	is := func(pattern string) bool { return Match(strings.ToLower(pattern), action) }
	if s.NotActions != nil {
		return !slices.ContainsFunc(s.NotActions, is)
	}
	return slices.ContainsFunc(s.Actions, is)
}

// HasResource reports whether the statement is about everything that the ARN
// names, in which * may stand for any run of characters.
func (s Statement) HasResource(arn string) bool {
	is := func(pattern string) bool { return Match(pattern, arn) }
	if s.NotResources != nil {
		return !slices.ContainsFunc(s.NotResources, is)
	}
	return slices.ContainsFunc(s.Resources, is)
}

// HasRole reports whether the statement is about a role of an account, by the
// role itself, its account, or anybody; roleARN is of the form
// arn:aws:iam::<account>:role/<name>.
func (s Statement) HasRole(roleARN string) bool {
	if s.NotPrincipals != nil {
		return !names(s.NotPrincipals, roleARN)
	}
	return names(s.Principals, roleARN)
}

func names(principals map[string][]string, roleARN string) bool {
	before, _, _ := strings.Cut(roleARN, ":role/") // arn:aws:iam::<account>
	account := before[strings.LastIndexByte(before, ':')+1:]
	_, anybody := principals["*"]
	return anybody || slices.ContainsFunc(principals["AWS"], func(p string) bool {
		return p == "*" || p == roleARN || p == account || p == before+":root"
	})
}

// HasService reports whether the statement is about a service such as
// "events.amazonaws.com".
func (s Statement) HasService(service string) bool {
	_, anybody := s.Principals["*"]
	return anybody || slices.Contains(s.Principals["Service"], service)
}

// Match reports whether pattern describes the whole of text: * is any run of
// characters, ? any one character.
func Match(pattern, text string) bool {
	// Where the last * was, and what it has taken until now.
	star, taken := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			taken++
			p, t = star+1, taken
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

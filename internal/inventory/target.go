package inventory

import (
	"errors"
	"fmt"
	"slices"

	"soci-index-builder/internal/names"
)

// ErrTarget: neither REPOSITORY[:TAG] nor HOST/NAME[:TAG].
var ErrTarget = errors.New("must be REPOSITORY[:TAG] of the account's ECR registry, or HOST/NAME[:TAG] of any")

// targetError is an ErrTarget that says how the target should be written.
type targetError struct{ text string }

func (e *targetError) Error() string        { return e.text }
func (e *targetError) Is(target error) bool { return target == ErrTarget }

// Target is a repository named by the user, or one of its tags.
type Target struct {
	Host       string // empty for the ECR registry of the account
	Repository string
	Tag        string // empty for all
}

// ParseTarget reads a target as [names.Parse] does. The error is ErrTarget.
func ParseTarget(s string) (Target, error) {
	image, err := names.Parse(s)
	if e, ok := errors.AsType[*names.Error](err); ok {
		return Target{}, &targetError{fmt.Sprintf("%.300q: %s", e.Text, e.Reason())}
	}
	if err != nil {
		return Target{}, fmt.Errorf("%.300q: %w", s, ErrTarget)
	}
	if names.IsPath(s) {
		return Target{}, &targetError{fmt.Sprintf("%.300q: this is a path; an image is named [HOST/]REPOSITORY[:TAG]",
			s)}
	}
	if image.Digest != "" {
		return Target{}, fmt.Errorf("%.300q names an image by digest: %w", s, ErrTarget)
	}
	return Target{Host: image.Host, Repository: image.Repository, Tag: image.Tag}, nil
}

// Place is what is to be looked at in one registry.
type Place struct {
	Host         string // empty for the ECR registry of the account
	Repositories []string
	Tags         map[string][]string // as in Options
}

// Places brings targets together by registry, in the order in which each was
// first named. A repository that is named without a tag is not limited by
// others.
func Places(targets []Target) []Place {
	var places []Place
	whole := map[Target]bool{}
	for _, t := range targets {
		whole[Target{Host: t.Host, Repository: t.Repository}] = whole[Target{Host: t.Host, Repository: t.Repository}] ||
			t.Tag == ""
	}
	for _, t := range targets {
		i := slices.IndexFunc(places, func(p Place) bool { return p.Host == t.Host })
		if i < 0 {
			i = len(places)
			places = append(places, Place{Host: t.Host, Tags: map[string][]string{}})
		}
		p := &places[i]
		if !slices.Contains(p.Repositories, t.Repository) {
			p.Repositories = append(p.Repositories, t.Repository)
		}
		if !whole[Target{Host: t.Host, Repository: t.Repository}] && !slices.Contains(p.Tags[t.Repository], t.Tag) {
			p.Tags[t.Repository] = append(p.Tags[t.Repository], t.Tag)
		}
	}
	return places
}

package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// ErrTarget: neither REPOSITORY[:TAG] nor HOST/NAME[:TAG].
var ErrTarget = errors.New("must be REPOSITORY[:TAG] of the account's ECR registry, or HOST/NAME[:TAG] of any")

// Target is a repository that somebody names, or one of its tags.
type Target struct {
	Host       string // empty for the ECR registry of the account
	Repository string
	Tag        string // empty for all
}

// ParseTarget reads a target. What stands before the first slash is a host if
// it has a dot or a colon, or is localhost. The error is ErrTarget.
func ParseTarget(s string) (Target, error) {
	host, _, hasHost := strings.Cut(s, "/")
	if hasHost = hasHost && (strings.ContainsAny(host, ".:") || host == "localhost"); !hasHost {
		s = "ecr.invalid/" + s
	}
	ref, err := registry.ParseReference(s)
	name := strings.TrimPrefix(s, "ecr.invalid/")
	if err != nil || strings.HasSuffix(s, ":") {
		return Target{}, fmt.Errorf("%.300q: %w", name, ErrTarget)
	}
	if strings.Contains(s, "@") {
		return Target{}, fmt.Errorf("%.300q names an image by digest: %w", name, ErrTarget)
	}
	t := Target{Host: ref.Registry, Repository: ref.Repository, Tag: ref.Reference}
	if !hasHost {
		t.Host = ""
	}
	return t, nil
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
		whole[Target{Host: t.Host, Repository: t.Repository}] = whole[Target{Host: t.Host, Repository: t.Repository}] || t.Tag == ""
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

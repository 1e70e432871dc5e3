package inventory

import (
	"fmt"
	"iter"
)

// Named finds out which of the targets that a user named have no image that is
// to be indexed: most often a typing mistake.
type Named struct {
	targets []Target
	seen    map[Target]bool // without a tag: any of the repository
}

// NewNamed is for these targets; none is fine.
func NewNamed(targets []Target) *Named {
	return &Named{targets: targets, seen: map[Target]bool{}}
}

// Watch returns the survey of a place as it is, and notes what it finds there.
func (n *Named) Watch(host string, survey iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range survey {
			switch {
			case err != nil && r.Repository != "": // which says enough
				for _, t := range n.targets {
					if t.Host == host && t.Repository == r.Repository {
						n.seen[t] = true
					}
				}
			case err == nil && r.State.Chosen():
				n.seen[Target{Host: host, Repository: r.Repository}] = true
				n.seen[Target{Host: host, Repository: r.Repository, Tag: r.Tag}] = true
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Without returns the targets without an image, each once, in the order in which
// they were named. It is to be called after all surveys.
func (n *Named) Without() []Target {
	var without []Target
	told := map[Target]bool{}
	for _, t := range n.targets {
		if !n.seen[t] && !told[t] {
			told[t] = true
			without = append(without, t)
		}
	}
	return without
}

// String is HOST/NAME:TAG, as far as the target has them.
func (t Target) String() string {
	s := t.Repository
	if t.Host != "" {
		s = t.Host + "/" + s
	}
	if t.Tag != "" {
		s = fmt.Sprintf("%s:%s", s, t.Tag)
	}
	return s
}

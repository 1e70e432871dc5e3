package soci

import (
	"sort"
	"strings"
)

// globWalk finds the names of a table that match a glob. It goes through the
// directories, and with each of them knows which components of the glob may match
// the next part of a name: what is in a directory that none leads into is passed
// over unseen.
type globWalk struct {
	table *pathTable
	glob  []string // components; ** is any number of them, at the end one or more

	step  func(n int64) bool // counts the cost; false ends the walk
	found func(e *pathEntry) // of what matches, in the order of the names
	cost  int64              // not yet counted
	ended bool
	sets  []int // a stack of sets of components
}

// The costs of a walk in steps, of which each takes 2 to 6 ns.
const (
	costEntry     = 8  // an entry that is passed over
	costDirectory = 64 // finding where a directory ends
	costsAtOnce   = 4096
)

// count adds to the cost; it reports whether the walk may go on.
func (w *globWalk) count(n int64) bool {
	if w.cost += n; w.cost >= costsAtOnce {
		w.flush()
	}
	return !w.ended
}

func (w *globWalk) flush() {
	w.ended = !w.step(w.cost) || w.ended
	w.cost = 0
}

// walk calls found for all names of entries that match; they are in a directory
// whose name, with a slash behind it, has n bytes.
func (w *globWalk) walk(entries []pathEntry, n int) {
	w.sets = w.reach(w.sets[:0], 0)
	w.dir(entries, n, w.sets)
	w.flush()
}

// reach adds to a set the component that may come next when all before g have
// matched; if that is a **, also the one behind it, which is another. A set is in
// ascending order.
func (w *globWalk) reach(set []int, g int) []int {
	for ; g < len(w.glob); g++ {
		if len(set) == 0 || set[len(set)-1] < g { // else it is in it
			set = append(set, g)
		}
		if w.glob[g] != "**" {
			break
		}
	}
	return set
}

// dir walks what is in a directory; set are the components that may match the
// part of each name that begins at byte n.
func (w *globWalk) dir(entries []pathEntry, n int, set []int) {
	last := len(w.glob) - 1
	final := len(set) > 0 && set[len(set)-1] == last
	all := final && w.glob[last] == "**"
	for i := 0; i < len(entries) && w.count(costEntry); {
		e := &entries[i]
		name := w.table.nameOf(e)
		part, _, deeper := strings.Cut(name[min(n, len(name)):], "/")
		if all || !deeper {
			i++
			if e.kind != pathDir && (all || final && w.matches(last, part)) && !w.ended && len(name) > n {
				w.found(e)
			}
			continue
		}
		in := w.table.prefixed(entries[i:], name[:n+len(part)+1])
		i += len(in)
		w.count(costDirectory + 4*int64(len(set)))
		top := len(w.sets)
		next := w.sets[top:top]
		for _, g := range set {
			if w.glob[g] == "**" {
				next = w.reach(next, g)
			} else if w.matches(g, part) {
				next = w.reach(next, g+1)
			}
		}
		if len(next) > 0 && !w.ended {
			w.sets = append(w.sets[:top], next...)
			w.dir(in, n+len(part)+1, w.sets[top:])
			w.sets = w.sets[:top]
		}
	}
}

// matches reports whether a component of the glob, which is not **, matches.
func (w *globWalk) matches(g int, part string) bool {
	ok, steps := matchPart(w.glob[g], part)
	w.count(steps)
	return ok
}

// prefixed returns the entries at the beginning of a list, of which the first has
// this prefix, that have it too.
func (t *pathTable) prefixed(entries []pathEntry, prefix string) []pathEntry {
	// Most directories are small.
	most := 1
	for most < len(entries) && strings.HasPrefix(t.nameOf(&entries[most]), prefix) {
		most *= 2
	}
	from := most / 2
	n := sort.Search(min(most, len(entries))-from, func(i int) bool {
		return !strings.HasPrefix(t.nameOf(&entries[from+i]), prefix)
	})
	return entries[:from+n]
}

// matchPart matches one component, in which * stands for any number of bytes.
func matchPart(glob, name string) (matched bool, steps int64) {
	g, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		steps++
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			g++
		case g < len(glob) && glob[g] == name[n]:
			g++
			n++
		case star >= 0:
			from++
			g, n = star+1, from
		default:
			return false, steps
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob), steps + 1
}

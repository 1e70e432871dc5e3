package soci

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// prefetchFinder finds the spans of files in the layers of one image manifest.
type prefetchFinder struct {
	layers []prefetchLayer // those with a table, the lowest first
	spans  map[digest.Digest]map[int32]bool
	files  map[prefetchFile]bool
	total  int   // distinct spans of all layers
	steps  int64 // see maxPrefetchSteps
	most   int64 // steps
	full   string

	covers map[string]int // of directories, see cover

	// reads are the spans that a client fetches to read the files: those of their
	// tar headers too. They are nil unless a FileSearch asks for them.
	reads map[digest.Digest]map[int32]bool

	maxFiles, maxSpans int

	stop func() error // says that the search is to end, as that of a context; may be nil
	err  error        // of stop; what was found is not all

	warnings []string
}

func newPrefetchFinder() *prefetchFinder {
	return &prefetchFinder{spans: make(map[digest.Digest]map[int32]bool), files: make(map[prefetchFile]bool),
		covers:   make(map[string]int),
		maxFiles: MaxPrefetchFiles, maxSpans: MaxPrefetchSpans,
		most: maxPrefetchSteps}
}

type prefetchLayer struct {
	digest digest.Digest
	*pathTable
}

// prefetchFile is an entry of a layer.
type prefetchFile struct {
	layer digest.Digest
	at    uint32
}

// notFound says why there is no file; the zero value says that there is one.
type notFound struct {
	reason FileReason
	why    string
}

// find adds the files of one pattern, or warns that there are none. It does
// nothing once a bound was reached.
func (f *prefetchFinder) find(p prefetchPattern) {
	if f.full != "" {
		return
	}
	missing := f.search(p)
	switch {
	case f.full != "":
		f.warn("%s, so not all of %q is prefetched, and nothing that was asked for after it", f.full, cut(p.said, 200))
	case missing.why != "":
		f.warn("%q is not prefetched: %s", cut(p.said, 200), missing.why)
	}
}

// search adds the files of one pattern, or says why there are none.
func (f *prefetchFinder) search(p prefetchPattern) notFound {
	// A path that a layer has is that file, even if there is a * in it.
	switch i, e, _ := f.lookup(p.path); {
	case e != nil && e.kind == pathFile:
		f.add(i, e)
		return notFound{}
	case p.glob != nil && e == nil:
		return f.match(p)
	}
	i, e, missing := f.follow(p.path)
	if missing.why == "" {
		f.add(i, e)
	}
	return missing
}

func (f *prefetchFinder) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

// add takes the spans of a file, as long as no bound is reached.
func (f *prefetchFinder) add(layer int, e *pathEntry) {
	l := f.layers[layer]
	file := prefetchFile{l.digest, e.at}
	if f.files[file] {
		return
	}
	if len(f.files) == f.maxFiles {
		f.full = fmt.Sprintf("there are more than %d files to prefetch", f.maxFiles)
		return
	}
	// Files do not overlap, but a hostile zTOC may say that they do.
	if !f.step(costFile + int64(e.last-e.head)) {
		return
	}
	spans := f.spans[l.digest]
	added := 0
	for s := e.first; s <= e.last; s++ {
		if !spans[s] {
			added++
		}
	}
	if f.total+added > f.maxSpans {
		f.full = fmt.Sprintf("there are more than %d spans to prefetch", f.maxSpans)
		return
	}
	addSpans(f.spans, l.digest, e.first, e.last)
	if f.reads != nil && !e.empty {
		addSpans(f.reads, l.digest, e.head, e.last)
	}
	f.files[file] = true
	f.total += added
}

func addSpans(all map[digest.Digest]map[int32]bool, layer digest.Digest, first, last int32) {
	spans := all[layer]
	if spans == nil {
		spans = make(map[int32]bool)
		all[layer] = spans
	}
	for s := first; s <= last; s++ {
		spans[s] = true
	}
}

// searchCost is the cost in steps of the search for a name in a table.
func searchCost(name string) int64 { return int64(64 + len(name)/2) }

// costFile is the cost in steps of a file that is found, beside its spans.
const costFile = 128

// stepsAtOnce is how many steps the search takes before it asks whether to stop:
// some milliseconds.
const stepsAtOnce = 1 << 20

// step counts the cost of the search; it reports whether it may go on.
func (f *prefetchFinder) step(n int64) bool {
	before := f.steps
	if f.steps += n; f.steps > f.most && f.full == "" {
		f.full = "the search for the files to prefetch takes too long"
	}
	if f.stop != nil && f.full == "" && before/stepsAtOnce != f.steps/stepsAtOnce {
		if f.err = f.stop(); f.err != nil {
			f.full = "the search for the files to prefetch was stopped"
		}
	}
	return f.full == ""
}

// lookup returns the uppermost layer that has a name, and its entry; or else the
// layer that removes it from those below.
func (f *prefetchFinder) lookup(name string) (layer int, e *pathEntry, removed bool) {
	dir, _ := split(name)
	cover := f.cover(dir)
	for i, l := range slices.Backward(f.layers) {
		// The cost of a search in a table; with whiteouts, each directory above is
		// searched for them too.
		cost := searchCost(name)
		if l.removes {
			cost *= 3 + 2*int64(strings.Count(name, "/"))
		}
		if !f.step(cost) {
			break
		}
		if e := l.find(name); e != nil {
			return i, e, false
		}
		if i == cover || l.hides(name) {
			return i, nil, true
		}
	}
	return -1, nil, false
}

// maxCovers is how many directories are remembered at once.
const maxCovers = 10_000

// cover returns the uppermost layer in which a directory, or one above it, is a
// link or a file: what lower layers have in it cannot be seen. It returns -1 if
// there is none.
func (f *prefetchFinder) cover(dir string) int {
	if dir == "" {
		return -1
	}
	if i, ok := f.covers[dir]; ok {
		return i
	}
	above, _ := split(dir)
	cover := f.cover(above)
	for i, l := range slices.Backward(f.layers) {
		if i <= cover || !f.step(searchCost(dir)) {
			break
		}
		if e := l.find(dir); e != nil && e.kind != pathDir {
			cover = i
		}
	}
	if len(f.covers) == maxCovers {
		clear(f.covers)
	}
	f.covers[dir] = cover
	return cover
}

// walk follows the links in a path, and returns where it leads.
func (f *prefetchFinder) walk(name string) (string, string) {
	done, todo, links := "", name, 0
	for todo != "" && f.full == "" {
		var part string
		part, todo, _ = strings.Cut(todo, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done, _ = split(done)
			continue
		}
		next := path.Join(done, part)
		i, e, _ := f.lookup(next)
		if e != nil && e.kind == pathAlias {
			e = f.original(i, e)
		}
		if e == nil || e.kind != pathLink {
			done = next
			continue
		}
		target := f.layers[i].linkOf(e)
		todo = target + "/" + todo
		switch links++; {
		case target == "":
			return "", fmt.Sprintf("the target of the link /%s cannot be followed", cut(next, 200))
		case links > maxPrefetchLinks:
			return "", fmt.Sprintf("it leads over more than %d links", maxPrefetchLinks)
		case len(todo) > maxPathText+1:
			return "", fmt.Sprintf("its links lead to a path of more than %d bytes", maxPathText)
		}
		if target[0] == '/' {
			done = ""
		}
	}
	return done, ""
}

// original returns the entry that a hard link is to, of the same layer.
func (f *prefetchFinder) original(layer int, e *pathEntry) *pathEntry {
	for range maxPrefetchLinks {
		if e = f.layers[layer].find(f.layers[layer].linkOf(e)); e == nil || e.kind != pathAlias {
			return e
		}
	}
	return nil
}

// follow returns the file that a path leads to, or why there is none.
func (f *prefetchFinder) follow(name string) (int, *pathEntry, notFound) {
	to, why := f.walk(name)
	if why != "" {
		return 0, nil, notFound{FileUnreachable, why}
	}
	i, e, removed := f.lookup(to)
	if e != nil && e.kind == pathAlias {
		e = f.original(i, e)
	}
	it := "it"
	if to != name {
		it = fmt.Sprintf("it leads to /%s, which", cut(to, 200))
	}
	switch {
	case removed:
		return 0, nil, notFound{FileRemoved, fmt.Sprintf("%s is removed by layer %s", it, f.layers[i].digest)}
	case e == nil && f.isDir(to), e != nil && e.kind == pathDir:
		return 0, nil, notFound{FileDirectory, it + " is a directory; end it with /** for the files in it"}
	case e == nil:
		return 0, nil, notFound{FileAbsent, it + " is in no layer that has a zTOC"}
	case e.kind != pathFile:
		return 0, nil, notFound{FileUnreachable, it + " is no file"}
	}
	return i, e, notFound{}
}

// isDir reports whether a name that no layer has is a directory all the same.
func (f *prefetchFinder) isDir(name string) bool {
	return slices.ContainsFunc(f.layers, func(l prefetchLayer) bool { return len(l.below(name)) > 0 })
}

// match adds the files that match a glob, or says why there are none. Links to
// directories are followed in front of its first *, and links to files always.
func (f *prefetchFinder) match(p prefetchPattern) notFound {
	dir, why := f.walk(p.base)
	if why != "" {
		return notFound{FileUnreachable, why}
	}
	below := 0
	if dir != "" {
		below = len(dir) + 1
	}
	found := false
	for i, l := range slices.Backward(f.layers) {
		w := globWalk{table: l.pathTable, glob: p.glob, step: f.step}
		w.found = func(e *pathEntry) {
			found = f.take(i, e) || found
			w.ended = f.full != ""
		}
		if w.walk(l.below(dir), below); f.full != "" {
			return notFound{}
		}
	}
	if !found {
		return notFound{FileAbsent, "no file in a layer that has a zTOC matches it"}
	}
	return notFound{}
}

// take adds a file that a glob matches, and reports whether it is one that can be
// seen.
func (f *prefetchFinder) take(layer int, e *pathEntry) bool {
	name := f.layers[layer].nameOf(e)
	if _, base := split(name); strings.HasPrefix(base, whiteoutPrefix) {
		return false
	}
	if at, visible, _ := f.lookup(name); at != layer || visible == nil {
		return false
	}
	if e.kind != pathFile {
		var missing notFound
		if layer, e, missing = f.follow(name); missing.why != "" {
			return false // a link that leads nowhere, or to a directory
		}
	}
	if !e.empty {
		f.add(layer, e)
	}
	return true
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/text/bytesize"
)

// realLayers makes the layers of real files, once.
func (r *runner) realLayers(ctx context.Context) ([]*corpus.Layer, error) {
	if r.real != nil {
		return r.real, nil
	}
	for _, l := range r.Layers {
		roots := existing(l.Roots)
		if len(roots) == 0 {
			r.Progress("layer %s is left out: there is none of %s", l.Name, strings.Join(l.Roots, ", "))
			continue
		}
		layer, err := r.cache.Layer(ctx, corpus.Recipe{
			Name:    l.Name + "-" + sizeName(r.Sizes.Layer),
			Archive: &corpus.Tree{Roots: roots, Size: r.Sizes.Layer},
			Packer:  corpus.Pigz(ctx, 6),
		})
		if err != nil {
			return nil, err
		}
		layer.Name = l.Name
		r.real = append(r.real, layer)
	}
	if len(r.real) == 0 {
		return nil, fmt.Errorf("%w: none of the layers' directories exists", ErrInvalidOption)
	}
	return r.real, nil
}

// roots are all directories with real files.
func (r *runner) roots() []string {
	var all []string
	for _, l := range r.Layers {
		all = append(all, existing(l.Roots)...)
	}
	return all
}

func existing(paths []string) []string {
	var found []string
	for _, p := range paths {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			found = append(found, p)
		}
	}
	return found
}

func sizeName(n int64) string {
	if n == 0 {
		return "all"
	}
	return strings.ReplaceAll(bytesize.Format(n), " ", "")
}

// layers holds everybody against each other on real files.
func (r *runner) layers(ctx context.Context) ([]*table.Table, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return nil, err
	}
	ours1, oursN := entrant{contender.Ours, 1}, entrant{contender.Ours, r.cores}
	up1, upN := entrant{contender.Upstream, 1}, entrant{contender.Upstream, r.cores}
	entrants := layerEntrants(r.cores)
	headline := &table.Table{
		Title: "Whole job, Marshal included: how many times less than upstream",
		Columns: []string{"layer", "compressed MB", "uncompressed MB", "CPU s, ours", "CPU s, upstream",
			"CPU ratio, one core", "CPU ratio with blob digest",
			fmt.Sprintf("wall s, ours, %d cores", r.cores), "wall s, upstream", "wall ratio", "peak MB, ours",
			"peak MB, upstream"},
		Notes: []string{"The CPU ratio on one core compares the same work; beside it stands the ratio with the " +
			"digest of the whole blob, which upstream does not take. On two cores the digest is part of ours."},
	}
	tables := []*table.Table{headline}
	r.rates = make(map[string]measurement)
	for _, l := range layers {
		results, err := r.measure(ctx, l, false, r.Rounds, entrants)
		if err != nil {
			return nil, err
		}
		r.rates[l.Name] = results[ours1]
		o1, oN, u1, uN := results[ours1], results[oursN], results[up1], results[upN]
		a1 := results[entrant{contender.OursAlike, 1}]
		headline.Add(l.Name, table.MB(l.Size), table.MB(l.Uncompressed), table.Seconds(a1.CPU), seconds(u1.CPU),
			table.Ratio(u1.CPU, a1.CPU), table.Ratio(u1.CPU, o1.CPU),
			table.Seconds(oN.Wall), seconds(uN.Wall), table.Ratio(uN.Wall, oN.Wall),
			table.MB(max(o1.PeakMemory, oN.PeakMemory)),
			mb(max(u1.PeakMemory, uN.PeakMemory)))
		tables = append(tables, layerTable(l, entrants, results))
	}
	headline.Notes = append(headline.Notes, missing()...)
	headline.Notes = append(headline.Notes,
		fmt.Sprintf("Of %d rounds, in which the contenders take turns, the least CPU and the least wall time; of the "+
			"peak the most.", r.Rounds))
	return tables, nil
}

// layerEntrants are all contenders of this build, those that build zTOCs with
// more cores as well.
func layerEntrants(cores int) []entrant {
	var entrants []entrant
	for _, name := range contender.Names() {
		if name == contender.OursAlone {
			continue // see workers
		}
		entrants = append(entrants, entrant{name, 1})
		if cores > 1 && (name == contender.Ours || name == contender.Upstream) {
			entrants = append(entrants, entrant{name, cores})
		}
	}
	return entrants
}

// layerTable sets the figures of one layer.
func layerTable(l *corpus.Layer, entrants []entrant, results map[entrant]measurement) *table.Table {
	t := &table.Table{
		Title: fmt.Sprintf("%s: %s MB, uncompressed %s MB, %s entries, packed by %s",
			l.Name, table.MB(l.Size), table.MB(l.Uncompressed), table.Count(l.Entries), l.Packer),
		Columns: []string{"", "cores", "CPU s", "compressed MB/s of CPU", "wall s", "peak MB", "Go allocations",
			"allocated MB", "× upstream, CPU", "× upstream, wall"},
	}
	for _, e := range entrants {
		m := results[e]
		up := results[entrant{contender.Upstream, e.cores}]
		t.Add(e.title(), fmt.Sprint(e.cores), table.Seconds(m.CPU), table.Rate(l.Size, m.CPU), table.Seconds(m.Wall),
			table.MB(m.PeakMemory),
			table.Count(m.Allocs), table.MB(m.AllocBytes), table.Ratio(up.CPU, m.CPU), table.Ratio(up.Wall, m.Wall))
	}
	return t
}

// seconds and mb are of what may not have been measured.
func seconds(d time.Duration) string {
	if d == 0 {
		return table.None
	}
	return table.Seconds(d)
}

func mb(n int64) string {
	if n <= 0 {
		return table.None
	}
	return table.MB(n)
}

// missing says in one line each which contenders this build lacks.
func missing() []string {
	var notes []string
	if !contender.Has(contender.Upstream) {
		notes = append(notes, "Upstream's library and zlib are left out: this build has no cgo (install gcc and "+
			"zlib1g-dev, then make bench).")
	}
	if !contender.Has(contender.Deflate) {
		notes = append(notes, "libdeflate is left out: it is not installed (libdeflate-dev).")
	}
	return notes
}

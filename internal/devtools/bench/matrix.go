package bench

import (
	"context"
	"fmt"
	"time"

	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
)

// matrixRow is one layer of a matrix.
type matrixRow struct {
	name    string
	archive corpus.Archive
	packer  corpus.Packer
	plain   bool // not compressed, so only zTOC builders can take it
	rounds  int  // 0 for the usual number
}

// matrixRounds are enough where many rows of small layers are compared.
const matrixRounds = 2

// matrix measures several layers, a row for each, with the CPU seconds of the
// contenders on one core.
func (r *runner) matrix(ctx context.Context, title, first, prefix string, names []string,
	rows []matrixRow) (*table.Table, error) {
	var entrants []entrant
	for _, name := range names {
		entrants = append(entrants, entrant{name, 1})
	}
	entrants = available(entrants...)
	t := &table.Table{Title: title,
		Columns: []string{first, "compressed MB", "uncompressed MB", "entries", "spans", "zTOC MB",
			"ours, CPU s", "compressed MB/s", "uncompressed MB/s", "allocations", "peak MB", "upstream, CPU s",
			"upstream, peak MB", "× upstream"}}
	short := map[string]string{contender.ZlibCRC: "zlib, CPU s", contender.Klauspost: "klauspost, CPU s",
		contender.Go: "compress/gzip, CPU s"}
	for _, e := range entrants {
		if s := short[e.name]; s != "" {
			t.Columns = append(t.Columns, s)
		}
	}
	for i, row := range rows {
		l, err := r.cache.Layer(ctx,
			corpus.Recipe{Name: fmt.Sprintf("%s-%d", prefix, i), Archive: row.archive, Packer: row.packer})
		if err != nil {
			return nil, err
		}
		l.Name = prefix + ": " + row.name
		some := entrants
		if row.plain {
			some = available(entrant{contender.Ours, 1}, entrant{contender.Upstream, 1})
		}
		rounds := row.rounds
		if rounds == 0 {
			rounds = min(r.Rounds, matrixRounds)
		}
		results, err := r.measure(ctx, l, row.plain, rounds, some)
		if err != nil {
			return nil, err
		}
		ours, up := results[entrant{contender.Ours, 1}], results[entrant{contender.Upstream, 1}]
		cells := []string{row.name, table.MB(l.Size), table.MB(l.Uncompressed), table.Count(l.Entries),
			table.Count(ours.Spans), table.MB(ours.ZtocSize),
			table.Seconds(ours.CPU), table.Rate(l.Size, ours.CPU), table.Rate(l.Uncompressed, ours.CPU),
			table.Count(ours.Allocs), table.MB(ours.PeakMemory),
			seconds(up.CPU), mb(up.PeakMemory), table.Ratio(up.CPU, ours.CPU)}
		for _, e := range entrants {
			if short[e.name] != "" {
				cells = append(cells, seconds(results[e].CPU))
			}
		}
		t.Add(cells...)
	}
	return t, nil
}

var (
	everybody = []string{contender.Ours, contender.Upstream, contender.ZlibCRC, contender.Klauspost, contender.Go}
	builders  = []string{contender.Ours, contender.Upstream}
)

// kinds of content, packed alike.
func (r *runner) kinds(ctx context.Context) ([]*table.Table, error) {
	pigz := corpus.Pigz(ctx, 6)
	size, roots := r.Sizes.Content, r.roots()
	const noiseFile = 1 << 20
	t, err := r.matrix(ctx, "Kinds of content, packed by "+pigz.Name+"; one core", "content", "kind", everybody,
		[]matrixRow{
			{name: "text: sources and documents", archive: &corpus.Tree{Roots: roots, Kind: corpus.Text, Size: size},
				packer: pigz},
			{name: "binaries: libraries and executables",
				archive: &corpus.Tree{Roots: roots, Kind: corpus.Binaries, Size: size},
				packer:  pigz},
			{name: "compressed already", archive: corpus.Noise{Files: int(max(size/noiseFile, 1)), Size: noiseFile},
				packer: pigz},
			{name: "tiny files", archive: corpus.Tiny{Files: int(size / 1024)}, packer: pigz},
			{name: "one huge file of everything", archive: &corpus.Tree{Roots: roots, Size: size, OneFile: true},
				packer: pigz},
		})
	return []*table.Table{t}, err
}

// compressors on one content.
func (r *runner) compressors(ctx context.Context) ([]*table.Table, error) {
	archive := &corpus.Tree{Roots: r.roots(), Size: r.Sizes.Content}
	var packers []corpus.Packer
	for _, level := range []int{1, 6, 9} {
		if p, ok := corpus.Gzip(ctx, level); ok {
			packers = append(packers, p)
		}
	}
	packers = append(packers, corpus.Pigz(ctx, 6))
	for _, level := range []int{1, 5, 9} {
		packers = append(packers, corpus.Klauspost(level))
	}
	for _, level := range []int{1, 6, 9} {
		packers = append(packers, corpus.Go(level))
	}
	packers = append(packers, corpus.Members(), corpus.Stored())
	var rows []matrixRow
	for _, p := range packers {
		rows = append(rows, matrixRow{name: p.Name, archive: archive, packer: p})
	}
	rows = append(rows, matrixRow{name: corpus.None().Name, archive: archive, packer: corpus.None(), plain: true})
	t, err := r.matrix(ctx, "Compressors, on a sample of all real files; one core", "packed by", "compressor",
		everybody, rows)
	return []*table.Table{t}, err
}

// entries is the cost of a tar entry.
func (r *runner) entries(ctx context.Context) ([]*table.Table, error) {
	var rows []matrixRow
	for _, n := range r.Sizes.Entries {
		row := matrixRow{name: table.Count(n), archive: corpus.Tiny{Files: n}, packer: corpus.Klauspost(5)}
		if n >= 1_000_000 {
			row.rounds = 1
		}
		rows = append(rows, row)
	}
	t, err := r.matrix(ctx, "Number of tar entries (files below 300 bytes); one core", "entries", "entries", builders,
		rows)
	return []*table.Table{t}, err
}

// sizes is the cost of bytes.
func (r *runner) sizes(ctx context.Context) ([]*table.Table, error) {
	var rows []matrixRow
	for _, n := range r.Sizes.Files {
		row := matrixRow{name: fmt.Sprintf("one file of %s MB", table.MB(n)), archive: corpus.Log{Size: n, Seed: 1},
			packer: corpus.Klauspost(1)}
		if n >= 1<<30 {
			row.rounds = 1
		}
		rows = append(rows, row)
	}
	if r.Sizes.BigLayer > 0 {
		row, err := r.bigLayer(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	t, err := r.matrix(ctx, "Size: a file that compresses well; one core", "layer", "size", builders, rows)
	if err != nil {
		return nil, err
	}
	if r.Sizes.BigLayer > 0 {
		t.Title = "Size: a file that compresses well, and all real files together; one core"
	}
	return []*table.Table{t}, nil
}

// bigLayer has all real files, as often as it takes.
func (r *runner) bigLayer(ctx context.Context) (matrixRow, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return matrixRow{}, err
	}
	var compressed int64
	for _, l := range layers {
		compressed += l.Size
	}
	repeat := int((r.Sizes.BigLayer + compressed - 1) / compressed)
	return matrixRow{
		name:    "all real files",
		archive: &corpus.Tree{Roots: r.roots(), Repeat: repeat, Size: r.Sizes.Layer * int64(len(layers))},
		packer:  corpus.Pigz(ctx, 6),
		rounds:  1,
	}, nil
}

// perSecond is n a second, 0 for no time at all.
func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

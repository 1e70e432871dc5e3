package bench

import (
	"context"
	"fmt"
	"strings"

	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
)

// layerCount is the cost of the number of layers.
func (r *runner) layerCount(ctx context.Context) ([]*table.Table, error) {
	most := 0
	for _, n := range r.Sizes.Counts {
		most = max(most, n)
	}
	var layers []*corpus.Layer
	for i := range most {
		l, err := r.cache.Layer(ctx, corpus.Recipe{
			Name:    fmt.Sprintf("count-%d", i),
			Archive: corpus.Log{Size: 2 * r.Sizes.CountSize, Noise: r.Sizes.CountSize, Seed: uint64(i)},
			Packer:  corpus.Klauspost(1),
		})
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	t := &table.Table{
		Title: fmt.Sprintf("Number of layers of an image, from and to a registry on loopback; %d cores for all",
			r.cores),
		Columns: []string{"layers", "compressed MB", "wall s", "CPU s", "compressed MB/s", "peak MB",
			"written to disk MB"},
	}
	var rows []imageRow
	for _, n := range r.Sizes.Counts {
		rows = append(rows, imageRow{title: table.Count(n), work: workIndex, layers: layers[:n], rounds: r.Rounds})
		if upstreamIndex != nil {
			rows = append(rows, imageRow{title: table.Count(n) + ", upstream", work: workUpstream, layers: layers[:n],
				rounds: 1})
		}
	}
	results, err := r.indexImages(ctx, rows)
	if err != nil {
		return nil, err
	}
	for i, m := range results {
		var size int64
		for _, l := range rows[i].layers {
			size += l.Size
		}
		t.Add(rows[i].title, table.MB(size), table.Seconds(m.Wall), table.Seconds(m.CPU), table.Rate(size, m.Wall),
			table.MB(m.PeakMemory), disk(m.DiskWritten))
		if strings.Contains(rows[i].title, "upstream") && m.out.Index != results[i-1].out.Index {
			return nil, fmt.Errorf("%w: the SOCI index of %d layers is %s or %s", ErrDisagree, len(rows[i].layers),
				results[i-1].out.Index, m.out.Index)
		}
	}
	large, err := r.largeImage(ctx)
	if err != nil || large == nil {
		return []*table.Table{t}, err
	}
	return []*table.Table{t, large}, nil
}

// largeImage is an image of more than fits in memory, or nil for none. Upstream's
// index builder would copy it to the disk first.
func (r *runner) largeImage(ctx context.Context) (*table.Table, error) {
	if r.Sizes.LargeLayers == 0 {
		return nil, nil
	}
	var layers []*corpus.Layer
	var size, uncompressed int64
	for i := range r.Sizes.LargeLayers {
		l, err := r.cache.Layer(ctx, corpus.Recipe{
			Name:    fmt.Sprintf("large-%d", i),
			Archive: corpus.Repeated{Size: r.Sizes.LargeSize, Seed: uint64(i)},
			Packer:  corpus.Klauspost(1),
		})
		if err != nil {
			return nil, err
		}
		layers, size, uncompressed = append(layers, l), size+l.Size, uncompressed+l.Uncompressed
	}
	results, err := r.indexImages(ctx, []imageRow{{title: "ours", work: workIndex, layers: layers, rounds: 1}})
	if err != nil {
		return nil, err
	}
	t := &table.Table{
		Title: fmt.Sprintf("An image of %d layers that is large once it is unpacked; %d cores for all", len(layers),
			r.cores),
		Columns: []string{"uncompressed MB", "compressed MB", "wall s", "CPU s", "uncompressed MB/s", "peak MB",
			"written to disk MB"},
	}
	m := results[0]
	t.Add(table.MB(uncompressed), table.MB(size), table.Seconds(m.Wall), table.Seconds(m.CPU),
		table.Rate(uncompressed, m.Wall),
		table.MB(m.PeakMemory), disk(m.DiskWritten))
	return t, nil
}

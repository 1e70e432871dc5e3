package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
)

// workers holds one layer on several processors against one worker for it: on
// one processor, on two, and on all that the machine has.
func (r *runner) workers(ctx context.Context) ([]*table.Table, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return nil, err
	}
	counts := slices.Compact([]int{r.cores, runtime.NumCPU()})
	entrants := []entrant{{contender.OursAlone, 1}}
	if r.cores > 1 {
		entrants = append(entrants, entrant{contender.OursAlone, r.cores})
		for _, n := range counts {
			entrants = append(entrants, entrant{contender.Ours, n})
		}
	}
	up := entrant{contender.Upstream, r.cores}
	t := &table.Table{
		Title: "One layer by workers: whole job with blob digest, Marshal included",
		Columns: []string{"layer", "compressed MB", "workers", "processors", "CPU s", "wall s", "compressed MB/s",
			"× one worker, CPU", "× one worker, wall", "× upstream, wall", "peak MB"},
		Notes: []string{
			fmt.Sprintf("The last columns compare with one worker and with upstream on %d processors, of which the "+
				"second one hashes.", r.cores),
			fmt.Sprintf("Of %d rounds, in which all take turns, the least CPU and wall time; of the peak the most.",
				r.Rounds),
		},
	}
	for _, l := range layers {
		results, err := r.measure(ctx, l, false, r.Rounds, append(slices.Clone(entrants), available(up)...))
		if err != nil {
			return nil, err
		}
		for _, e := range entrants {
			m := results[e]
			workers := e.cores
			if e.name == contender.OursAlone {
				workers = 1
			}
			one := results[entrant{contender.OursAlone, r.cores}]
			t.Add(l.Name, table.MB(l.Size), fmt.Sprint(workers), fmt.Sprint(e.cores), table.Seconds(m.CPU),
				table.Seconds(m.Wall), table.Rate(l.Size, m.Wall), table.Ratio(one.CPU, m.CPU),
				table.Ratio(one.Wall, m.Wall), table.Ratio(results[up].Wall, m.Wall), table.MB(m.PeakMemory))
		}
	}
	hard, err := r.hard(ctx)
	if err != nil {
		return nil, err
	}
	return append([]*table.Table{t}, hard...), nil
}

// hard are layers of which several workers decode nothing, since no block can be
// found in them, and what trying costs.
func (r *runner) hard(ctx context.Context) ([]*table.Table, error) {
	if r.cores == 1 {
		return nil, nil
	}
	one, several := entrant{contender.OursAlone, r.cores}, entrant{contender.Ours, r.cores}
	t := &table.Table{
		Title: fmt.Sprintf("Layers with which several workers cannot help, on %d processors", r.cores),
		Columns: []string{"packed by", "compressed MB", "uncompressed MB", "CPU s, one worker",
			fmt.Sprintf("CPU s, %d workers", r.cores), "CPU, times one worker's", "wall s, one worker",
			fmt.Sprintf("wall s, %d workers", r.cores)},
		Notes: []string{fmt.Sprintf("Half a log, half a file that does not compress; of %d rounds the least.",
			r.Rounds)},
	}
	packers := []corpus.Packer{corpus.OneBlock(), corpus.OneBlockMembers(), corpus.FixedBlocks(), corpus.Stored()}
	for i, p := range packers {
		l, err := r.cache.Layer(ctx, corpus.Recipe{
			Name:    fmt.Sprintf("hard-%d", i),
			Archive: corpus.Log{Size: r.Sizes.Hard / 2, Noise: r.Sizes.Hard / 2, Seed: 1},
			Packer:  p,
		})
		if err != nil {
			return nil, err
		}
		results, err := r.measure(ctx, l, false, r.Rounds, []entrant{one, several})
		if err != nil {
			return nil, err
		}
		a, b := results[one], results[several]
		t.Add(p.Name, table.MB(l.Size), table.MB(l.Uncompressed), table.Seconds(a.CPU), table.Seconds(b.CPU),
			table.Ratio(b.CPU, a.CPU), table.Seconds(a.Wall), table.Seconds(b.Wall))
	}
	return []*table.Table{t}, nil
}

package bench

import (
	"context"
	"fmt"
	"time"

	"soci-index-builder/internal/devtools/bench/contender"
	"soci-index-builder/internal/devtools/bench/table"
)

// Lambda's processors for a memory setting, and its price.
const (
	memoryPerCPU  = 1769.0   // MB for one vCPU
	lambdaNetwork = 75 << 20 // bytes per second of a function, about, whatever its memory

	// Dollars for a second of 1,024 MB, in us-east-1, before any discount.
	priceX86 = 0.0000166667
	priceARM = 0.8 * priceX86
)

var lambdaMemory = []int{512, 1024, 1769, 2048, 3538, 5307, 10240} // MB

// lambda tells what the rate of one core means there.
func (r *runner) lambda(ctx context.Context) ([]*table.Table, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return nil, err
	}
	var size int64
	var cpu time.Duration
	for _, l := range layers {
		m, ok := r.rates[l.Name]
		if !ok {
			ours := entrant{contender.Ours, 1}
			results, err := r.measure(ctx, l, false, r.Rounds, []entrant{ours})
			if err != nil {
				return nil, err
			}
			m = results[ours]
		}
		size, cpu = size+l.Size, cpu+m.CPU
	}
	t := lambdaTable(perSecond(size, cpu))
	if r.imageRun != nil {
		t.Notes = append(t.Notes, fmt.Sprintf("The image above needs %s MB at its peak.", table.MB(r.imageRun.peak)))
	}
	return []*table.Table{t}, nil
}

// lambdaTable is made of the bytes per second that one core reads.
func lambdaTable(rate float64) *table.Table {
	t := &table.Table{
		Title: fmt.Sprintf("On Lambda, where a core reads %.0f MB/s of compressed layers", rate/1e6),
		Columns: []string{"memory MB", "vCPU", "processors take MB/s", "with the network MB/s", "reached first",
			"s per GB", "GB-s per GB", "$ per 1,000 GB, x86-64", "$ per 1,000 GB, arm64"},
		Notes: []string{
			"Computed from this run, not measured there: a vCPU is taken to be as fast as a core of this machine, " +
				"and an image to have layers enough to keep all of them busy. GB of compressed layers; GB-s as " +
				"Lambda bills them.",
			"1 vCPU for each 1,769 MB; a network of about 75 MiB/s (78.6 MB/s) per function; prices of us-east-1 " +
				"before discounts, arm64 20 % less for the same time.",
		},
	}
	for _, memory := range lambdaMemory {
		cpus := float64(memory) / memoryPerCPU
		processors := rate * cpus
		effective, first := processors, "processor"
		if processors > lambdaNetwork {
			effective, first = lambdaNetwork, "network"
		}
		seconds := 1e9 / effective
		billed := seconds * float64(memory) / 1024
		t.Add(table.Count(memory), fmt.Sprintf("%.2f", cpus), table.MB(int64(processors)), table.MB(int64(effective)),
			first, fmt.Sprintf("%.1f", seconds), fmt.Sprintf("%.1f", billed), fmt.Sprintf("%.2f", 1000*billed*priceX86),
			fmt.Sprintf("%.2f", 1000*billed*priceARM))
	}
	return t
}

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/pflag"
)

// mostAtOnce is the most things that any command does at once: what the functions
// allow for SOCI_CONCURRENCY. Beyond it registries refuse requests, and nothing is
// faster.
const mostAtOnce = 64

// addAtOnce adds a flag of how many things are done at once. 0 means as many as there
// are processors, in every command; the usage gets that and the bound.
func addAtOnce(f *pflag.FlagSet, n *int, name string, byDefault int, usage string) {
	*n = byDefault
	f.Var(&countFlag{n, mostAtOnce}, name,
		fmt.Sprintf("%s; 0 means the number of processors; at most %d", usage, mostAtOnce))
}

// resolveAtOnce returns the number that the value of such a flag stands for.
func resolveAtOnce(n int) int {
	if n == 0 {
		return min(runtime.GOMAXPROCS(0), mostAtOnce)
	}
	return n
}

func addLayerWorkers(f *pflag.FlagSet, n *int) {
	addAtOnce(f, n, "layer-workers", 0, "most processors that decompress one gzip layer of 16 MiB or more while idle; "+
		"1 means one for each layer")
}

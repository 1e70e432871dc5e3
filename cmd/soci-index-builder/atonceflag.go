package main

import (
	"fmt"
	"runtime"
	"strconv"

	"github.com/spf13/pflag"
)

// mostAtOnce is the most things that any command does at once: what the functions
// allow for SOCI_CONCURRENCY. Beyond it registries refuse requests, and nothing is
// faster.
const mostAtOnce = 64

// atOnceFlag is how many things are done at once. 0 means as many as there are
// processors, in every command.
type atOnceFlag struct{ n *int }

// addAtOnce adds such a flag, whose usage gets the bound and what 0 means.
func addAtOnce(f *pflag.FlagSet, n *int, name string, byDefault int, usage string) {
	*n = byDefault
	f.Var(&atOnceFlag{n}, name, fmt.Sprintf("%s; 0 means the number of processors; at most %d", usage, mostAtOnce))
}

func (f *atOnceFlag) String() string {
	if f.n == nil { // pflag asks one of its own what an empty value is
		return "0"
	}
	return strconv.Itoa(*f.n)
}

func (f *atOnceFlag) Type() string { return "int" }

func (f *atOnceFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > mostAtOnce {
		return fmt.Errorf("must be a whole number from 0 to %d", mostAtOnce)
	}
	*f.n = n
	return nil
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

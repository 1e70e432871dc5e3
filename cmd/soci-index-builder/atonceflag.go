package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// mostAtOnce is the most things that any command does at once: what the functions
// allow for SOCI_CONCURRENCY. Beyond it registries refuse requests, and nothing is
// faster.
const mostAtOnce = 64

// atOnceFlag is how many things are done at once.
type atOnceFlag struct {
	n     *int
	least int
}

// addAtOnce adds such a flag, whose usage gets the bounds. With a default of 0,
// usage says what 0 means.
func addAtOnce(f *pflag.FlagSet, n *int, name string, byDefault int, usage string) {
	least := min(byDefault, 1)
	*n = byDefault
	f.Var(&atOnceFlag{n, least}, name, fmt.Sprintf("%s; at most %d", usage, mostAtOnce))
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
	if err != nil || n < f.least || n > mostAtOnce {
		return fmt.Errorf("must be a whole number from %d to %d", f.least, mostAtOnce)
	}
	*f.n = n
	return nil
}

func addLayerWorkers(f *pflag.FlagSet, n *int) {
	addAtOnce(f, n, "layer-workers", 0, "most processors that decompress one gzip layer of 16 MiB or more while idle; "+
		"0 means all processors, 1 one for each layer")
}

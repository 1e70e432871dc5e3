package main

import "github.com/spf13/pflag"

func addLayerWorkers(f *pflag.FlagSet, n *int) {
	f.IntVar(n, "layer-workers", 0, "most processors that decompress one gzip layer of 16 MiB or more while idle; "+
		"0 means all processors, 1 one for each layer")
}

func checkLayerWorkers(n int) error {
	if n < 0 {
		return usageErrorf("invalid argument \"%d\" for \"--layer-workers\" flag: must be 0 or more", n)
	}
	return nil
}

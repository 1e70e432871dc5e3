package backfill

import (
	"time"

	"soci-index-builder/pkg/soci"
)

// What a generator takes in, and what Lambda charges. The speeds are those of
// docs/performance.md, "What it means on Lambda"; a test compares.
const (
	// Network is about what a function gets, in bytes per second, whatever its
	// memory.
	Network = 75 << 20

	// Core is what a vCPU takes in of compressed layers that come over TLS, in
	// bytes per second.
	Core = 145e6

	// MemoryPerCPU is the setting, in MB, that gives one vCPU.
	MemoryPerCPU = 1769

	// PerImage is assumed for what does not grow with the layers: some twenty
	// requests to the registry, one after the other.
	PerImage = 2 * time.Second

	// Prices are in dollars for us-east-1 as of 2026-11, before discounts and
	// the free tier: for a second of 1,024 MB, and for a request.
	// https://aws.amazon.com/lambda/pricing/
	PriceX86     = 0.0000166667
	PriceARM     = 0.0000133334
	PriceRequest = 0.0000002
)

// Cost is an estimate of what indexing costs on Lambda.
type Cost struct {
	Images                 int
	Seconds                float64 // of generators, all added up
	GBSeconds              float64 // as Lambda bills them
	DollarsARM, DollarsX86 float64
}

// speed is how many compressed bytes per second a generator with so much
// memory, in MB, takes in.
func speed(memory int) float64 {
	return min(Network, Core*float64(memory)/MemoryPerCPU)
}

// duration is about how long a generator works on an item.
func duration(i *Item, memory int) time.Duration {
	return PerImage + time.Duration(float64(i.Bytes)/speed(memory)*float64(time.Second))
}

// Cost estimates the whole plan, for a generator of so much memory, in MB.
func (p *Plan) Cost(memory int) Cost {
	c := Cost{Images: len(p.Items)}
	for n := range p.Items {
		c.Seconds += duration(&p.Items[n], memory).Seconds()
	}
	c.GBSeconds = c.Seconds * float64(memory) / 1024
	requests := PriceRequest * 2 * float64(c.Images) // filter and generator
	c.DollarsARM = c.GBSeconds*PriceARM + requests
	c.DollarsX86 = c.GBSeconds*PriceX86 + requests
	return c
}

// puts is how many manifests are pushed for an item.
func puts(i *Item, version soci.IndexVersion) int {
	m := max(i.Manifests, 1)
	switch {
	case version == soci.V1:
		return m
	case version == soci.V2 || i.Tag == "":
		return 2*m + 1
	}
	return 3*m + 1
}

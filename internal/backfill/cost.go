package backfill

import (
	"time"

	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/pkg/soci"
)

// The speed of a generator, and the prices of Lambda. The speeds are those of
// docs/performance.md, "What it means on Lambda"; a test compares.
const (
	// Network is about what a function gets, in bytes per second, whatever its
	// memory.
	Network = 75 << 20

	// Core is how much of compressed layers that come over TLS a vCPU reads, in
	// bytes per second.
	Core = 145e6

	// MemoryPerCPU is the setting, in MB, that gives one vCPU.
	MemoryPerCPU = contract.MemoryPerCPU

	// PerImage is assumed for what does not grow with the layers: some twenty
	// requests to the registry, one after the other.
	PerImage = 2 * time.Second

	// Prices are in dollars for us-east-1 as of 2026-11, before discounts and
	// the free tier: for a second of 1,024 MB, and for a request.
	// https://aws.amazon.com/lambda/pricing/
	PriceX86     = 0.0000166667
	PriceARM     = 0.0000133334
	PriceRequest = 0.0000002

	// PriceTransition is in dollars for a state transition of Step Functions,
	// standard, in us-east-1 as of 2026-11.
	// https://aws.amazon.com/step-functions/pricing/
	PriceTransition = 0.000025
)

// Builder is what the estimate is about.
type Builder struct {
	Memory int // of the generator, in MB

	// FanOutFrom is from how many compressed bytes on an image is handed over to
	// the state machine; 0: none is. StepsMemory is that of its function, in MB.
	FanOutFrom  int64
	StepsMemory int
}

// Cost is an estimate of what indexing costs on Lambda.
type Cost struct {
	Images                 int
	Seconds                float64 // of generators, all added up
	GBSeconds              float64 // as Lambda bills them, the steps' too
	DollarsARM, DollarsX86 float64

	// Of the images that the state machine works on.
	HandedOver  int     // images
	Steps       int     // invocations of the function that does the steps
	StepSeconds float64 // of these, all added up
	Transitions int     // of the state machine
}

// handsOver reports whether the generator hands an item over, as it decides itself.
func (b *Builder) handsOver(i *Item) bool {
	if b.FanOutFrom == 0 {
		return false
	}
	f := fanout.Function{From: b.FanOutFrom, Budget: fanout.Budget(int64(b.Memory)),
		Steps: fanout.Budget(int64(b.StepsMemory)), Span: soci.DefaultSpanSize}
	return f.TooLarge(i.Bytes, i.largest, fanout.Longest) != ""
}

// speed is how many compressed bytes per second a generator with that much
// memory, in MB, reads.
func speed(memory int) float64 {
	return min(Network, Core*float64(memory)/MemoryPerCPU)
}

// duration is about how long a generator works on an item.
func duration(i *Item, memory int) time.Duration {
	return PerImage + time.Duration(float64(i.Bytes)/speed(memory)*float64(time.Second))
}

// Cost estimates the whole plan, for a generator of so much memory, in MB, that
// builds every image itself.
func (p *Plan) Cost(memory int) Cost { return p.CostOf(Builder{Memory: memory}) }

// CostOf estimates the whole plan.
func (p *Plan) CostOf(b Builder) Cost {
	c := Cost{Images: len(p.Items)}
	for n := range p.Items {
		i := &p.Items[n]
		if !b.handsOver(i) {
			c.Seconds += duration(i, b.Memory).Seconds()
			continue
		}
		c.HandedOver++
		c.Seconds += PerImage.Seconds()
		steps := i.Layers + 2 // a plan, the layers, and what publishes
		c.Steps += steps
		c.StepSeconds += float64(steps)*PerImage.Seconds() + float64(i.Bytes)/speed(b.StepsMemory)
		c.Transitions += 2*i.Layers + 5
	}
	c.GBSeconds = (c.Seconds*float64(b.Memory) + c.StepSeconds*float64(b.StepsMemory)) / 1024
	// Filter and generator, and the steps.
	requests := PriceRequest*float64(2*c.Images+c.Steps) + PriceTransition*float64(c.Transitions)
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

package backfill

import (
	"time"

	"soci-index-builder/pkg/soci"
)

// The share of quotas that a backfill takes; pushes need the rest.
const (
	// putsPerSecond is half of ECR's quota for PutImage, of a region and an
	// account.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
	putsPerSecond = 5

	// share is the part of the generator's reserved concurrency.
	share = 0.5
)

// Rate says how fast items may follow each other. Its zero value knows no
// limit but ECR's.
type Rate struct {
	// PerSecond is a fixed number of images; the other fields do not matter
	// then. The default is to compute.
	PerSecond float64

	Version     soci.IndexVersion
	Memory      int // of the generator, in MB; needed for Concurrency
	Concurrency int // that is reserved for the generator; 0 or less: nothing is
}

// Interval is the time from the beginning of an item to that of the next.
func (r Rate) Interval(i *Item) time.Duration {
	if r.PerSecond > 0 {
		return time.Duration(float64(time.Second) / r.PerSecond)
	}
	d := time.Duration(puts(i, r.Version)) * time.Second / putsPerSecond
	if r.Concurrency > 0 {
		d = max(d, time.Duration(float64(duration(i, r.Memory))/(share*float64(r.Concurrency))))
	}
	return d
}

// Total is about how long the items take to begin.
func (r Rate) Total(items []Item) time.Duration {
	var d time.Duration
	for n := range items {
		d += r.Interval(&items[n])
	}
	return d
}

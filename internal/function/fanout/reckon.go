package fanout

import (
	"container/heap"
	"slices"
	"time"
)

// overhead is what an invocation is taken to need beside reading: to start, to
// read manifests and to push.
const overhead = 2 * time.Second

// Alone returns how long one function takes for an image with layers of these
// compressed sizes: all come over its one network.
func Alone(layers []int64) time.Duration {
	t := overhead
	for _, size := range layers {
		t += Time(size)
	}
	return t
}

// InParts returns how long the state machine takes for the same layers, of which
// it reads atOnce at a time, the largest first. The generator, Plan and Publish
// are one invocation each, before and after.
func InParts(layers []int64, atOnce int) time.Duration {
	layers = slices.Sorted(slices.Values(layers))
	slices.Reverse(layers)
	running := make(ends, min(max(atOnce, 1), max(len(layers), 1)))
	var last time.Duration
	for _, size := range layers {
		running[0] += overhead + Time(size)
		last = max(last, running[0])
		heap.Fix(&running, 0)
	}
	return 3*overhead + last
}

// ends are when functions end, the first at the top of the heap.
type ends []time.Duration

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i] < e[j] }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(time.Duration)) }
func (e *ends) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

package backfill

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// MetricReader reads metrics. AWS's client of CloudWatch is one.
type MetricReader interface {
	GetMetricData(context.Context, *cloudwatch.GetMetricDataInput,
		...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error)
}

// Watcher slows a backfill down while the generator has more events than it
// can work on: pushes wait in the same queue. It is for one goroutine.
type Watcher struct {
	Metrics  MetricReader
	Function string // name of the generator

	// Tell gets a new factor, or why the metrics cannot be read. The factor
	// stays then: for good if the caller may not read them, else until the
	// next look; that they cannot be read is told once until they can.
	Tell func(factor int, err error)

	factor int
	next   time.Time
	told   bool // that they cannot be read
	blind  bool
}

const (
	watchEvery  = 2 * time.Minute
	watchBehind = 3 * time.Minute // metrics are a minute late
	maxSlow     = 32

	// maxEventAge is how old events may be when the generator gets them.
	maxEventAge = 2 * time.Minute
)

// Factor says by how much longer the pauses should be, from 1 to 32. It asks
// once in two minutes.
func (w *Watcher) Factor(ctx context.Context, now time.Time) int {
	w.factor = max(w.factor, 1)
	if w.blind || now.Before(w.next) {
		return w.factor
	}
	w.next = now.Add(watchEvery)
	behind, err := w.behind(ctx, now)
	if err != nil {
		if ctx.Err() == nil && !w.told {
			w.Tell(w.factor, err)
			w.told = true
		}
		w.blind = hopeless(err)
		return w.factor
	}
	w.told = false
	before := w.factor
	if behind {
		w.factor = min(w.factor*2, maxSlow)
	} else {
		w.factor = max(w.factor/2, 1)
	}
	if w.factor != before {
		w.Tell(w.factor, nil)
	}
	return w.factor
}

// behind reports whether the generator was throttled, or got old events.
func (w *Watcher) behind(ctx context.Context, now time.Time) (bool, error) {
	query := func(id, metric, statistic string) types.MetricDataQuery {
		return types.MetricDataQuery{Id: aws.String(id), MetricStat: &types.MetricStat{
			Metric: &types.Metric{
				Namespace: aws.String("AWS/Lambda"), MetricName: aws.String(metric),
				Dimensions: []types.Dimension{{Name: aws.String("FunctionName"), Value: aws.String(w.Function)}},
			},
			Period: aws.Int32(60), Stat: aws.String(statistic),
		}}
	}
	out, err := w.Metrics.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{
		StartTime: aws.Time(now.Add(-watchBehind)), EndTime: aws.Time(now),
		MetricDataQueries: []types.MetricDataQuery{query("throttles", "Throttles", "Sum"),
			query("age", "AsyncEventAge", "Maximum")},
	})
	if err != nil {
		return false, err
	}
	limits := map[string]float64{"throttles": 0, "age": float64(maxEventAge / time.Millisecond)}
	for _, r := range out.MetricDataResults {
		for _, v := range r.Values {
			if limit, ok := limits[aws.ToString(r.Id)]; ok && v > limit {
				return true, nil
			}
		}
	}
	return false, nil
}

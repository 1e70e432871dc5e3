package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/metrics"
)

// lookBack is how far the activity is looked at. A team that pushes nothing
// for so long will not miss a SOCI index.
const lookBack = 14 * 24 * time.Hour

// series is a metric over a time.
type series struct {
	sum  float64
	max  float64
	last time.Time // the beginning of the last period with something in it
}

// query asks for one statistic of several metrics.
func (x *examination) query(ctx context.Context, namespace, dimension, value, statistic string, from time.Time,
	period time.Duration, names ...string) (map[string]series, error) {
	in := &cloudwatch.GetMetricDataInput{StartTime: &from, EndTime: aws.Time(x.now),
		ScanBy: types.ScanByTimestampAscending}
	for i, name := range names {
		in.MetricDataQueries = append(in.MetricDataQueries, types.MetricDataQuery{
			Id: aws.String(fmt.Sprintf("m%d", i)), Label: &name,
			MetricStat: &types.MetricStat{
				Metric: &types.Metric{Namespace: &namespace, MetricName: &name,
					Dimensions: []types.Dimension{{Name: &dimension, Value: &value}}},
				Period: aws.Int32(int32(period / time.Second)), Stat: &statistic,
			},
		})
	}
	out := map[string]series{}
	for pages := cloudwatch.NewGetMetricDataPaginator(x.cloudwatch, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading metrics: %w", err)
		}
		for _, r := range page.MetricDataResults {
			var i int
			if _, err := fmt.Sscanf(aws.ToString(r.Id), "m%d", &i); err != nil || i >= len(names) {
				continue
			}
			s := out[names[i]]
			for j, v := range r.Values {
				s.sum += v
				s.max = max(s.max, v)
				if v > 0 && j < len(r.Timestamps) && r.Timestamps[j].After(s.last) {
					s.last = r.Timestamps[j]
				}
			}
			out[names[i]] = s
		}
	}
	return out, nil
}

// oldestMessage is the age of the oldest message in the failure queue; 0 when
// CloudWatch does not know of any.
func (x *examination) oldestMessage(ctx context.Context) (time.Duration, error) {
	const name = "ApproximateAgeOfOldestMessage" // in seconds, comes every minute or later
	all, err := x.query(ctx, "AWS/SQS", "QueueName", x.queueName(), "Maximum", x.now.Add(-15*time.Minute), time.Minute,
		name)
	return time.Duration(all[name].max) * time.Second, err
}

// activity looks whether images have been indexed of late.
func (x *examination) activity(ctx context.Context) ([]Finding, error) {
	all, err := x.query(ctx, metrics.Namespace, metrics.Stack, x.stack.Name, "Sum",
		x.now.Add(-lookBack).Truncate(time.Hour), time.Hour, metrics.ImagesMatched, metrics.ImagesIndexed,
		metrics.ImagesSkipped, metrics.ImagesFailed, metrics.ImagesHandedOver)
	if err != nil {
		return nil, err
	}
	var (
		matched, indexed = all[metrics.ImagesMatched], all[metrics.ImagesIndexed]
		skipped, failed  = all[metrics.ImagesSkipped], all[metrics.ImagesFailed]
		handed           = ""
		since            = "in " + days(lookBack)
		logs             = "soci-index-builder logs --stack " + x.stack.Name + x.region()
	)
	if age := x.now.Sub(x.stack.CreatedAt); age < lookBack {
		since = "since the stack was made " + days(max(age, time.Minute)) + " ago"
	}
	if n := all[metrics.ImagesHandedOver].sum; n > 0 {
		handed = fmt.Sprintf(" (%.0f handed over to the state machine)", n)
	}
	f := Finding{Check: CheckActivity, Severity: Warning}
	switch {
	case indexed.sum > 0:
		f.Severity = OK
		f.Found = fmt.Sprintf(
			"last image indexed within the hour of %s; %s %.0f passed on%s, %.0f indexed, %.0f skipped, "+
				"%.0f failed attempts",
			indexed.last.UTC().Format("2006-01-02 15:04 MST"), since, matched.sum, handed, indexed.sum, skipped.sum,
			failed.sum)
	case failed.sum > 0:
		f.Severity = Problem
		f.Found = fmt.Sprintf("no image was indexed %s, and %.0f attempts failed", since, failed.sum)
		f.Hint = "see why: " + logs + " failures"
	case matched.sum > 0:
		f.Found = fmt.Sprintf(
			"no image was indexed %s, although %.0f were passed on%s: nothing in them was to be indexed, "+
				"or the generator does not run", since, matched.sum, handed)
		f.Hint = "see why: soci-index-builder logs --stack " + x.stack.Name + x.region() + " --image REPOSITORY:TAG"
	case skipped.sum > 0:
		f.Found = fmt.Sprintf("no filter chose an image %s, of %.0f that came", since, skipped.sum)
		f.Hint = "see which filter decides: soci-index-builder filters test --stack " + x.stack.Name + x.region()
	default:
		f.Found = "no event came " + since
		f.Hint = fmt.Sprintf("push an image to %s, then: aws logs tail %s --since 10m%s",
			"a repository of this account and region", x.stack.Outputs[deployed.OutFilterLogGroup], x.region())
	}
	return []Finding{f}, nil
}

package waiting

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/opencontainers/go-digest"
)

// CloudWatch reads the log groups of a stack's functions as they grow, without
// Logs Insights, which is charged for and shows lines later. It is for one
// goroutine.
type CloudWatch struct {
	API             cloudwatchlogs.FilterLogEventsAPIClient
	Groups          []string  // names of log groups
	Repository, Tag string    // of the image; no tag is an image without one
	Since           time.Time // older lines are left out

	latest time.Time
	seen   map[string]bool // ids of lines
}

// late is how much later than others a line can be shown.
const late = time.Minute

// maxLines bounds how many lines of an image are read in one call.
const maxLines = 10_000

// Read implements Log. What it has read when it fails is read again by the next
// call.
func (c *CloudWatch) Read(ctx context.Context, image digest.Digest) ([]Decision, error) {
	from := c.Since
	if before := c.latest.Add(-late); before.After(from) {
		from = before
	}
	var all []Decision
	latest, fresh := c.latest, map[string]bool{}
	for _, group := range c.Groups {
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(c.API, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: aws.String(group), StartTime: aws.Int64(from.UnixMilli()),
			FilterPattern: aws.String(strconv.Quote(image.String())),
		})
		for lines := 0; pages.HasMorePages() && lines < maxLines; {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading the log group %s: %w", group, err)
			}
			lines += len(page.Events)
			for _, e := range page.Events {
				at := time.UnixMilli(aws.ToInt64(e.Timestamp))
				id := aws.ToString(e.EventId)
				if c.seen[id] || fresh[id] {
					continue
				}
				fresh[id] = true
				if at.After(latest) {
					latest = at
				}
				if d, ok := decision(at, aws.ToString(e.Message), c.Repository, image.String(), c.Tag); ok {
					all = append(all, d)
				}
			}
		}
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	maps.Copy(c.seen, fresh)
	c.latest = latest
	slices.SortStableFunc(all, func(a, b Decision) int { return cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()) })
	return all, nil
}

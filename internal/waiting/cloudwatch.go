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

	at      map[string]*position // by group
	waiting []Decision           // read, and not yet returned
}

// position is how far a log group was read.
type position struct {
	from   time.Time            // where the reading began that goes on
	token  *string              // of its next page; nil to start over
	latest time.Time            // of all lines before it
	passed time.Time            // the latest of the lines since
	seen   map[string]time.Time // the lines since from, by their ids
}

// late is how much later than others a line can be shown.
const late = time.Minute

// maxLines bounds how many lines of a group are read in one call.
const maxLines = 10_000

// Read implements Log. It returns nothing until it has read all groups to their
// ends: the next call goes on where one stopped, at the bound or at an error.
func (c *CloudWatch) Read(ctx context.Context, image digest.Digest) ([]Decision, error) {
	if c.at == nil {
		c.at = map[string]*position{}
	}
	complete := true
	for _, group := range c.Groups {
		if c.at[group] == nil {
			c.at[group] = &position{seen: map[string]time.Time{}}
		}
		ended, err := c.readGroup(ctx, group, c.at[group], image)
		if err != nil {
			return nil, fmt.Errorf("reading the log group %s: %w", group, err)
		}
		complete = complete && ended
	}
	if !complete {
		return nil, nil
	}
	all := c.waiting
	c.waiting = nil
	slices.SortStableFunc(all, func(a, b Decision) int { return cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()) })
	return all, nil
}

// readGroup reads on in a group, and reports whether it came to the end. Pages can
// be empty, and their lines in any order.
func (c *CloudWatch) readGroup(ctx context.Context, group string, p *position, image digest.Digest) (bool, error) {
	if p.token == nil {
		if p.from = c.Since; p.latest.Add(-late).After(p.from) {
			p.from = p.latest.Add(-late)
		}
		maps.DeleteFunc(p.seen, func(_ string, at time.Time) bool { return at.Before(p.from) })
	}
	for lines := 0; lines < maxLines; {
		page, err := c.API.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: aws.String(group), StartTime: aws.Int64(p.from.UnixMilli()), NextToken: p.token,
			FilterPattern: aws.String(strconv.Quote(image.String())),
		})
		if err != nil {
			p.token = nil // it may have expired: from the beginning of this reading
			return false, err
		}
		lines += len(page.Events)
		for _, e := range page.Events {
			at, id := time.UnixMilli(aws.ToInt64(e.Timestamp)), aws.ToString(e.EventId)
			if _, known := p.seen[id]; known {
				continue
			}
			p.seen[id] = at
			if at.After(p.passed) {
				p.passed = at
			}
			if d, ok := decision(at, aws.ToString(e.Message), c.Repository, image.String(), c.Tag); ok {
				c.waiting = append(c.waiting, d)
			}
		}
		if p.token = page.NextToken; aws.ToString(p.token) == "" {
			p.token, p.latest = nil, p.passed
			return true, nil
		}
	}
	return false, nil
}

package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"soci-index-builder/internal/text/plural"
)

// logGroups looks whether the functions have where to log to. Their roles may
// not make log groups.
func (x *examination) logGroups(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	all := x.of(typeLogGroup)
	for _, r := range all {
		live, err := x.logGroup(ctx, r.physical)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking for log group %s: %w", r.physical, err))
			continue
		}
		days, wanted := r.want.number("RetentionInDays")
		retention := fmt.Sprintf("aws logs put-retention-policy --log-group-name %s --retention-in-days %d%s",
			r.physical, days, x.region())
		switch {
		case live == nil:
			found = append(found, Finding{CheckLogGroup, Problem, r.physical,
				"was deleted by hand: what the function logs is lost, metrics included",
				"aws logs create-log-group --log-group-name " + r.physical + x.region() + " && " + retention})
		case wanted && int(aws.ToInt32(live.RetentionInDays)) != days:
			found = append(found, Finding{CheckLogGroup, Warning, r.physical,
				fmt.Sprintf("keeps its lines %s, the stack's retention is %s", forever(live.RetentionInDays),
					plural.Count(days, "day", "days")), retention})
		}
	}
	if len(errs) == 0 {
		found = wellOr(found, CheckLogGroup, "%d log groups are there, with the stack's retention", len(all))
	}
	return found, errors.Join(errs...)
}

func forever(days *int32) string {
	if days == nil {
		return "for ever"
	}
	return "for " + plural.Count(int(*days), "day", "days")
}

// logGroup returns the log group of this very name, nil if there is none.
func (x *examination) logGroup(ctx context.Context, name string) (*types.LogGroup, error) {
	pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(x.logs,
		&cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range out.LogGroups {
			if aws.ToString(g.LogGroupName) == name {
				return &g, nil
			}
		}
	}
	return nil, nil
}

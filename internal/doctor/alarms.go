package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/text/plural"
)

// alarms looks at the stack's alarms, and whether they tell anybody.
func (x *examination) alarms(ctx context.Context) ([]Finding, error) {
	all := x.of(typeAlarm)
	live := map[string]types.MetricAlarm{}
	const most = 100 // names in one request
	for some := range slices.Chunk(all, most) {
		in := &cloudwatch.DescribeAlarmsInput{}
		for _, r := range some {
			in.AlarmNames = append(in.AlarmNames, r.physical)
		}
		for pages := cloudwatch.NewDescribeAlarmsPaginator(x.cloudwatch, in); pages.HasMorePages(); {
			out, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading the alarms: %w", err)
			}
			for _, a := range out.MetricAlarms {
				live[aws.ToString(a.AlarmName)] = a
			}
		}
	}
	var found, actions []Finding
	silent := 0
	for _, r := range all {
		a, ok := live[r.physical]
		if !ok {
			found = append(found, x.deleted(CheckAlarm, Warning, r.physical))
			continue
		}
		if a.StateValue == types.StateValueAlarm {
			found = append(found,
				Finding{CheckAlarm, Problem, r.physical, "is in ALARM: " + aws.ToString(a.StateReason),
					"see docs/troubleshooting.md; what failed: soci-index-builder logs --stack " + x.stack.Name +
						x.region() +
						" failures"})
		}
		switch {
		case len(a.AlarmActions) == 0:
			silent++
		case !aws.ToBool(a.ActionsEnabled):
			actions = append(actions, Finding{CheckAlarmActions, Warning, r.physical, "its actions are switched off",
				"aws cloudwatch enable-alarm-actions --alarm-names " + r.physical + x.region()})
		}
	}
	if silent > 0 {
		actions = append(actions,
			Finding{CheckAlarmActions, Warning, "", plural.Count(silent, "alarm tells", "alarms tell") + " nobody",
				"set the stack's parameter " + deployed.ParamAlarmTopic + " to the ARN of an SNS topic"})
	}
	found = wellOr(found, CheckAlarm, "%s, none in ALARM", plural.Count(len(all), "alarm", "alarms"))
	return append(found, wellOr(actions, CheckAlarmActions, "every alarm has an action")...), nil
}

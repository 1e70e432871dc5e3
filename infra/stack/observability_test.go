package stack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/lambdas/indexgen/generator"
	"soci-index-builder/pkg/soci"
)

// documentedMetrics returns the metrics of docs/logs.md, which is held to the
// code, with the dimensions that each has beside the stack's name.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	all := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|(.*)$").FindAllStringSubmatch(section, -1) {
		by := []string{""}
		for _, d := range regexp.MustCompile("dimension `([A-Za-z]+)`").FindAllStringSubmatch(m[2], -1) {
			by = append(by, d[1])
		}
		all[m[1]] = by
	}
	if len(all) < 5 {
		t.Fatalf("%d metrics are too few to be true", len(all))
	}
	return all
}

// shownWidget is a widget as CloudWatch shows it: in its place, with the
// defaults, and with whole metrics.
type shownWidget struct {
	Type                string
	X, Y, Width, Height int
	Properties          map[string]any
}

// body is the dashboard's, with the variables as textOf writes them.
func body(t *testing.T, tmpl *template) []shownWidget {
	t.Helper()
	var of struct{ Widgets []shownWidget }
	d := json.NewDecoder(strings.NewReader(tmpl.Resources["Dashboard"].at("DashboardBody")))
	d.DisallowUnknownFields()
	if err := d.Decode(&of); err != nil {
		t.Fatal(err)
	}
	x, y, next := 0, 0, 0
	for i := range of.Widgets {
		w := &of.Widgets[i]
		w.Width, w.Height = cmp.Or(w.Width, 6), cmp.Or(w.Height, 6)
		if x+w.Width > 24 {
			x, y = 0, next
		}
		w.X, w.Y, next = x, y, max(next, y+w.Height)
		x += w.Width
		wholeMetrics(t, w)
	}
	return of.Widgets
}

// wholeMetrics writes out what is the same as in the line before.
func wholeMetrics(t *testing.T, w *shownWidget) {
	t.Helper()
	var before []any
	lines, _ := w.Properties["metrics"].([]any)
	for i := range lines {
		line := lines[i].([]any)
		metric, options := line[:len(line)-1], line[len(line)-1]
		if len(metric) == 0 {
			continue // an expression
		}
		var whole []any
		for n, part := range metric {
			switch {
			case part == "..." && n == 0 && len(metric) <= 2:
				whole = slices.Clone(before[:len(before)+1-len(metric)])
			case part == ".":
				whole = append(whole, before[n])
			default:
				whole = append(whole, part)
			}
		}
		for _, part := range whole {
			if text := part.(string); strings.Trim(text, ".") == "" {
				t.Errorf("%v: %q stands for nothing in %v", w.Properties["title"], text, line)
			}
		}
		before = whole
		lines[i] = append(slices.Clone(whole), options)
	}
}

// shown returns every metric of the dashboard: namespace, name, dimensions with
// their values.
func shown(t *testing.T, widgets []shownWidget) [][]string {
	t.Helper()
	var all [][]string
	for _, w := range widgets {
		list, _ := w.Properties["metrics"].([]any)
		for _, line := range list {
			var metric []string
			for _, part := range line.([]any) {
				if text, ok := part.(string); ok {
					metric = append(metric, text)
				}
			}
			if metric != nil {
				all = append(all, metric)
			}
		}
	}
	return all
}

// ofAWS are the metrics of AWS in use, each with its dimension and the
// resources that have it.
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
var ofAWS = map[string]struct {
	names     []string
	dimension string
	of        []string
}{
	"AWS/Lambda": {[]string{"Errors", "Throttles", "Duration", "ConcurrentExecutions", "AsyncEventAge",
		"DestinationDeliveryFailures"}, "FunctionName",
		[]string{"${FilterFunction}", "${GeneratorFunction}", "${StepsFunction}", "${RepositoryNameFunction}"}},
	"AWS/SQS": {[]string{"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}, "QueueName",
		[]string{"${FailureQueue.QueueName}"}},
	"AWS/Events": {[]string{"InvocationsFailedToBeSentToDlq"}, "RuleName",
		[]string{"${PushRule}", "${ReplicationRule}", "${PullThroughCacheRule}", "${ExecutionRule}"}},
}

// A graph of a metric that nothing writes is empty, and nobody wonders.
func TestMetricsExist(t *testing.T) {
	tmpl := synth(t)
	all := shown(t, body(t, tmpl))
	for _, id := range tmpl.ids("AWS::CloudWatch::Alarm") {
		a := tmpl.Resources[id]
		all = append(all, []string{a.at("Namespace"), a.at("MetricName"), a.at("Dimensions.0.Name"),
			a.at("Dimensions.0.Value")})
	}
	documented := documentedMetrics(t)
	used := map[string]bool{}
	for _, m := range all {
		if of, ok := ofAWS[m[0]]; ok {
			if len(m) != 4 {
				t.Errorf("metric %q has %d parts, want 4", m, len(m))
				continue
			}
			expect.Equal(t, expect.Facts{
				{"name known", slices.Contains(of.names, m[1]), true},
				{"dimension", m[2], of.dimension},
				{"its value known", slices.Contains(of.of, m[3]), true},
			}, "AWS has no metric %q", m)
			continue
		}
		by := ""
		if len(m) == 6 {
			by = m[4]
		}
		expect.Equal(t, expect.Facts{
			{"namespace", m[0], metrics.Namespace},
			{"documented", slices.Contains(documented[m[1]], by), true},
			{"dimension", m[2], metrics.Stack},
			{"its value", m[3], "${AWS::StackName}"},
		}, "the functions have no metric %q", m)
		used[m[1]+by] = true
	}
	for name, dimensions := range documented {
		for _, by := range dimensions {
			if !used[name+by] {
				t.Errorf("metric %s %s is not on the dashboard", name, by)
			}
		}
	}
}

// The values of the dimensions are those that the functions write.
func TestReasonsExist(t *testing.T) {
	var want []string
	for _, d := range filters.Decisions() {
		if d != filters.Matched {
			want = append(want, string(d))
		}
	}
	for _, o := range []soci.Outcome{generator.OutcomeImageGone, generator.OutcomeReferrer, soci.OutcomeNoLayer,
		soci.OutcomeOptedOut,
		soci.OutcomeOwnArtifact, soci.OutcomePassedOver, soci.OutcomePlatformNotChosen, soci.OutcomeSuperseded,
		soci.OutcomeUntagged} {
		want = append(want, string(o))
	}
	slices.Sort(want)
	want = slices.Compact(want)
	reasons := map[string][]string{}
	for _, m := range shown(t, body(t, synth(t))) {
		if len(m) == 6 {
			reasons[m[4]] = append(reasons[m[4]], m[5])
		}
	}
	for dimension, want := range map[string][]string{metrics.Reason: want,
		metrics.Class: {string(failure.Permanent), string(failure.Transient)}} {
		got := slices.Sorted(slices.Values(reasons[dimension]))
		if !slices.Equal(got, want) {
			t.Errorf("the dashboard has the values %q of %s, want %q", got, dimension, want)
		}
	}
}

func TestDashboard(t *testing.T) {
	tmpl := synth(t)
	if name := tmpl.Resources["Dashboard"].at("DashboardName"); name != "${AWS::StackName}" {
		t.Errorf("the dashboard is called %s", name)
	}
	if text := tmpl.Resources["Dashboard"].at("DashboardBody"); strings.Contains(text, "arn:") ||
		regexp.MustCompile(`[a-z]{2}-[a-z]+-[0-9]`).MatchString(text) {
		t.Error("the dashboard has an ARN or a region in it")
	}
	taken := map[string]string{}
	titles := map[string]bool{}
	for _, w := range body(t, tmpl) {
		title, _ := w.Properties["title"].(string)
		titles[title] = true
		if w.X < 0 || w.Width < 1 || w.X+w.Width > 24 || w.Height < 1 {
			t.Errorf("%q is at %d, %d wide and %d high: the grid has 24 columns", title, w.X, w.Width, w.Height)
		}
		for x := range w.Width {
			for y := range w.Height {
				at := fmt.Sprintf("%d,%d", w.X+x, w.Y+y)
				if other, ok := taken[at]; ok {
					t.Fatalf("%q covers %q", title, other)
				}
				taken[at] = title
			}
		}
		if w.Type != "text" && w.Properties["region"] != "${AWS::Region}" {
			t.Errorf("%q is of region %v", title, w.Properties["region"])
		}
		switch w.Type {
		case "log":
			q, err := logquery.Find("failures")
			if err != nil {
				t.Fatal(err)
			}
			if want := "SOURCE '${FilterLogGroup}' | SOURCE '${GeneratorLogGroup}' | SOURCE '${StepsLogGroup}' | " +
				"SOURCE '${RepositoryNameLogGroup}' | " + few(t, q.Sample()); w.Properties["query"] != want {
				t.Errorf("%q asks\n%v, want\n%s", title, w.Properties["query"], want)
			}
		case "metric":
			ids := map[string]bool{}
			for _, line := range w.Properties["metrics"].([]any) {
				options := line.([]any)[len(line.([]any))-1].(map[string]any)
				if label, _ := options["label"].(string); label == "" {
					t.Errorf("%q has a line without a label: %v", title, line)
				}
				if expression, ok := options["expression"].(string); ok {
					if variable := regexp.MustCompile(`^[a-z]+`).FindString(expression); !ids[variable] {
						t.Errorf("%q: nothing is called %q in %s", title, variable, expression)
					}
				} else if id, ok := options["id"].(string); ok {
					ids[id] = true
				}
			}
		case "text":
		default:
			t.Errorf("%q is a %q", title, w.Type)
		}
	}
	for _, want := range []string{"Images", "Left alone, by reason", "Attempts failed, by class", "Layers",
		"Duration of an image", "Generator: most memory used", "Failure queue", "What failed?"} {
		if !titles[want] {
			t.Errorf("the dashboard has no %q", want)
		}
	}
	if !strings.Contains(tmpl.Resources["Dashboard"].at("DashboardBody"), "${GeneratorMemorySize} * 1048576") {
		t.Error("memory is not shown by the parameter's size")
	}
}

func TestAlarms(t *testing.T) {
	tmpl := synth(t)
	tests := []struct {
		id, metric, of, statistic string
		threshold, periods        string // periods: datapoints/evaluated, all of them by default
		condition                 string
	}{
		{"FailureQueueAlarm", "AWS/SQS ApproximateNumberOfMessagesVisible", "${FailureQueue.QueueName}", "Maximum", "0",
			"/1",
			""},
		{"FailureQueueAgeAlarm", "AWS/SQS ApproximateAgeOfOldestMessage", "${FailureQueue.QueueName}", "Maximum",
			"864000", "/1", ""},
		{"FilterErrorsAlarm", "AWS/Lambda Errors", "${FilterFunction}", "Sum", "0", "2/3", ""},
		{"GeneratorErrorsAlarm", "AWS/Lambda Errors", "${GeneratorFunction}", "Sum", "0", "2/3", ""},
		{"RepositoryNameErrorsAlarm", "AWS/Lambda Errors", "${RepositoryNameFunction}", "Sum", "0", "/1", ""},
		{"FilterThrottlesAlarm", "AWS/Lambda Throttles", "${FilterFunction}", "Sum", "0", "/3", ""},
		{"GeneratorThrottlesAlarm", "AWS/Lambda Throttles", "${GeneratorFunction}", "Sum", "0", "/3", ""},
		{"ExecutionRuleEventsLostAlarm", "AWS/Events InvocationsFailedToBeSentToDlq", "${ExecutionRule}", "Sum", "0",
			"/1",
			"Large"},
		{"GeneratorDurationAlarm", "AWS/Lambda Duration", "${GeneratorFunction}", "Maximum", "720000", "/1", ""},
		{"FilterEventsLostAlarm", "AWS/Lambda DestinationDeliveryFailures", "${FilterFunction}", "Sum", "0", "/1", ""},
		{"GeneratorEventsLostAlarm", "AWS/Lambda DestinationDeliveryFailures", "${GeneratorFunction}", "Sum", "0", "/1",
			""},
		{"PushRuleEventsLostAlarm", "AWS/Events InvocationsFailedToBeSentToDlq", "${PushRule}", "Sum", "0", "/1", ""},
		{"ReplicationRuleEventsLostAlarm", "AWS/Events InvocationsFailedToBeSentToDlq", "${ReplicationRule}", "Sum",
			"0", "/1", "Replicated"},
		{"PullThroughCacheRuleEventsLostAlarm", "AWS/Events InvocationsFailedToBeSentToDlq", "${PullThroughCacheRule}",
			"Sum", "0", "/1", "Cached"},
	}
	var ids []string
	for _, tt := range tests {
		ids = append(ids, tt.id)
		t.Run(tt.id, func(t *testing.T) {
			a := tmpl.Resources[tt.id]
			for what, pair := range map[string][2]string{
				"metric":     {a.at("Namespace") + " " + a.at("MetricName"), tt.metric},
				"of":         {a.at("Dimensions.0.Value"), tt.of},
				"dimensions": {a.at("Dimensions.1"), ""},
				"statistic":  {a.at("Statistic"), tt.statistic},
				"threshold": {a.at("ComparisonOperator") + " " + a.at("Threshold"),
					"GreaterThanThreshold " + tt.threshold},
				"periods":      {a.at("DatapointsToAlarm") + "/" + a.at("EvaluationPeriods"), tt.periods},
				"period":       {a.at("Period"), "300"},
				"missing data": {a.at("TreatMissingData"), "notBreaching"},
				"alarm":        {a.at("AlarmActions"), "if(Topic, [${AlarmTopicArn}], [])"},
				"end of alarm": {a.at("OKActions"), ends(tt.id)},
				"condition":    {a.Condition, tt.condition},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
				}
			}
		})
	}
	slices.Sort(ids)
	if got := tmpl.ids("AWS::CloudWatch::Alarm"); !slices.Equal(got, ids) {
		t.Errorf("there are the alarms %q, want %q", got, ids)
	}
}

// ends is what the end of an alarm does: of an event that is lost, or of an image
// that took long, it would tell that all is well when it is not.
func ends(id string) string {
	if strings.HasSuffix(id, "EventsLostAlarm") || id == "GeneratorDurationAlarm" {
		return ""
	}
	return "if(Topic, [${AlarmTopicArn}], [])"
}

func TestAlarmsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Alarms and dashboard\n")
	documented := regexp.MustCompile(`[A-Za-z]+Alarm\b`).FindAllString(section, -1)
	slices.Sort(documented)
	if got := synth(t).ids("AWS::CloudWatch::Alarm"); !slices.Equal(got, documented) {
		t.Errorf("docs/logs.md has the alarms %q, the stack %q", documented, got)
	}
}

// A description fits, and what it tells people to run is there.
func TestAlarmsSayWhatToDo(t *testing.T) {
	tmpl := synth(t)
	command := regexp.MustCompile(`soci-index-builder ([a-z]+) --stack \$\{AWS::StackName\}(?: ([a-z-]+))?`)
	for _, id := range tmpl.ids("AWS::CloudWatch::Alarm") {
		text := tmpl.Resources[id].at("AlarmDescription")
		if len(text) > 900 { // 1024, and the stack's name
			t.Errorf("%s: %d bytes of description", id, len(text))
		}
		commands := command.FindAllStringSubmatch(text, -1)
		if len(commands) == 0 && !strings.Contains(text, "concurrency") {
			t.Errorf("%s does not say what to do: %s", id, text)
		}
		for _, m := range commands {
			if !slices.Contains([]string{"logs", "redrive", "backfill", "doctor"}, m[1]) {
				t.Errorf("%s: no command %s", id, m[1])
			}
			if m[1] == "logs" {
				if _, err := logquery.Find(m[2]); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
		for _, parameter := range regexp.MustCompile(`the parameter ([A-Za-z]+)`).FindAllStringSubmatch(text, -1) {
			if _, ok := tmpl.Parameters[parameter[1]]; !ok {
				t.Errorf("%s: no parameter %s", id, parameter[1])
			}
		}
	}
}

// few is a query as the stack has it: in apostrophes, which cost a byte less, and
// with fewer blanks.
func few(t *testing.T, query string) string {
	t.Helper()
	if strings.ContainsAny(query, `'\`) {
		t.Errorf("the query has an apostrophe, or a backslash, of its own:\n%s", query)
	}
	query = strings.ReplaceAll(query, `"`, "'")
	return strings.ReplaceAll(strings.ReplaceAll(query, "', '", "','"), "\n| ", "\n|")
}

func TestQueries(t *testing.T) {
	tmpl := synth(t)
	names := map[logquery.Group]string{
		logquery.Filter: "${FilterLogGroup}", logquery.Generator: "${GeneratorLogGroup}, ${StepsLogGroup}",
		logquery.Repositories: "${RepositoryNameLogGroup}",
	}
	saved := map[string]resource{}
	for _, id := range tmpl.ids("AWS::Logs::QueryDefinition") {
		saved[tmpl.Resources[id].at("Name")] = tmpl.Resources[id]
	}
	for _, q := range logquery.All() {
		r := saved["${AWS::StackName}/"+q.Name]
		delete(saved, "${AWS::StackName}/"+q.Name)
		var groups []string
		for _, g := range q.Groups {
			groups = append(groups, names[g])
		}
		if got, want := r.at("LogGroupNames"), "["+strings.Join(groups, ", ")+"]"; got != want {
			t.Errorf("query %s asks %s, want %s", q.Name, got, want)
		}
		if got, want := r.at("QueryString"), few(t, q.Sample()); got != want {
			t.Errorf("query %s is\n%s\nwant\n%s", q.Name, got, want)
		}
	}
	if len(saved) > 0 {
		t.Errorf("saved are also %q", slices.Sorted(maps.Keys(saved)))
	}
}

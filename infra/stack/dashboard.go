package stack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/failure/class"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/logquery"
)

// widget of a dashboard's body, a grid of 24 columns that is filled in order.
// The defaults are a width and a height of 6, lines over time, and a period of 300
// seconds.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Dashboard-Body-Structure.html
type widget struct {
	Type       string     `json:"type"` // metric, log or text
	Width      int        `json:"width,omitempty"`
	Height     int        `json:"height,omitempty"`
	Properties properties `json:"properties"`
}

// properties of a widget. Region and axis stand side by side, so that what all
// graphs have is written once.
type properties struct {
	Title       string       `json:"title,omitempty"`
	Markdown    string       `json:"markdown,omitempty"`
	Query       string       `json:"query,omitempty"`
	View        string       `json:"view,omitempty"`
	Metrics     [][]any      `json:"metrics,omitempty"`
	Stat        string       `json:"stat,omitempty"` // Average by default
	Annotations *annotations `json:"annotations,omitempty"`
	Region      string       `json:"region,omitempty"`
	YAxis       *axes        `json:"yAxis,omitempty"`
}

type annotations struct {
	Horizontal []line `json:"horizontal"`
}

type line struct {
	Label string  `json:"label"`
	Value float64 `json:"value"`
}

type axes struct {
	Left axis `json:"left"`
}

type axis struct {
	Min       int    `json:"min"`
	ShowUnits bool   `json:"showUnits"`
	Label     string `json:"label"`
}

// options of a line in a graph.
type options struct {
	Label      string `json:"label"`
	ID         string `json:"id,omitempty"`
	Expression string `json:"expression,omitempty"`
	Stat       string `json:"stat,omitempty"`
	YAxis      string `json:"yAxis,omitempty"`
	Visible    *bool  `json:"visible,omitempty"`
}

// series is a line in a graph.
type series struct {
	metric     []string // namespace, name, and dimensions with their values
	expression string   // in place of the metric
	id         string   // for expressions
	label      string
	stat       string // Sum by default
	right      bool   // the axis
	hidden     bool
}

// own is a metric of the functions, by a dimension beside the stack's name or
// by none.
func own(name string, by ...string) series {
	s := series{metric: append([]string{metrics.Namespace, name, metrics.Stack, "${AWS::StackName}"}, by...),
		label: name}
	if len(by) > 0 {
		s.label = by[len(by)-1]
	}
	return s
}

// ofFunction is a metric that Lambda has of a function; its name is a variable
// of the body.
func ofFunction(name, function, label string) series {
	return series{metric: []string{"AWS/Lambda", name, "FunctionName", "${" + function + "}"}, label: label}
}

func (s series) as(stat, label string) series {
	s.stat, s.label = stat, label
	return s
}

// value returns the line as it stands behind a line of the metric before: "." is
// what is the same in its place, "..." all of it but the last.
func (s series) value(before []string, stat string) []any {
	o := options{Label: s.label, ID: s.id, Expression: s.expression}
	if s.right {
		o.YAxis = "right"
	}
	if s.hidden {
		o.Visible = new(bool)
	}
	if s.metric == nil {
		return []any{o}
	}
	if s.stat != stat {
		o.Stat = s.stat
	}
	if last := len(s.metric) - 1; len(before) == len(s.metric) && slices.Equal(before[:last], s.metric[:last]) {
		if before[last] == s.metric[last] {
			return []any{"...", o}
		}
		return []any{"...", s.metric[last], o}
	}
	var v []any
	for i, part := range s.metric {
		if i < len(before) && before[i] == part {
			part = "."
		}
		v = append(v, part)
	}
	return append(v, o)
}

// graph returns the properties of a widget with lines. unit names the left axis.
func graph(title, unit string, all ...series) properties {
	p := properties{Title: title, Region: "${AWS::Region}", YAxis: &axes{axis{Label: unit}}}
	for i := range all {
		all[i].stat = cmp.Or(all[i].stat, "Sum")
	}
	p.Stat = all[0].stat
	var before []string
	for _, s := range all {
		p.Metrics = append(p.Metrics, s.value(before, p.Stat))
		if s.metric != nil {
			before = s.metric
		}
	}
	return p
}

// limit draws a horizontal line.
func limit(p properties, label string, value float64) properties {
	p.Annotations = &annotations{[]line{{label, value}}}
	return p
}

// skipReasons are the values of the dimension of ImagesSkipped.
var skipReasons = []string{
	"not-matched", "untagged", "own-artifact", "referrer", "image-gone", "no-layer-to-index", "opted-out",
	"superseded", "passed-over", "platform-not-chosen",
}

// widgets returns the dashboard. Variables in it are those of addDashboard.
func widgets(generatorTimeout float64) []widget {
	var skipped, failed []series
	for _, reason := range skipReasons {
		skipped = append(skipped, own(metrics.ImagesSkipped, metrics.Reason, reason))
	}
	for _, c := range class.All() {
		failed = append(failed, own(metrics.ImagesFailed, metrics.Class, string(c)))
	}
	oldest := series{metric: []string{"AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName",
		"${FailureQueue.QueueName}"}, label: "age of the oldest, seconds", stat: "Maximum", right: true}
	peak := own(metrics.PeakMemory).as("Maximum", "bytes")
	peak.id, peak.hidden = "peak", true
	failures, err := logquery.Find("failures")
	if err != nil {
		panic("internal error: " + err.Error())
	}

	w := []widget{{Type: "text", Width: 24, Height: 3, Properties: properties{Markdown: strings.Join([]string{
		"**SOCI Index Builder, stack ${AWS::StackName}**",
		"Why was an image not indexed? `soci-index-builder logs --stack ${AWS::StackName} --image REPOSITORY:TAG`, " +
			"or Logs Insights, Queries, folder *${AWS::StackName}*.",
		"Events that failed for good: `soci-index-builder redrive --stack ${AWS::StackName}`. Is all as it should " +
			"be? `soci-index-builder doctor --stack ${AWS::StackName}`",
	}, "\n\n")}}}
	row := func(graphs ...properties) {
		for _, g := range graphs {
			one := widget{Type: "metric", Width: 24 / len(graphs), Properties: g}
			if one.Width == 6 {
				one.Width = 0 // the default
			}
			w = append(w, one)
		}
	}
	row(
		graph("Images", "images", own(metrics.ImagesMatched).as("Sum", "chosen by a filter"),
			own(metrics.ImagesIndexed).as("Sum", "indexed"),
			own(metrics.ImagesHandedOver).as("Sum", "handed over"),
			own(metrics.ImagesSkipped).as("Sum", "left alone"),
			own(metrics.ImagesFailed).as("Sum", "attempts failed")),
		graph("Left alone, by reason", "images", skipped...),
		graph("Attempts failed, by class", "attempts", failed...),
	)
	times := func(title, metric string) properties {
		return graph(title, "seconds", own(metric).as("p50", "p50"), own(metric).as("p90", "p90"),
			own(metric).as("p99", "p99"), own(metric).as("Maximum", "longest"))
	}
	row(
		graph("Layers", "layers", own(metrics.LayersBuilt).as("Sum", "indexed"),
			own(metrics.LayersReused).as("Sum", "reused"),
			own(metrics.LayersSkipped).as("Sum", "skipped"),
			own(metrics.LayersSkippedZstd).as("Sum", "of these zstd")),
		graph("Bytes of layers read (compressed)", "bytes", own(metrics.BytesRead).as("Sum", "bytes")),
		times("Duration of an image", metrics.Duration),
		times("From push to index", metrics.PushToIndex),
	)
	row(
		limit(graph("Generator: most memory used", "percent", peak,
			series{expression: "peak / (${GeneratorMemorySize} * 1048576) * 100", id: "used",
				label: "percent of the function's memory"}), "all", 100),
		limit(graph("Generator: longest invocation", "milliseconds",
			ofFunction("Duration", deployed.GeneratorID, "longest").as("Maximum", "longest")), "timeout",
			generatorTimeout*1000),
		graph("Failure queue", "events",
			series{metric: []string{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName",
				"${FailureQueue.QueueName}"},
				label: "events waiting", stat: "Maximum"}, oldest),
	)
	row(
		graph("Functions: errors", "invocations", ofFunction("Errors", deployed.FilterID, "filter"),
			ofFunction("Errors", deployed.GeneratorID, "generator"),
			ofFunction("Errors", deployed.StepsID, "steps"),
			ofFunction("Errors", deployed.RepositoryNameID, "repository names")),
		graph("Functions: throttles", "invocations", ofFunction("Throttles", deployed.FilterID, "filter"),
			ofFunction("Throttles", deployed.GeneratorID, "generator"),
			ofFunction("Throttles", deployed.StepsID, "steps")),
		graph("Functions: running at once", "invocations",
			ofFunction("ConcurrentExecutions", deployed.FilterID, "").as("Maximum", "filter"),
			ofFunction("ConcurrentExecutions", deployed.GeneratorID, "").as("Maximum", "generator"),
			ofFunction("ConcurrentExecutions", deployed.StepsID, "").as("Maximum", "steps")),
		graph("Functions: how long events waited", "milliseconds",
			ofFunction("AsyncEventAge", deployed.FilterID, "").as("Maximum", "filter"),
			ofFunction("AsyncEventAge", deployed.GeneratorID, "").as("Maximum", "generator")),
	)
	return append(w, widget{Type: "log", Width: 24, Height: 8, Properties: properties{
		Title: failures.Question, Region: "${AWS::Region}", View: "table",
		Query: "SOURCE '${FilterLogGroup}' | SOURCE '${GeneratorLogGroup}' | SOURCE '${StepsLogGroup}' | SOURCE " +
			"'${RepositoryNameLogGroup}' | " +
			inFew(failures.Sample()),
	}})
}

// fragments recur in the body. CloudFormation puts them in, as it does what
// they name. Each is called by one letter, from A on, since the template's size
// is limited.
var fragments = []string{
	`"region":"${AWS::Region}","yAxis":{"left":{"min":0,"showUnits":false,"label":"`,
	`",{"label":"`,
	`s"}}}},{"type":"metric","properties":{"title":"`,
	`}},{"type":"metric","width":8,"properties":{"title":"`,
	`","metrics":[["SociIndexBuilder","`,
	`","StackName","${AWS::StackName}`,
	`"}],["...","`,
	`"}]],"stat":"`,
	`","metrics":[["AWS/Lambda","`,
	`","FunctionName","${` + deployed.FilterID + `}`,
	`stack ${AWS::StackName}`,
	`Maximum","annotations":{"horizontal":[{"label":"`,
	`"}],[".","`,
	"`soci-index-builder ",
	`","stat":"`,
	`",".",".`,
	`"}],["...`,
	`Functions: `,
}

// addDashboard adds the dashboard, which is called as the stack is.
func addDashboard(s *builder) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{"widgets": widgets(s.generator.timeout)}); err != nil {
		panic("internal error: " + err.Error())
	}
	body := strings.TrimSpace(b.String())
	variables := map[string]*string{}
	for i, text := range fragments {
		name := string(rune('A' + i))
		if body = strings.ReplaceAll(body, text, "${"+name+"}"); strings.Contains(text, "${") {
			variables[name] = awscdk.Fn_Sub(quote(text), nil)
		} else {
			variables[name] = quote(text)
		}
	}
	awscloudwatch.NewCfnDashboard(s.stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: s.dashboardName(),
		DashboardBody: unquote(awscdk.Fn_Sub(quote(body), &variables)),
	})
}

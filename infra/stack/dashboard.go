package stack

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/logquery"
)

// widget of a dashboard's body, a grid of 24 columns.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
type widget struct {
	Type       string         `json:"type"` // metric, log or text
	X          int            `json:"x"`
	Y          int            `json:"y"`
	Width      int            `json:"width"`
	Height     int            `json:"height"`
	Properties map[string]any `json:"properties"`
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
	s := series{metric: append([]string{metrics.Namespace, name, metrics.Stack, "${AWS::StackName}"}, by...), label: name}
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

func (s series) value() []any {
	options := map[string]any{"label": s.label}
	if s.id != "" {
		options["id"] = s.id
	}
	if s.right {
		options["yAxis"] = "right"
	}
	if s.hidden {
		options["visible"] = false
	}
	if s.expression != "" {
		options["expression"] = s.expression
		return []any{options}
	}
	if s.stat != "" {
		options["stat"] = s.stat
	}
	v := make([]any, 0, len(s.metric)+1)
	for _, part := range s.metric {
		v = append(v, part)
	}
	return append(v, options)
}

// graph gives the properties of a widget with lines. unit names the left axis.
func graph(title, unit string, all ...series) map[string]any {
	lines := make([]any, len(all))
	for i, s := range all {
		lines[i] = s.value()
	}
	return map[string]any{
		"title": title, "metrics": lines, "region": "${AWS::Region}", "view": "timeSeries", "stacked": false, "stat": "Sum", "period": 300,
		"yAxis": map[string]any{"left": map[string]any{"min": 0, "label": unit, "showUnits": false}},
	}
}

// limit draws a horizontal line.
func limit(properties map[string]any, label string, value float64) map[string]any {
	properties["annotations"] = map[string]any{"horizontal": []any{map[string]any{"label": label, "value": value}}}
	return properties
}

// skipReasons and failClasses are the values of the dimensions of ImagesSkipped
// and ImagesFailed.
var (
	skipReasons = []string{
		"not-matched", "untagged", "own-artifact", "referrer", "image-gone", "no-layer-to-index", "opted-out", "superseded", "passed-over",
	}
	failClasses = []string{"permanent", "transient"}
)

// widgets gives the dashboard. Variables in it are those of addDashboard.
func widgets(generatorTimeout float64) []widget {
	var skipped, failed []series
	for _, reason := range skipReasons {
		skipped = append(skipped, own("ImagesSkipped", "Reason", reason))
	}
	for _, class := range failClasses {
		failed = append(failed, own("ImagesFailed", "Class", class))
	}
	oldest := series{metric: []string{"AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "${FailureQueueName}"}, label: "age of the oldest, seconds", stat: "Maximum", right: true}
	peak := own("PeakMemory").as("Maximum", "bytes")
	peak.id, peak.hidden = "peak", true
	failures, err := logquery.Find("failures")
	if err != nil {
		panic("internal error: " + err.Error())
	}

	w := []widget{{Type: "text", Width: 24, Height: 3, Properties: map[string]any{"markdown": strings.Join([]string{
		"**SOCI Index Builder, stack ${AWS::StackName}**",
		"Why was an image not indexed? `soci-index-builder logs --stack ${AWS::StackName} --image REPOSITORY:TAG`, or Logs Insights, Queries, folder *${AWS::StackName}*.",
		"Events that failed for good: `soci-index-builder redrive --stack ${AWS::StackName}`. Is all as it should be? `soci-index-builder doctor --stack ${AWS::StackName}`",
	}, "\n\n")}}}
	y := 3
	row := func(graphs ...map[string]any) {
		for i, g := range graphs {
			w = append(w, widget{Type: "metric", X: i * 24 / len(graphs), Y: y, Width: 24 / len(graphs), Height: 6, Properties: g})
		}
		y += 6
	}
	row(
		graph("Images", "images", own("ImagesMatched").as("Sum", "chosen by a filter"), own("ImagesIndexed").as("Sum", "indexed"),
			own("ImagesSkipped").as("Sum", "left alone"), own("ImagesFailed").as("Sum", "attempts failed")),
		graph("Left alone, by reason", "images", skipped...),
		graph("Attempts failed, by class", "attempts", failed...),
	)
	row(
		graph("Layers", "layers", own("LayersBuilt").as("Sum", "indexed"), own("LayersReused").as("Sum", "reused"),
			own("LayersSkipped").as("Sum", "skipped"), own("LayersSkippedZstd").as("Sum", "of these zstd")),
		graph("Bytes of layers read (compressed)", "bytes", own("BytesRead").as("Sum", "bytes")),
		graph("Duration of an image", "seconds", own("Duration").as("p50", "p50"), own("Duration").as("p90", "p90"),
			own("Duration").as("p99", "p99"), own("Duration").as("Maximum", "longest")),
	)
	row(
		limit(graph("Generator: most memory used", "percent", peak, series{expression: "peak / (${GeneratorMemorySize} * 1048576) * 100", id: "used", label: "percent of the function's memory"}), "all", 100),
		limit(graph("Generator: longest invocation", "milliseconds", ofFunction("Duration", "GeneratorFunctionName", "longest").as("Maximum", "longest")), "timeout", generatorTimeout*1000),
		graph("Failure queue", "events", series{metric: []string{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${FailureQueueName}"}, label: "events waiting", stat: "Maximum"}, oldest),
	)
	row(
		graph("Functions: errors", "invocations", ofFunction("Errors", "FilterFunctionName", "filter"), ofFunction("Errors", "GeneratorFunctionName", "generator"), ofFunction("Errors", "RepositoryNameFunctionName", "repository names")),
		graph("Functions: throttles", "invocations", ofFunction("Throttles", "FilterFunctionName", "filter"), ofFunction("Throttles", "GeneratorFunctionName", "generator")),
		graph("Functions: running at once", "invocations", ofFunction("ConcurrentExecutions", "FilterFunctionName", "").as("Maximum", "filter"), ofFunction("ConcurrentExecutions", "GeneratorFunctionName", "").as("Maximum", "generator")),
		graph("Functions: how long events waited", "milliseconds", ofFunction("AsyncEventAge", "FilterFunctionName", "").as("Maximum", "filter"), ofFunction("AsyncEventAge", "GeneratorFunctionName", "").as("Maximum", "generator")),
	)
	return append(w, widget{Type: "log", Y: y, Width: 24, Height: 8, Properties: map[string]any{
		"title": failures.Question, "region": "${AWS::Region}", "view": "table",
		"query": "SOURCE '${FilterLogGroupName}' | SOURCE '${GeneratorLogGroupName}' | SOURCE '${RepositoryNameLogGroupName}' | " + failures.Sample(),
	}})
}

// addDashboard adds the dashboard, which is called as the stack is.
func addDashboard(s *builder) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]any{"widgets": widgets(s.generator.timeout)}); err != nil {
		panic("internal error: " + err.Error())
	}
	awscloudwatch.NewCfnDashboard(s.stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: s.dashboardName(),
		DashboardBody: awscdk.Fn_Sub(jsii.String(strings.TrimSpace(body.String())), &map[string]*string{
			"FilterFunctionName":         s.filter.resource.Ref(),
			"GeneratorFunctionName":      s.generator.resource.Ref(),
			"RepositoryNameFunctionName": s.reponame.resource.Ref(),
			"FilterLogGroupName":         s.filter.logGroup.Ref(),
			"GeneratorLogGroupName":      s.generator.logGroup.Ref(),
			"RepositoryNameLogGroupName": s.reponame.logGroup.Ref(),
			"FailureQueueName":           s.queue.AttrQueueName(),
			"GeneratorMemorySize":        awscdk.Token_AsString(s.params[deployed.ParamGeneratorMemorySize].Value(), nil),
		}),
	})
}

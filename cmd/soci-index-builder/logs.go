package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/logquery/loginsights"
	"soci-index-builder/pkg/soci"
)

// maxRows is the most that Logs Insights returns in one answer.
const maxRows = 10000

func newLogsCommand() *cobra.Command {
	l := logsCommand{since: ageFlag(day)}
	cmd := &cobra.Command{
		Use:   "logs [QUERY]",
		Short: "Query the logs of a deployed stack",
		Long: `Run one of the stack's saved queries over its logs with CloudWatch Logs
Insights, and print the result as a table. The default QUERY is "why" with
--image, and "failures" otherwise. Logs Insights charges for the bytes that
a query reads. An interrupt also stops the query.

The caller needs cloudformation:DescribeStacks, logs:StartQuery,
logs:GetQueryResults and logs:StopQuery.

With --output json, the output is one JSON object:
  query (the name), question, text (as Logs Insights gets it), logGroups, from,
  to, linesScanned, bytesScanned, and
  rows, a list of objects with the columns of the query that apply
With --list it is a list of name, question, takesImage (required, optional, none),
logGroups (of which functions), and text.

The queries:
` + queryList(),
		Example: `  soci-index-builder logs --stack soci-index-builder --image team/app:v1.2.3
  soci-index-builder logs --stack soci-index-builder failures --since 7d
  soci-index-builder logs --stack soci-index-builder cost \
      --since 30d -o json | jq .rows`,
		Args: takes(0, 1, "at most one QUERY"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, q := range logquery.All() {
				names = append(names, q.Name+"\t"+q.Question)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: l.run,
	}
	l.aws.add(cmd)
	l.stack.add(cmd)
	takeDefaults(cmd, func() bool { return !l.list })
	l.output.add(cmd)
	l.full.add(cmd)
	cmd.Flags().StringVar(&l.image, "image", "",
		"ask about one image: `REPO:TAG` or REPO@DIGEST, with or without the registry's host")
	cmd.Flags().Var(&l.since, "since", "how far to look back, such as 90m, 24h or 7d")
	addLimit(cmd.Flags(), &l.limit, 0, maxRows, fmt.Sprintf(
		"at most n rows; 0 means all, which is at most %d; the default is 100, and 20 for slowest", maxRows))
	cmd.Flags().BoolVar(&l.list, "list", false, "list the queries, without running one")
	for _, name := range []string{"image", "since", "limit"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func queryNames() []string {
	var names []string
	for _, q := range logquery.All() {
		names = append(names, q.Name)
	}
	return names
}

// queryList is for the help text.
func queryList() string {
	var b strings.Builder
	for _, q := range logquery.All() {
		fmt.Fprintf(&b, "  %-15s %s\n", q.Name, q.Question)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

type logsCommand struct {
	aws    awsFlags
	stack  stackFlag
	output outputFlag
	full   fullFlag
	image  string
	since  ageFlag
	limit  int
	list   bool
}

func (l *logsCommand) run(cmd *cobra.Command, args []string) error {
	if l.list && len(args) > 0 {
		return usageErrorf("%s: --list takes no QUERY, not %q", cmd.CommandPath(), args[0])
	}
	for _, name := range []string{"image", "since", "limit"} {
		if l.list && cmd.Flags().Changed(name) {
			return usageErrorf("%s: --list takes no --%s", cmd.CommandPath(), name)
		}
	}
	if l.list {
		return l.writeList(cmd.OutOrStdout())
	}
	query, params, err := l.query(cmd, args)
	if err != nil {
		return usageErrorf("%s: %w", cmd.CommandPath(), err)
	}
	text, err := query.Text(params)
	if err != nil {
		return usageErrorf("%s: %w", cmd.CommandPath(), err)
	}
	cfg, stack, err := l.stack.find(cmd, &l.aws)
	if err != nil {
		return err
	}
	to := time.Now().UTC().Truncate(time.Second)
	ask := loginsights.Query{
		Text: text, From: to.Add(-time.Duration(l.since)), To: to, Limit: query.Rows(l.limit),
	}
	for _, group := range query.Groups {
		for _, output := range logGroupOutputs[group] {
			if name := stack.Outputs[output]; name != "" {
				ask.Groups = append(ask.Groups, name)
			}
		}
	}
	found, err := loginsights.Run(cmd.Context(), cloudwatchlogs.NewFromConfig(cfg), ask)
	if err != nil {
		return explain(err)
	}
	for _, row := range found.Rows { // the generator does not know of the stack
		if row["outcome"] == string(soci.OutcomePlatformNotChosen) && query.Name == "why" {
			row["hint"] = cmp.Or(row["hint"], inventory.FixPlatforms)
		}
	}
	if l.output == outputJSON {
		return writeJSONRows(cmd.OutOrStdout(), query, ask, found)
	}
	if len(found.Rows) == 0 {
		p := newPrinter(cmd.OutOrStdout())
		p.printf("%s\n", nothing(query, &l.since))
		return p.err
	}
	if err := loginsights.WriteTable(cmd.OutOrStdout(), query.Columns, found.Rows, bool(l.full)); err != nil {
		return err
	}
	if len(found.Rows) == ask.Limit {
		fmt.Fprintf(cmd.ErrOrStderr(), "the first %d rows; there may be more, see --limit\n", ask.Limit)
	}
	return nil
}

// query returns what is asked by the arguments and flags.
func (l *logsCommand) query(cmd *cobra.Command, args []string) (logquery.Query, logquery.Params, error) {
	name := "failures"
	switch {
	case len(args) > 0:
		name = args[0]
	case l.image != "":
		name = "why"
	}
	limited := cmd.Flags().Changed("limit")
	if limited && l.limit == 0 { // all, not the query's default
		l.limit = maxRows
	}
	params := logquery.Params{Limit: l.limit}
	query, err := logquery.Find(name)
	if err != nil {
		return query, params, fmt.Errorf("%w %q%s the queries are %s", logquery.ErrUnknown, name,
			separator(didYouMean(name, queryNames())), strings.Join(queryNames(), ", "))
	}
	if cmd.Flags().Changed("image") {
		if params.Image, err = logquery.ParseImage(l.image); err != nil {
			return query, params, fmt.Errorf("--image: %w", err)
		}
	}
	if query.Image == logquery.RequiredImage && l.image == "" {
		err = errors.New("query " + query.Name + " needs --image, as REPO:TAG or REPO@DIGEST")
	}
	return query, params, err
}

// logGroupOutputs are the outputs of the stack that name its log groups.
var logGroupOutputs = map[logquery.Group][]string{
	logquery.Filter:       {deployed.OutFilterLogGroup},
	logquery.Generator:    {deployed.OutGeneratorLogGroup, deployed.OutStepsLogGroup}, // the latter not of older stacks
	logquery.Repositories: {deployed.OutRepositoryLogGroup},
}

func nothing(q logquery.Query, since *ageFlag) string {
	text := fmt.Sprintf("Nothing found within the last %s", since)
	if q.Nothing != "" {
		text += ": " + q.Nothing
	}
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

func writeJSONRows(w io.Writer, q logquery.Query, ask loginsights.Query, found *loginsights.Result) error {
	rows := make([]map[string]any, len(found.Rows))
	for i, row := range found.Rows {
		rows[i] = loginsights.Values(q.Columns, row)
	}
	return writeLogsJSON(w, logsJSON{q.Name, q.Question, ask.Text, ask.Groups, ask.From, ask.To,
		found.LinesScanned, found.BytesScanned, rows})
}

func (l *logsCommand) writeList(w io.Writer) error {
	if l.output == outputText {
		t := l.full.table(w, "")
		for _, q := range logquery.All() {
			t.Row(q.Name, q.Question)
		}
		return t.Flush()
	}
	uses := map[logquery.Use]string{logquery.NoImage: "none", logquery.OptionalImage: "optional",
		logquery.RequiredImage: "required"}
	var all []listedJSON
	for _, q := range logquery.All() {
		all = append(all, listedJSON{q.Name, q.Question, uses[q.Image], q.Groups, q.Sample()})
	}
	return writeLogsJSON(w, all)
}

// The JSON output of logs; its field names are promised in the help text.
type (
	listedJSON struct {
		Name      string           `json:"name"`
		Question  string           `json:"question"`
		Image     string           `json:"takesImage"`
		LogGroups []logquery.Group `json:"logGroups"`
		Text      string           `json:"text"`
	}

	logsJSON struct {
		Query        string           `json:"query"`
		Question     string           `json:"question"`
		Text         string           `json:"text"`
		LogGroups    []string         `json:"logGroups"`
		From         time.Time        `json:"from"`
		To           time.Time        `json:"to"`
		LinesScanned int64            `json:"linesScanned"`
		BytesScanned int64            `json:"bytesScanned"`
		Rows         []map[string]any `json:"rows"`
	}
)

func writeLogsJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

package loginsights

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/testkit/awstest"
)

const (
	filterGroup    = "/aws/lambda/s-filter"
	generatorGroup = "/aws/lambda/s-generator"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// start returns an AWS with two log groups of a line each minute, and a query
// that finds all of them; no time is spent on pauses, which are counted.
func start(t *testing.T) (*awstest.Server, *awstest.Logs, *cloudwatchlogs.Client, *Query, *[]time.Duration) {
	t.Helper()
	const text = "fields n | sort n asc"
	logs := awstest.NewLogs(filterGroup, generatorGroup)
	for i := range 10 {
		group := filterGroup
		if i%2 == 1 {
			group = generatorGroup
		}
		logs.Add(group, noon.Add(time.Duration(i)*time.Minute), text, awstest.Cell{Field: "n", Value: strconv.Itoa(i)})
	}
	server := awstest.Start(t)
	server.Handle("logs", logs)
	var pauses []time.Duration
	q := &Query{
		Groups: []string{filterGroup, generatorGroup}, Text: text, From: noon, To: noon.Add(time.Hour), Limit: 1000,
		Pause: func(ctx context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			return ctx.Err()
		},
	}
	return server, logs, cloudwatchlogs.NewFromConfig(server.Config()), q, &pauses
}

// values of column n.
func values(r *Result) string {
	var all []string
	for _, row := range r.Rows {
		all = append(all, row["n"])
	}
	return strings.Join(all, "")
}

func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		change func(*awstest.Logs, *Query)
		want   string
		pauses int
	}{
		{"at once", func(*awstest.Logs, *Query) {}, "0123456789", 1},
		{"late", func(l *awstest.Logs, _ *Query) { l.Steps = []string{"Scheduled", "Scheduled", "Running", "Running"} },
			"0123456789", 5},
		{"in pages", func(l *awstest.Logs, _ *Query) { l.PageSize = 3 }, "0123456789", 1},
		{"one group", func(_ *awstest.Logs, q *Query) { q.Groups = q.Groups[1:] }, "13579", 1},
		{"a short time, both ends included",
			func(_ *awstest.Logs, q *Query) { q.From, q.To = noon.Add(2*time.Minute), noon.Add(4*time.Minute) }, "234",
			1},
		{"few rows", func(_ *awstest.Logs, q *Query) { q.Limit = 2 }, "01", 1},
		{"nothing", func(_ *awstest.Logs, q *Query) { q.Text = "filter n = 99" }, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, logs, client, q, pauses := start(t)
			tt.change(logs, q)
			r, err := Run(t.Context(), client, *q)
			if err != nil {
				t.Fatal(err)
			}
			if got := values(r); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if len(*pauses) != tt.pauses || !slices.IsSorted(*pauses) || slices.Max(*pauses) > maxPause {
				t.Errorf("pauses %v, want %d", *pauses, tt.pauses)
			}
			for _, row := range r.Rows {
				if _, ok := row["@ptr"]; ok {
					t.Errorf("a row has @ptr: %v", row)
				}
			}
			if tt.want == "0123456789" && (r.LinesScanned != 10 || r.BytesScanned != 10000) {
				t.Errorf("%d lines of %d bytes scanned", r.LinesScanned, r.BytesScanned)
			}
			if len(logs.Stopped()) != 0 {
				t.Error("the query was stopped")
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	tests := []struct {
		name   string
		change func(*awstest.Server, *awstest.Logs, *Query)
		is     error
		text   string
	}{
		{"no log group", func(_ *awstest.Server, _ *awstest.Logs,
			q *Query) {
			q.Groups = append(q.Groups, "/aws/lambda/none")
		}, ErrNoLogGroup, "'/aws/lambda/none' does not exist"},
		{"malformed", func(s *awstest.Server, _ *awstest.Logs, _ *Query) {
			s.Fail("logs", "StartQuery", 1,
				&awstest.Error{Status: 400, Code: "MalformedQueryException",
					Message: "unexpected symbol found ( at line 1"})
		}, ErrRefused, "unexpected symbol found ("},
		{"turned round", func(_ *awstest.Server, _ *awstest.Logs, q *Query) { q.From, q.To = q.To, q.From }, ErrRefused,
			""},
		{"too many queries", func(s *awstest.Server, _ *awstest.Logs, _ *Query) {
			s.Fail("logs", "StartQuery", 1,
				&awstest.Error{Status: 400, Code: "LimitExceededException", Message: "limit reached"})
		}, ErrBusy, ""},
		{"failed", func(_ *awstest.Server, l *awstest.Logs, _ *Query) {
			l.Steps, l.End = []string{"Running"},
				"Failed"
		},
			ErrFailed, "Failed"},
		{"cancelled by somebody else", func(_ *awstest.Server, l *awstest.Logs, _ *Query) { l.End = "Cancelled" },
			ErrFailed, "Cancelled"},
		{"a status that nobody knows", func(_ *awstest.Server, l *awstest.Logs, _ *Query) { l.End = "Unknown" },
			ErrFailed, "Unknown"},
		{"timeout", func(_ *awstest.Server, l *awstest.Logs, _ *Query) { l.End = "Timeout" }, ErrTimeout,
			"shorter time"},
		{"no right to start", func(s *awstest.Server, _ *awstest.Logs, _ *Query) {
			s.Fail("logs", "StartQuery", 1,
				&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "not authorized"})
		}, awserror.ErrDenied, "logs:StartQuery"},
		{"no right to look", func(s *awstest.Server, _ *awstest.Logs, _ *Query) {
			s.Fail("logs", "GetQueryResults",
				1, &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "not authorized"})
		}, awserror.ErrDenied, "logs:GetQueryResults"},
		{"throttled", func(s *awstest.Server, _ *awstest.Logs, _ *Query) {
			s.Fail("logs", "GetQueryResults", 1, awstest.Throttled)
		}, awserror.ErrThrottled, ""},
		{"the second page fails", func(s *awstest.Server, l *awstest.Logs, _ *Query) {
			l.PageSize = 3
			s.Fail("logs", "GetQueryResults", 1, &awstest.Error{After: time.Nanosecond}) // the first is late only
			s.Fail("logs", "GetQueryResults", 1, awstest.Throttled)
		}, awserror.ErrThrottled, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, logs, client, q, _ := start(t)
			tt.change(server, logs, q)
			r, err := Run(t.Context(), client, *q)
			if err = awserror.Explain(err); r != nil || !errors.Is(err, tt.is) ||
				!strings.Contains(err.Error(), tt.text) {
				t.Errorf("Run = %v, %v, want %v with %q", r, err, tt.is, tt.text)
			}
		})
	}
}

// As many queries as the account may run are under way: one more is refused.
func TestRunConcurrency(t *testing.T) {
	_, logs, client, q, _ := start(t)
	logs.MaxQueries = 1
	if _, err := client.StartQuery(t.Context(),
		&cloudwatchlogs.StartQueryInput{LogGroupNames: q.Groups, QueryString: &q.Text, StartTime: new(int64),
			EndTime: new(int64)}); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), client, *q); !errors.Is(err, ErrBusy) {
		t.Errorf("the error is %v, want ErrBusy", err)
	}
}

func TestRunInterrupted(t *testing.T) {
	server, logs, client, q, _ := start(t)
	logs.Steps = slices.Repeat([]string{"Running"}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	q.Pause = func(ctx context.Context, _ time.Duration) error {
		if looks++; looks == 3 {
			cancel()
		}
		return ctx.Err()
	}
	if _, err := Run(ctx, client, *q); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that of the context", err)
	}
	if stopped := logs.Stopped(); len(stopped) != 1 {
		t.Errorf("stopped were %v, want the query", stopped)
	}
	if n := server.Count("logs", "GetQueryResults"); n != 2 {
		t.Errorf("the results were asked for %d times, want 2", n)
	}
}

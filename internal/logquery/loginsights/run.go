// Package loginsights runs CloudWatch Logs Insights queries, and shows their
// results. Start with [Run].
package loginsights

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	smithytime "github.com/aws/smithy-go/time"
)

// Errors about a query. Other errors of Run are AWS's.
var (
	// ErrNoLogGroup: one of the log groups is not there.
	ErrNoLogGroup = errors.New("a log group is missing")

	// ErrRefused: Logs Insights does not take the query.
	ErrRefused = errors.New("the query is not accepted")

	// ErrBusy: the account runs as many queries as it may.
	ErrBusy = errors.New("too many queries run in this account and region: try again in a minute")

	// ErrTimeout: the query took longer than Logs Insights allows.
	ErrTimeout = errors.New("the query took too long: ask for a shorter time")

	// ErrFailed: it failed, or was stopped by someone else.
	ErrFailed = errors.New("the query failed: try again")
)

// API is what *cloudwatchlogs.Client does here.
type API interface {
	StartQuery(context.Context, *cloudwatchlogs.StartQueryInput,
		...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.StartQueryOutput, error)
	GetQueryResults(context.Context, *cloudwatchlogs.GetQueryResultsInput,
		...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetQueryResultsOutput, error)
	StopQuery(context.Context, *cloudwatchlogs.StopQueryInput,
		...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.StopQueryOutput, error)
}

// Query is what to ask, and where.
type Query struct {
	Groups   []string // names of log groups
	Text     string
	From, To time.Time // both inclusive, to the second
	Limit    int       // rows at most, 1 to 10000

	// Pause waits between two looks at the results. The default is a timer.
	Pause func(ctx context.Context, d time.Duration) error
}

// Row has the values of a row by column. A column that does not apply is not
// in it.
type Row map[string]string

// Result of a query.
type Result struct {
	Rows         []Row
	LinesScanned int64
	BytesScanned int64
}

// The pauses between two looks at the results: they double.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

// Run runs a query to its end. When ctx ends first, the query is stopped, so
// that it costs no more and counts no longer among those that run.
func Run(ctx context.Context, api API, q Query) (*Result, error) {
	started, err := api.StartQuery(ctx, &cloudwatchlogs.StartQueryInput{
		LogGroupNames: q.Groups,
		QueryString:   &q.Text,
		StartTime:     aws.Int64(q.From.Unix()),
		EndTime:       aws.Int64(q.To.Unix()),
		Limit:         aws.Int32(int32(q.Limit)),
	})
	if err != nil {
		return nil, startError(q, err)
	}
	result, err := wait(ctx, api, q, started.QueryId)
	if err != nil && ctx.Err() != nil {
		stop(ctx, api, started.QueryId)
	}
	return result, err
}

// startError tells the errors apart that are the query's own.
func startError(q Query, err error) error {
	var (
		missing   *types.ResourceNotFoundException
		malformed *types.MalformedQueryException
		invalid   *types.InvalidParameterException
		busy      *types.LimitExceededException
	)
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf(
			"%w: %s; the stack made it, and its function logs nothing without it: make it again with aws "+
				"logs create-log-group",
			ErrNoLogGroup, strings.TrimSuffix(missing.ErrorMessage(), "."))
	case errors.As(err, &malformed):
		return fmt.Errorf("%w: %s", ErrRefused, malformed.ErrorMessage())
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %s", ErrRefused, invalid.ErrorMessage())
	case errors.As(err, &busy):
		return ErrBusy
	}
	return fmt.Errorf("starting the query: %w", err)
}

func wait(ctx context.Context, api API, q Query, id *string) (*Result, error) {
	pause := q.Pause
	if pause == nil {
		pause = smithytime.SleepWithContext
	}
	in := &cloudwatchlogs.GetQueryResultsInput{QueryId: id}
	for d := firstPause; ; d = min(2*d, maxPause) {
		if err := pause(ctx, d); err != nil {
			return nil, err
		}
		out, err := api.GetQueryResults(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("reading the query's results: %w", err)
		}
		switch out.Status {
		case types.QueryStatusComplete:
			return collect(ctx, api, in, out)
		case types.QueryStatusTimeout:
			return nil, ErrTimeout
		case types.QueryStatusScheduled, types.QueryStatusRunning:
		default:
			return nil, fmt.Errorf("%w (its status is %s)", ErrFailed, out.Status)
		}
	}
}

// collect reads the pages of the results of a query that is complete.
func collect(ctx context.Context, api API, in *cloudwatchlogs.GetQueryResultsInput,
	out *cloudwatchlogs.GetQueryResultsOutput) (*Result, error) {
	result := &Result{}
	if s := out.Statistics; s != nil {
		result.LinesScanned, result.BytesScanned = int64(s.RecordsScanned), int64(s.BytesScanned)
	}
	for {
		for _, fields := range out.Results {
			row := Row{}
			for _, f := range fields {
				if name := aws.ToString(f.Field); name != "@ptr" {
					row[name] = aws.ToString(f.Value)
				}
			}
			result.Rows = append(result.Rows, row)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return result, nil
		}
		var err error
		if out, err = api.GetQueryResults(ctx, in); err != nil {
			return nil, fmt.Errorf("reading the query's results: %w", err)
		}
	}
}

// stop stops a query even if ctx has ended. A query that has finished in the
// meantime is not an error, and other errors are ignored.
func stop(ctx context.Context, api API, id *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = api.StopQuery(ctx, &cloudwatchlogs.StopQueryInput{QueryId: id})
}

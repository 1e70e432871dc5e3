package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Logs has log groups, and answers queries of CloudWatch Logs Insights with
// rows that were recorded for them. It answers StartQuery, GetQueryResults and
// StopQuery; and FilterLogEvents with lines, whose only pattern is one phrase in
// quotation marks.
type Logs struct {
	// Steps are the statuses that a query goes through before its end, one
	// with each GetQueryResults. A query that is Running has results already,
	// but not all.
	Steps []string

	// End is the status at the end; empty: Complete.
	End string

	// MaxQueries is how many can be under way at once; 0: 100.
	MaxQueries int

	// PageSize is how many rows an answer has; 0: 10000.
	PageSize int

	mu      sync.Mutex
	groups  map[string]bool
	rows    []recorded
	lines   []logLine
	queries map[string]*logsQuery
	stopped []string
	h       http.Handler
}

// Cell of a result, as the API returns it. A row has none for a field that is
// not in its lines.
type Cell struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// recorded is a row of a query's result.
type recorded struct {
	group string // of the line that it is from
	at    time.Time
	query string
	cells []Cell
}

// logLine is one that a function wrote.
type logLine struct {
	group string
	at    time.Time
	text  string
}

type logsQuery struct {
	rows    [][]Cell
	scanned int
	steps   []string
	status  string
}

// NewLogs is for Server.Handle("logs", ...), with log groups that are empty.
func NewLogs(groups ...string) *Logs {
	l := &Logs{groups: map[string]bool{}, queries: map[string]*logsQuery{}}
	l.Make(groups...)
	l.h = JSON(map[string]func([]byte) (any, error){
		"StartQuery": l.start, "GetQueryResults": l.results, "StopQuery": l.stop,
		"FilterLogEvents": l.filter,
	})
	return l
}

func (l *Logs) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.h.ServeHTTP(w, r) }

// Make makes log groups.
func (l *Logs) Make(groups ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range groups {
		l.groups[g] = true
	}
}

// Add records a row for the queries that begin with this text, from a line of a
// log group, which it makes if it is not there. Rows are returned in the order
// of their recording, those of the log groups and of the time that are asked for.
func (l *Logs) Add(group string, at time.Time, query string, cells ...Cell) {
	l.Make(group)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, recorded{group, at, query, cells})
}

// Stopped returns the queries that were stopped, by their ids.
func (l *Logs) Stopped() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.stopped)
}

func (l *Logs) start(body []byte) (any, error) {
	var in struct {
		LogGroupNames      []string
		StartTime, EndTime int64 // seconds since 1970, both inclusive
		QueryString        string
		Limit              int
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(in.LogGroupNames) == 0 || in.StartTime > in.EndTime {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterException",
			Message: "no log group, or the range of time is turned round"}
	}
	for _, name := range in.LogGroupNames {
		if !l.groups[name] {
			return nil, &Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException",
				Message: fmt.Sprintf("Log group '%s' does not exist for account ID '%s'", name, Account)}
		}
	}
	scanned := 0
	var rows [][]Cell
	for _, row := range l.rows {
		if at := row.at.Unix(); !slices.Contains(in.LogGroupNames, row.group) || at < in.StartTime || at > in.EndTime {
			continue
		}
		scanned++
		if strings.HasPrefix(in.QueryString, row.query) {
			rows = append(rows, row.cells)
		}
	}
	underWay := 0
	for _, q := range l.queries {
		if q.status == "" {
			underWay++
		}
	}
	if most := l.MaxQueries; underWay >= most && (most > 0 || underWay >= 100) {
		return nil, &Error{Status: http.StatusBadRequest, Code: "LimitExceededException",
			Message: "Account maximum query concurrency limit reached"}
	}
	if in.Limit > 0 {
		rows = rows[:min(in.Limit, len(rows))]
	}
	id := fmt.Sprintf("12ab3456-12ab-123a-789e-%012d", len(l.queries)+1)
	l.queries[id] = &logsQuery{rows: rows, scanned: scanned, steps: slices.Clone(l.Steps)}
	return map[string]string{"queryId": id}, nil
}

func (l *Logs) query(body []byte) (id, nextToken string, q *logsQuery, err error) {
	var in struct{ QueryID, NextToken string }
	if err := json.Unmarshal(body, &in); err != nil {
		return "", "", nil, err
	}
	if q = l.queries[in.QueryID]; q == nil {
		return "", "", nil, &Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException",
			Message: "Query " + in.QueryID + " does not exist"}
	}
	return in.QueryID, in.NextToken, q, nil
}

func (l *Logs) results(body []byte) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, token, q, err := l.query(body)
	if err != nil {
		return nil, err
	}
	status, rows := q.status, q.rows
	switch {
	case status != "":
	case len(q.steps) > 0:
		status, q.steps = q.steps[0], q.steps[1:]
		if rows = nil; status == "Running" {
			rows = q.rows[:len(q.rows)/2]
		}
	case l.End != "" && l.End != "Complete":
		q.status, q.rows = l.End, nil
		status, rows = l.End, nil
	default:
		q.status = "Complete"
		status = q.status
	}
	size := l.PageSize
	if size == 0 {
		size = 10000
	}
	out := map[string]any{
		"status": status,
		"statistics": map[string]float64{"recordsMatched": float64(len(q.rows)), "recordsScanned": float64(q.scanned),
			"bytesScanned": 1000 * float64(q.scanned)},
	}
	first, _ := strconv.Atoi(token)
	last := min(first+size, len(rows))
	if status == "Complete" && last < len(rows) {
		out["nextToken"] = strconv.Itoa(last)
	}
	all := make([][]Cell, 0, last-first)
	for i, row := range rows[first:last] {
		all = append(all, append(slices.Clone(row), Cell{"@ptr", fmt.Sprintf("CmEKJgoi%04d", first+i)}))
	}
	out["results"] = all
	return out, nil
}

func (l *Logs) stop(body []byte) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, _, q, err := l.query(body)
	if err != nil {
		return nil, err
	}
	if q.status != "" {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterException",
			Message: "Query " + id + " has ended"}
	}
	q.status = "Cancelled"
	l.stopped = append(l.stopped, id)
	return map[string]bool{"success": true}, nil
}

// AddLine writes a line into a log group, which it makes if it is not there.
func (l *Logs) AddLine(group string, at time.Time, text string) {
	l.Make(group)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, logLine{group, at, text})
}

// filter answers in pages of two lines, of which the first has none, as the API
// may.
func (l *Logs) filter(body []byte) (any, error) {
	var in struct {
		LogGroupName, FilterPattern, NextToken string
		StartTime                              int64 // milliseconds since 1970
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.groups[in.LogGroupName] {
		return nil, &Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException",
			Message: "The specified log group does not exist."}
	}
	phrase, err := strconv.Unquote(in.FilterPattern)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterException",
			Message: "Invalid filter pattern"}
	}
	found := []map[string]any{}
	for n, line := range l.lines {
		if at := line.at.UnixMilli(); line.group == in.LogGroupName && at >= in.StartTime &&
			strings.Contains(line.text, phrase) {
			found = append(found, map[string]any{"eventId": strconv.Itoa(n), "timestamp": at, "message": line.text})
		}
	}
	out := map[string]any{"events": []any{}}
	if first, err := strconv.Atoi(in.NextToken); err == nil {
		out["events"] = found[first:min(first+2, len(found))]
		if first+2 < len(found) {
			out["nextToken"] = strconv.Itoa(first + 2)
		}
	} else if len(found) > 0 {
		out["nextToken"] = "0"
	}
	return out, nil
}

package logsql

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Line of a log group.
type Line struct {
	Group   string // its name
	Time    time.Time
	Message string
}

// Cell of a result, as the API gives it. A row has none for a field that is
// not in its line.
type Cell struct{ Field, Value string }

// Options of Run.
type Options struct {
	Account string // in the values of @log

	// MissingDiffers decides the case that Logs Insights does not document:
	// whether a field that is not there is != a value.
	MissingDiffers bool
}

// timeLayout is that of @timestamp in results.
const timeLayout = "2006-01-02 15:04:05.000"

// record is a line, or a row that was made of lines.
type record map[string]any // of float64, string and time.Time

// Run gives the rows that the query finds.
func (q *Query) Run(lines []Line, o Options) [][]Cell {
	records := make([]record, len(lines))
	for i, l := range lines {
		records[i] = read(l, o)
	}
	e := evaluator{o}
	for _, c := range q.commands {
		records = e.apply(c, records)
	}
	columns := q.Columns()
	if columns == nil {
		columns = []string{"@timestamp", "@message"}
	}
	rows := make([][]Cell, len(records))
	for i, r := range records {
		for _, name := range columns {
			if v, ok := r[name]; ok {
				rows[i] = append(rows[i], Cell{name, show(v)})
			}
		}
	}
	return rows
}

func read(l Line, o Options) record {
	r := record{"@timestamp": l.Time, "@message": l.Message, "@log": o.Account + ":" + l.Group}
	var object map[string]any
	if json.Unmarshal([]byte(l.Message), &object) == nil {
		flatten(r, "", object)
	}
	return r
}

// flatten names the members of objects and lists with dots.
func flatten(r record, prefix string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			flatten(r, strings.TrimPrefix(prefix+"."+key, "."), member)
		}
	case []any:
		for i, element := range v {
			flatten(r, prefix+"."+strconv.Itoa(i), element)
		}
	case bool:
		r[prefix] = map[bool]float64{true: 1}[v]
	case float64, string:
		r[prefix] = v
	}
}

func show(v any) string {
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Format(timeLayout)
	case float64:
		if math.Abs(v) >= 1e15 {
			return strings.ToUpper(strconv.FormatFloat(v, 'e', -1, 64))
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

type evaluator struct{ Options }

func (e evaluator) apply(c command, records []record) []record {
	switch c.name {
	case "filter":
		return slices.DeleteFunc(records, func(r record) bool { return e.eval(c.where, r) != true })
	case "fields", "display":
		for _, r := range records {
			for _, col := range c.columns {
				if v := e.eval(col.expr, r); v != nil {
					r[col.name] = v
				}
			}
		}
	case "stats":
		return e.stats(c, records)
	case "sort":
		sort.SliceStable(records, func(i, j int) bool {
			order := compare(e.eval(c.columns[0].expr, records[i]), e.eval(c.columns[0].expr, records[j]))
			return order < 0 && !c.desc || order > 0 && c.desc
		})
	case "limit":
		return records[:min(c.n, len(records))]
	}
	return records
}

func (e evaluator) stats(c command, records []record) []record {
	groups := map[string][]record{}
	var order []string
	for _, r := range records {
		var key string
		for _, by := range c.by {
			key += fmt.Sprintf("%v\x00", e.eval(by.expr, r))
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], r)
	}
	var rows []record
	for _, key := range order {
		row := record{}
		for _, by := range c.by {
			if v := e.eval(by.expr, groups[key][0]); v != nil {
				row[by.name] = v
			}
		}
		for _, col := range c.columns {
			if v := e.aggregate(col.expr, groups[key]); v != nil {
				row[col.name] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// aggregate evaluates an expression of functions over a group.
func (e evaluator) aggregate(x expr, group []record) any {
	switch {
	case x.op == "count(*)":
		return float64(len(group))
	case x.op == "literal":
		return x.value
	case !slices.Contains(aggregates, x.op):
		args := make([]any, len(x.args))
		for i, arg := range x.args {
			args[i] = e.aggregate(arg, group)
		}
		return arithmetic(x.op, args)
	}
	var values []any
	var latest any
	var at time.Time
	for _, r := range group {
		v := e.eval(x.args[0], r)
		if v == nil {
			continue
		}
		values = append(values, v)
		if t, ok := r["@timestamp"].(time.Time); ok && !t.Before(at) {
			at, latest = t, v
		}
	}
	if len(values) == 0 {
		return nil
	}
	slices.SortStableFunc(values, compare)
	var sum float64
	for _, v := range values {
		f, _ := v.(float64)
		sum += f
	}
	switch x.op {
	case "count_distinct":
		return float64(len(slices.CompactFunc(values, func(a, b any) bool { return compare(a, b) == 0 })))
	case "sum":
		return sum
	case "avg":
		return sum / float64(len(values))
	case "max":
		return milliseconds(values[len(values)-1])
	case "min":
		return milliseconds(values[0])
	case "pct":
		p, _ := x.args[1].value.(float64)
		return values[min(int(p/100*float64(len(values))), len(values)-1)]
	}
	return latest
}

// milliseconds is what a time becomes in an aggregate.
func milliseconds(v any) any {
	if t, ok := v.(time.Time); ok {
		return float64(t.UnixMilli())
	}
	return v
}

// eval gives a float64, a string, a time.Time, a bool or, of what is not
// there, nil.
func (e evaluator) eval(x expr, r record) any {
	switch x.op {
	case "field":
		return r[x.name]
	case "literal":
		return x.value
	case "ispresent":
		return e.eval(x.args[0], r) != nil
	case "and":
		return e.eval(x.args[0], r) == true && e.eval(x.args[1], r) == true
	case "or":
		return e.eval(x.args[0], r) == true || e.eval(x.args[1], r) == true
	}
	args := make([]any, len(x.args))
	for i, arg := range x.args {
		args[i] = e.eval(arg, r)
	}
	if slices.Contains(args, nil) {
		if x.op == "!=" {
			return e.MissingDiffers
		}
		return nil
	}
	switch x.op {
	case "in":
		return slices.ContainsFunc(args[1:], func(v any) bool { return compare(args[0], v) == 0 })
	case "=":
		return compare(args[0], args[1]) == 0
	case "!=":
		return compare(args[0], args[1]) != 0
	case "<":
		return compare(args[0], args[1]) < 0
	case "<=":
		return compare(args[0], args[1]) <= 0
	case ">":
		return compare(args[0], args[1]) > 0
	case ">=":
		return compare(args[0], args[1]) >= 0
	}
	return arithmetic(x.op, args)
}

func arithmetic(op string, args []any) any {
	a, ok := args[0].(float64)
	b, also := args[1].(float64)
	if !ok || !also {
		return nil
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "%":
		return math.Mod(a, b)
	}
	if b == 0 {
		return nil
	}
	return a / b
}

// compare orders numbers before times before text, and what is missing before
// all.
func compare(a, b any) int {
	switch x := a.(type) {
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	}
	return cmp.Compare(rank(a), rank(b))
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case float64:
		return 1
	case time.Time:
		return 2
	}
	return 3
}

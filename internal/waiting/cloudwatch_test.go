package waiting

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/awstest"
)

// logged is a CloudWatch with lines of an image.
type logged struct {
	*awstest.Server
	logs  *awstest.Logs
	image digest.Digest
	start time.Time
	log   *CloudWatch
}

func newLogged(t *testing.T) *logged {
	l := &logged{Server: awstest.Start(t), logs: awstest.NewLogs("filter", "generator"),
		image: digest.FromString("image"),
		start: time.UnixMilli(1_767_323_045_000)}
	l.Handle("logs", l.logs)
	l.log = &CloudWatch{API: cloudwatchlogs.NewFromConfig(l.Config()), Groups: []string{"filter", "generator"},
		Repository: "team/app", Tag: "1", Since: l.start}
	return l
}

func (l *logged) say(group string, after time.Duration, outcome string) {
	l.logs.AddLine(group, l.start.Add(after), fmt.Sprintf(
		`{"message":"image finished","repository":"team/app","digest":%q,"tag":"1","outcome":%q}`, l.image, outcome))
}

func (l *logged) read(t *testing.T, want ...string) {
	t.Helper()
	all, err := l.log.Read(t.Context(), l.image)
	var got []string
	for _, d := range all {
		got = append(got, d.Outcome)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// Each line is returned once, in the order of time, and one that CloudWatch shows
// late too.
func TestCloudWatch(t *testing.T) {
	l := newLogged(t)
	l.say("generator", -time.Second, "before")
	l.read(t)
	l.say("generator", 2*time.Second, "second")
	l.say("filter", time.Second, "first")
	l.say("filter", 3*time.Second, "third")
	l.read(t, "first", "second", "third")
	l.read(t)
	l.say("filter", 5*time.Minute, "fifth")
	l.read(t, "fifth")
	l.say("filter", 5*time.Minute-late, "shown late")
	l.say("filter", 5*time.Minute-late-time.Millisecond, "shown too late")
	l.say("generator", time.Minute, "of a group that is behind")
	l.read(t, "of a group that is behind", "shown late")
}

// What was read before an error is not lost.
func TestCloudWatchFails(t *testing.T) {
	l := newLogged(t)
	l.say("filter", time.Second, "first")
	l.say("generator", 2*time.Second, "second")
	l.log.Groups = []string{"filter", "gone"}
	if all, err := l.log.Read(t.Context(), l.image); err == nil {
		t.Fatalf("got %v", all)
	}
	l.log.Groups = []string{"filter", "generator"}
	l.read(t, "first", "second")
	l.say("filter", 10*time.Minute, "third")
	l.Handle("logs", http.NotFoundHandler())
	if all, err := l.log.Read(t.Context(), l.image); err == nil {
		t.Fatalf("got %v", all)
	}
	l.Handle("logs", l.logs)
	l.read(t, "third")
}

// crowded is a log group with lines of one minute, in pages of 2,500, the latest
// first as CloudWatch may have them.
type crowded struct {
	lines    []map[string]any
	requests int
	fails    map[int]bool // requests by their number
}

func newCrowded(l *logged, lines int) *crowded {
	c := &crowded{fails: map[int]bool{}}
	for i := range lines {
		c.add(l, fmt.Sprint(i), time.Duration(i)*time.Minute/time.Duration(lines))
	}
	slices.Reverse(c.lines)
	l.Handle("logs", awstest.JSON(map[string]func([]byte) (any, error){"FilterLogEvents": c.answer}))
	l.log.Groups = []string{"generator"}
	return c
}

func (c *crowded) add(l *logged, outcome string, after time.Duration) {
	c.lines = append(c.lines, map[string]any{"eventId": outcome, "timestamp": l.start.Add(after).UnixMilli(),
		"message": fmt.Sprintf(`{"message":"image finished","repository":"team/app","digest":%q,"tag":"1","outcome":%q}`,
			l.image, outcome)})
}

func (c *crowded) answer(body []byte) (any, error) {
	if c.requests++; c.fails[c.requests] {
		return nil, &awstest.Error{Status: http.StatusBadRequest, Code: "InvalidParameterException", Message: "token"}
	}
	var in struct {
		StartTime int64
		NextToken string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	const size = 2500
	first, _ := strconv.Atoi(in.NextToken)
	var events []map[string]any
	for _, line := range c.lines[first:min(first+size, len(c.lines))] {
		if line["timestamp"].(int64) >= in.StartTime {
			events = append(events, line)
		}
	}
	out := map[string]any{"events": events}
	if first+size < len(c.lines) {
		out["nextToken"] = fmt.Sprint(first + size)
	}
	return out, nil
}

// However many lines a minute has, and in whichever order, each is returned once;
// a part is read at a time, and nothing is returned before the end.
func TestCloudWatchHasManyLinesAMinute(t *testing.T) {
	for name, fails := range map[string][]int{"": nil, "a page fails": {6}, "pages fail": {2, 7, 12}} {
		t.Run(name, func(t *testing.T) {
			l := newLogged(t)
			c := newCrowded(l, 24_000)
			for _, n := range fails {
				c.fails[n] = true
			}
			var got []Decision
			for range 3 + 3*len(fails) {
				before := c.requests
				all, err := l.log.Read(t.Context(), l.image)
				if n := c.requests - before; n > 4 {
					t.Errorf("%d pages were read at once, want 4 at most", n)
				}
				if (err != nil) != c.fails[c.requests] {
					t.Errorf("%v", err)
				}
				if got = append(got, all...); len(got) > 0 {
					break
				}
			}
			for i, d := range got {
				if d.Outcome != fmt.Sprint(i) {
					t.Fatalf("line %d is %s", i, d.Outcome)
				}
			}
			if len(got) != len(c.lines) {
				t.Errorf("%d lines, want %d", len(got), len(c.lines))
			}
			c.add(l, "after it", time.Minute)
			var more []Decision
			for range 3 {
				all, err := l.log.Read(t.Context(), l.image)
				if err != nil {
					t.Fatal(err)
				}
				more = append(more, all...)
			}
			if len(more) != 1 || more[0].Outcome != "after it" {
				t.Errorf("then came %d lines", len(more))
			}
		})
	}
}

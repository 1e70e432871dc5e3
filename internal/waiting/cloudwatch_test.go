package waiting

import (
	"fmt"
	"net/http"
	"slices"
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
	l.say("generator", 5*time.Minute-late, "shown late")
	l.say("generator", 5*time.Minute-late-time.Millisecond, "shown too late")
	l.read(t, "shown late")
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

// A log that goes on and on is read a part at a time.
func TestCloudWatchIsBounded(t *testing.T) {
	l := newLogged(t)
	pages := 0
	l.Handle("logs", awstest.JSON(map[string]func([]byte) (any, error){"FilterLogEvents": func([]byte) (any, error) {
		pages++
		events := make([]map[string]any, maxLines/4)
		for i := range events {
			events[i] = map[string]any{"eventId": fmt.Sprint(pages, i), "timestamp": l.start.UnixMilli(),
				"message": "x"}
		}
		if pages > 20 {
			return map[string]any{"events": events}, nil
		}
		return map[string]any{"events": events, "nextToken": fmt.Sprint(pages)}, nil
	}}))
	l.log.Groups = []string{"generator"}
	if l.read(t); pages != 4 {
		t.Errorf("%d pages were read, want 4", pages)
	}
}

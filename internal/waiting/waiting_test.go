package waiting

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// said is a log of lines that come at seconds of the waiting.
type said struct {
	clock *clock
	at    []time.Duration
	lines []Decision
}

func (s *said) Read(context.Context, digest.Digest) ([]Decision, error) {
	var all []Decision
	for len(s.at) > 0 && s.at[0] <= s.clock.now.Sub(time.Unix(0, 0)) {
		d := s.lines[0]
		d.At = time.Unix(0, 0).Add(s.at[0])
		all, s.at, s.lines = append(all, d), s.at[1:], s.lines[1:]
	}
	return all, nil
}

// clock is passed by waiting alone; at its time, then happens.
type clock struct {
	now  time.Time
	at   time.Duration
	then func()
}

func (c *clock) sleep(_ context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	if c.then != nil && c.now.Sub(time.Unix(0, 0)) >= c.at {
		c.then()
		c.then = nil
	}
	return nil
}

func TestWait(t *testing.T) {
	small := registrytest.Image{Layers: []registrytest.Layer{{Content: testlayers.Noise(1, 100)}}}
	s := registrytest.Start(t)
	push := func(name string, i registrytest.Image) func() {
		return func() { s.PushImage(t, name, "1", i) }
	}
	everything, err := filters.Parse("*:*")
	if err != nil {
		t.Fatal(err)
	}
	var (
		passed = Decision{Message: messages.PassedOn, EventID: "1"}
		handed = func(execution string) Decision {
			return Decision{Message: messages.HandedOver, Execution: execution}
		}
		indexed = Decision{Message: messages.Finished, EventID: "1", Outcome: "indexed",
			SociReason: "an image has the tag"}
		gone   = Decision{Message: "image gone", Reason: "it is not there"}
		failed = Decision{Message: "image failed", EventID: "1", Class: "permanent", Reason: "corrupt",
			Error: "bad bytes"}
		again = Decision{Message: "image failed", EventID: "1", Class: "transient", Reason: "throttled",
			Error: "slowly"}
	)
	const second = time.Second
	for _, tt := range []struct {
		name    string
		at      []time.Duration
		lines   []Decision
		noLog   bool
		ends    time.Duration // when the execution x-1 is stopped
		then    func(name string) func()
		err     error
		text    string
		seconds float64 // at least
	}{
		{name: "nothing", noLog: true, err: ErrTimeUp, text: "no SOCI index", seconds: 120},
		{name: "no event", err: ErrTimeUp, text: "the builder has logged nothing of it", seconds: 120},
		{name: "a failure", at: []time.Duration{20 * second}, lines: []Decision{failed}, err: ErrNone,
			text: "the builder failed: a layer or manifest is damaged: bad bytes", seconds: 20},
		{name: "a failure, and another event", at: []time.Duration{second, 4 * second},
			lines: []Decision{again, failed},
			err:   ErrNone, text: "damaged: bad bytes", seconds: 4},
		{name: "lines in the wrong order", at: []time.Duration{second, second}, lines: []Decision{failed, passed},
			err: ErrNone, text: "damaged: bad bytes", seconds: 1},
		{name: "the same event once more", at: []time.Duration{0, 0, 0}, lines: []Decision{
			{Message: "event failed", EventID: "1", Class: "permanent"}, passed, again},
			err: ErrTimeUp, text: "last attempt failed: there were too many requests: slowly", seconds: 120},
		{name: "finished without an index", at: []time.Duration{3 * second}, lines: []Decision{indexed}, err: ErrNone,
			text: "the builder has finished (indexed: an image has the tag), and no SOCI index", seconds: 33},
		{name: "finished, then another event", at: []time.Duration{3 * second, 20 * second},
			lines: []Decision{indexed, {Message: messages.HandedOver}}, err: ErrTimeUp,
			text:    "the builder's state machine works on it",
			seconds: 120},
		{name: "stopped", at: []time.Duration{second}, lines: []Decision{handed("x-1")},
			ends: 50 * second, err: ErrNone, text: "the builder failed: the execution x-1 was stopped", seconds: 50},
		{name: "stopped, then another event", at: []time.Duration{second, 50 * second},
			lines: []Decision{handed("x-1"), handed("x-2")},
			ends:  50 * second, err: ErrTimeUp, text: "the builder's state machine works on it", seconds: 120},
		{name: "no platform is chosen", at: []time.Duration{second}, lines: []Decision{{Message: messages.Finished,
			Outcome: "platform-not-chosen", Reason: "the image has a, and chosen are b"}}, err: ErrNone,
			text: "chosen: the image has a, and chosen are b: to have it indexed, add its platform to the stack's"},
		{name: "gone", at: []time.Duration{second}, lines: []Decision{gone}, err: ErrNone,
			text: "image gone: it is not there"},
		{name: "the tag moved", noLog: true, then: func(name string) func() {
			return push(name, registrytest.Image{Layers: []registrytest.Layer{{Content: testlayers.Noise(2, 100)}}})
		}, err: ErrNone, text: "now names sha256:", seconds: 10},
		{name: "deleted", noLog: true, then: func(string) func() {
			return func() {
				s.Add(registrytest.Rule{Path: "^/v2/team/deleted/manifests/", Fault: registrytest.Status(404,
					"MANIFEST_UNKNOWN", "")})
			}
		}, err: ErrNone, text: "it was deleted", seconds: 10},
		{name: "the registry fails for a while", noLog: true, then: func(string) func() {
			return func() {
				s.Add(registrytest.Rule{Path: "^/v2/team/the-registry-fails-for-a-while/",
					Fault: registrytest.Status(500, "UNKNOWN", "")})
			}
		}, err: ErrTimeUp, text: "500", seconds: 120},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "team/" + strings.NewReplacer(" ", "-", ",", "").Replace(tt.name)
			push(name, small)()
			repository, err := ecrclient.New(s.Host()+"/"+name+":1",
				ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			if err != nil {
				t.Fatal(err)
			}
			c := &clock{now: time.Unix(0, 0), at: 10 * second}
			if tt.then != nil {
				c.then = tt.then(name)
			}
			w := &Wait{Source: One(repository, name, "1"), For: 2 * time.Minute, Note: func(string) {},
				Options: inventory.Options{IndexVersion: soci.Both, All: true, Tags: map[string][]string{name: {"1"}},
					Rules: filters.Rules{Filters: everything, TagSuffix: "-soci"}},
				Now: func() time.Time { return c.now }, Sleep: c.sleep}
			if !tt.noLog {
				w.Log = &said{c, tt.at, tt.lines}
			}
			w.Ended = func(_ context.Context, name string) (string, error) {
				if name == "x-1" && tt.ends > 0 && c.now.Sub(time.Unix(0, 0)) >= tt.ends {
					return "was stopped", nil
				}
				return "", nil
			}
			r, err := w.Run(t.Context())
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, want %v: %s", err, tt.err, tt.text)
			}
			if r.Seconds < tt.seconds || r.Seconds > tt.seconds+maxPause.Seconds() {
				t.Errorf("after %v seconds, want %v", r.Seconds, tt.seconds)
			}
		})
	}
}

// Every line that decides is understood, and nothing else.
func TestDecision(t *testing.T) {
	text := func(fields map[string]string) string {
		b, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	fields := map[string]string{"message": "image finished", "repository": "a", "digest": "d", "tag": "t",
		"outcome": "untagged"}
	if d, ok := decision(time.Time{}, text(fields), "a", "d", "t"); !ok || d.Outcome != "untagged" {
		t.Errorf("%+v %t", d, ok)
	}
	for name, value := range map[string]string{"message": "layer finished", "repository": "b", "digest": "e",
		"tag": ""} {
		was := fields[name]
		fields[name] = value
		if _, ok := decision(time.Time{}, text(fields), "a", "d", "t"); ok {
			t.Errorf("a line with %s %q decides", name, value)
		}
		fields[name] = was
	}
}

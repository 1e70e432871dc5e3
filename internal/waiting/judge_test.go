package waiting

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// What an image has decides whether it is waited for.
func TestJudge(t *testing.T) {
	tagged := func(state soci.EnabledState) soci.EnabledStatus {
		return soci.EnabledStatus{Tag: "1", EnabledTag: "1-soci", State: state, Reason: "why it has none"}
	}
	for _, tt := range []struct {
		name         string
		version      soci.IndexVersion
		tagUnindexed bool
		record       inventory.Record
		ready        bool
		none         string // in the error; "" for none
	}{
		{"indexed", soci.Both, false, inventory.Record{State: inventory.StateIndexed}, true, ""},
		{"missing", soci.Both, false, inventory.Record{State: inventory.StateMissing}, false, ""},
		{"missing, and the suffixed tag too", soci.Both, false,
			inventory.Record{State: inventory.StateMissing, Enabled: tagged(soci.EnabledAbsent)}, false, ""},
		{"missing, and the suffixed tag is another's", soci.Both, false, inventory.Record{State: inventory.StateMissing,
			Reason: "the tag is taken", Enabled: tagged(soci.EnabledForeign)}, false, "the tag is taken"},
		{"missing, and the suffixed tag does not matter", soci.V1, false,
			inventory.Record{State: inventory.StateMissing, Enabled: tagged(soci.EnabledForeign)}, false, ""},
		{"no room for the suffix", soci.Both, false, inventory.Record{State: inventory.StateIndexed,
			Enabled: soci.EnabledStatus{Tag: "1", Reason: "too long"}}, false, "v2: too long"},
		{"no room for the suffix, which V1 does not need", soci.V1, false,
			inventory.Record{State: inventory.StateIndexed,
				Enabled: soci.EnabledStatus{Tag: "1", Reason: "too long"}}, true, ""},
		{"nothing to index", soci.Both, false,
			inventory.Record{State: inventory.StateNothing, Enabled: tagged(soci.EnabledAbsent)}, false,
			"nothing-to-index"},
		{"nothing to index, and its tag is to come", soci.Both, true,
			inventory.Record{State: inventory.StateNothing, Enabled: tagged(soci.EnabledAbsent)}, false, ""},
		{"nothing to index, and its tag is another's", soci.V2, true,
			inventory.Record{State: inventory.StateNothing, Enabled: tagged(soci.EnabledForeign)}, false,
			"nothing-to-index"},
		{"nothing to index, and its tag is there", soci.Both, true,
			inventory.Record{State: inventory.StateUnindexable, Enabled: tagged(soci.EnabledUnindexed)}, true, ""},
		{"nothing to index, and no tag is made", soci.V1, true,
			inventory.Record{State: inventory.StateNothing, Enabled: tagged(soci.EnabledAbsent)}, false,
			"nothing-to-index"},
		{"no image", soci.Both, false, inventory.Record{State: inventory.StateNoImage, Reason: "signature"}, false,
			"not an image to index, but: signature"},
		{"opted out", soci.Both, false, inventory.Record{State: inventory.StateOptedOut, Reason: "the label says so"},
			false, "the label says so"},
	} {
		w := &Wait{Options: inventory.Options{IndexVersion: tt.version}, TagUnindexed: tt.tagUnindexed}
		ready, err := w.judge(&tt.record)
		if ready != tt.ready || (err != nil) != (tt.none != "") {
			t.Errorf("%s: ready: %t, %v, want %t, %q", tt.name, ready, err, tt.ready, tt.none)
		}
		if err != nil && (!errors.Is(err, ErrNone) || !strings.Contains(err.Error(), tt.none)) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, ErrNone, tt.none)
		}
	}
}

// A filter's line of one event does not hide the failure of another.
func TestDecisionsOfTwoEvents(t *testing.T) {
	at := time.Unix(0, 0)
	var b builder
	b.take(&Decision{At: at, Message: "image failed", Class: "permanent", Reason: "corrupt", EventID: "1"})
	b.take(&Decision{At: at.Add(time.Millisecond), Message: messages.PassedOn, EventID: "1"})
	if b.none == "" {
		t.Error("the filter's late line of the same event counts")
	}
	b.take(&Decision{At: at.Add(time.Second), Message: messages.PassedOn, EventID: "2"})
	if b.none != "" {
		t.Errorf("another event was passed on, and still %s", b.none)
	}
}

// Whether the state machine works is asked until that fails, which is said once.
func TestEndedUnknown(t *testing.T) {
	s := registrytest.Start(t)
	s.PushImage(t, "team/app", "1", registrytest.Image{})
	repository, err := ecrclient.New(s.Host() + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	everything, err := filters.Parse("*:*")
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.Unix(0, 0)}
	asked, notes := 0, 0
	w := &Wait{Source: One(repository, "team/app", "1"), For: time.Minute,
		Options: inventory.Options{IndexVersion: soci.Both, All: true, Tags: map[string][]string{"team/app": {"1"}},
			Rules: filters.Rules{Filters: everything, TagSuffix: "-soci"}},
		TagUnindexed: true,
		Log:          &said{c, []time.Duration{0}, []Decision{{Message: messages.HandedOver, Execution: "x-1"}}},
		Ended: func(context.Context, string) (string, error) {
			asked++
			return "", errors.New("not allowed")
		},
		Note: func(string) {},
		Warn: func(text string) {
			if strings.Contains(text, "not allowed") {
				notes++
			}
		},
		Now: func() time.Time { return c.now }, Sleep: c.sleep}
	if _, err := w.Run(t.Context()); !errors.Is(err, ErrTimeUp) || asked != 1 || notes != 1 {
		t.Errorf("%v; asked %d times, noted %d times", err, asked, notes)
	}
}

package backfill_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// awaiting is an Await whose pauses do something in their turn; time passes in
// them alone.
type awaiting struct {
	backfill.Await
	now      time.Time
	pauses   []func()
	progress []int
}

func newAwaiting(s *registrytest.Server, total time.Duration, pauses ...func()) *awaiting {
	a := &awaiting{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), pauses: pauses}
	a.Await = backfill.Await{
		Source:   func(names []string) inventory.Source { return inventory.Registry(s.Host(), names) },
		Options:  inventory.Options{Rules: rules, MinLayerSize: 1},
		For:      total,
		Progress: func(done int) { a.progress = append(a.progress, done) },
		Now:      func() time.Time { return a.now },
		Sleep: func(ctx context.Context, d time.Duration) error {
			a.now = a.now.Add(d)
			if len(a.pauses) > 0 {
				a.pauses[0]()
				a.pauses = a.pauses[1:]
			}
			return ctx.Err()
		},
	}
	return a
}

func TestAwait(t *testing.T) {
	s := registrytest.Start(t)
	for i, name := range []string{"team/a", "team/b", "team/c"} {
		push(t, s, name, "v1", layer(t, testlayers.Noise(uint64(i), 64<<10)))
	}
	push(t, s, "team/a", "v2", layer(t, testlayers.Noise(9, 64<<10)))
	src := inventory.Registry(s.Host(), []string{"team/a", "team/b", "team/c"})
	items := plan(t, src).Items
	index := func(names ...string) func() {
		return func() {
			var some []backfill.Item
			for _, i := range items {
				if slices.Contains(names, i.Name()) {
					some = append(some, i)
				}
			}
			l := &backfill.Local{Source: src,
				Options: soci.Options{IndexVersion: soci.Both, TagSuffix: "-soci", MinLayerSize: 1}}
			if err := l.Run(t.Context(), some, func(backfill.Result) {}); err != nil {
				t.Error(err)
			}
		}
	}
	nothing := func() {}
	moved := func() { push(t, s, "team/c", "v1", layer(t, testlayers.Noise(77, 64<<10))) }
	a := newAwaiting(s, time.Hour, index("team/a:v1", "team/b:v1"), nothing, moved, index("team/a:v2"))
	left, err := a.Run(t.Context(), items)
	if err != nil || len(left) != 0 {
		t.Errorf("Run = %q, %v", namesOf(left), err)
	}
	// team/c:v1 is another image by now, which somebody else waits for.
	if want := []int{0, 2, 2, 3, 4}; !slices.Equal(a.progress, want) {
		t.Errorf("done %v, want %v", a.progress, want)
	}
	// The first pauses are 2, 4, 8 and 16 seconds.
	if got, want := a.now.Sub(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), 30*time.Second; got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

func TestAwaitTooLong(t *testing.T) {
	s := registrytest.Start(t)
	push(t, s, "team/a", "v1", layer(t, testlayers.Noise(1, 64<<10)))
	push(t, s, "team/b", "v1", layer(t, testlayers.Noise(2, 64<<10)))
	items := plan(t, inventory.Registry(s.Host(), []string{"team/a", "team/b"})).Items
	items = append(items, backfill.Item{Repository: "team/a", Tag: "gone", Digest: digest.FromString("gone")})

	// A repository that cannot be seen for a while is waited for.
	down := func() {
		s.Add(registrytest.Rule{Path: "^/v2/team/b/", Fault: registrytest.Status(http.StatusForbidden, "DENIED", "no")})
	}
	a := newAwaiting(s, 75*time.Second, down, s.Clear)
	left, err := a.Run(t.Context(), items)
	if err != nil || !slices.Equal(namesOf(left), []string{"team/a:v1", "team/b:v1"}) {
		t.Errorf("Run = %q, %v, want what is there, and no error", namesOf(left), err)
	}
	if want := []int{1, 1, 1, 1, 1, 1, 1}; !slices.Equal(a.progress, want) {
		t.Errorf("done %v, want %v", a.progress, want)
	}
	down()
	if left, err := newAwaiting(s, 0).Run(t.Context(), items); err == nil || len(left) != 2 {
		t.Errorf("Run = %q, %v, want why team/b cannot be seen", namesOf(left), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := newAwaiting(s, time.Hour, cancel).Run(ctx, items); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
}

// An image that failed for good is not waited for, and is listed as not indexed.
func TestAwaitFailed(t *testing.T) {
	s := registrytest.Start(t)
	push(t, s, "team/a", "v1", layer(t, testlayers.Noise(1, 64<<10)))
	push(t, s, "team/b", "v1", layer(t, testlayers.Noise(2, 64<<10)))
	items := plan(t, inventory.Registry(s.Host(), []string{"team/a", "team/b"})).Items
	a := newAwaiting(s, time.Hour)
	looks := 0
	a.Failed = func(_ context.Context, left []backfill.Item) map[int]bool {
		looks++
		return map[int]bool{len(left) - 1: looks > 1} // one at each look but the first
	}
	left, err := a.Run(t.Context(), items)
	names := namesOf(left)
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"team/a:v1", "team/b:v1"}) {
		t.Errorf("Run = %q, %v", names, err)
	}
	if want := []int{0, 1, 2}; !slices.Equal(a.progress, want) {
		t.Errorf("done %v, want %v", a.progress, want)
	}
	if waited := a.now.Sub(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); waited != 6*time.Second {
		t.Errorf("it waited %v", waited)
	}
}

package deploy_test

import (
	"maps"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
)

func detached(m *deploy.Mode) { m.Detach = true }

// Without waiting for the end the protection from termination is set all the same,
// or taken away, where the stack was there before.
func TestDetachProtects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	yes, no := true, false
	for i, want := range []*bool{&yes, &no} {
		w.stacks.Pace = 1
		filters := []string{"a/*:*", "b/*:*"}[i]
		screen := w.run(w.managed(settings.Settings{Filters: filters, TerminationProtection: want}, detached))
		if s := w.stacks.Stack("prod"); s.Protected != *want || s.Status != "UPDATE_IN_PROGRESS" ||
			!screen.has("step termination protection") {
			t.Errorf("protected %t, the stack is %s, said %q", s.Protected, s.Status, screen.said)
		}
		w.stacks.Pace = 1000
		w.run(w.managed(settings.Settings{}, nil))
	}
}

// A creation that fails must be deleted, which protection would forbid: without
// waiting a new stack gets none, and the next deploy sets it.
func TestDetachedCreationFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stacks.Pace = 1
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	yes := true
	screen := w.run(w.managed(settings.Settings{TerminationProtection: &yes}, detached))
	if s := w.stacks.Stack("prod"); s.Protected || s.Status != "CREATE_IN_PROGRESS" ||
		!screen.has("left off because of --detach: a creation that fails must be deleted") {
		t.Errorf("protected %t, the stack is %s, said %q", s.Protected, s.Status, screen.said)
	}
	w.stacks.Pace = 1000
	w.run(w.managed(settings.Settings{TerminationProtection: &yes, DeleteFailed: true}, nil))
	if s := w.stacks.Stack("prod"); !s.Protected || s.Status != "CREATE_COMPLETE" {
		t.Errorf("protected %t, the stack is %s", s.Protected, s.Status)
	}
}

// Code that was changed in place is not put back while CloudFormation is at work:
// that is said, and the next deploy does it.
func TestDetachLeavesCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{}, nil))
	a := w.sums()
	w.version = "b"
	w.run(w.managed(settings.Settings{}, codeOnly))
	b := w.sums()
	w.version = "a"
	const left = "not done because of --detach: the code of FilterFunction, GeneratorFunction, " +
		"RepositoryNameFunction, StepsFunction was changed in place since the last deploy"
	if screen := w.run(w.managed(another, detached)); !maps.Equal(w.sums(), b) || !screen.has(left) {
		t.Errorf("said %q", screen.said)
	}
	if screen := w.run(w.managed(settings.Settings{}, nil)); !maps.Equal(w.sums(), a) || screen.has(left) {
		t.Errorf("said %q", screen.said)
	}
	// Where the stack does not change, nothing is waited for, and it is put back.
	w.version = "b"
	w.run(w.managed(settings.Settings{}, codeOnly))
	w.version = "a"
	if screen := w.run(w.managed(settings.Settings{}, detached)); !maps.Equal(w.sums(), a) || screen.has(left) {
		t.Errorf("said %q", screen.said)
	}
}

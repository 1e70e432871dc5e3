package deploy_test

import (
	"maps"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
)

func detached(m *deploy.Mode) { m.Detach = true }

// Without waiting for the end the protection from termination is set all the same,
// of a new stack and of one that is updated.
func TestDetachProtects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stacks.Pace = 1
	yes, no := true, false
	w.run(w.managed(settings.Settings{TerminationProtection: &yes}, detached))
	if s := w.stacks.Stack("prod"); !s.Protected || s.Status != "CREATE_IN_PROGRESS" {
		t.Errorf("protected %t, the stack is %s", s.Protected, s.Status)
	}
	w.stacks.Pace = 1000
	w.run(w.managed(settings.Settings{}, nil))
	w.stacks.Pace = 1
	screen := w.run(w.managed(settings.Settings{Filters: another.Filters, TerminationProtection: &no}, detached))
	if s := w.stacks.Stack("prod"); s.Protected || s.Status != "UPDATE_IN_PROGRESS" ||
		!screen.has("step termination protection") {
		t.Errorf("protected %t, the stack is %s, said %q", s.Protected, s.Status, screen.said)
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

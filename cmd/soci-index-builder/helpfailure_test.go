package main

import (
	"errors"
	"strings"
	"testing"
)

type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// Help that cannot be written is a failure.
func TestHelpFailure(t *testing.T) {
	none := errors.New("no space left on device")
	for _, args := range []string{"--help", "index --help", "help index", ""} {
		root := newRootCommand()
		root.SetOut(full{none})
		root.SetArgs(strings.Fields(args))
		failure := noteHelpFailure(root)
		if err := root.ExecuteContext(t.Context()); err != nil || !errors.Is(*failure, none) {
			t.Errorf("%q: %v, and the help fails with %v", args, err, *failure)
		}
		var b strings.Builder
		root = newRootCommand()
		root.SetOut(&b)
		root.SetArgs(strings.Fields(args))
		failure = noteHelpFailure(root)
		if err := root.ExecuteContext(t.Context()); err != nil || *failure != nil || b.Len() == 0 {
			t.Errorf("%q, with room: %v, %v, %d bytes", args, err, *failure, b.Len())
		}
	}
}

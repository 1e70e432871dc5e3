package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/internal/waiting"
)

const programName = "soci-index-builder"

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it failed, or a difference was found
	exitUsage   = 2 // the command line is wrong, nothing was done
	exitTimeUp  = 3 // wait has waited as long as it may

	exitInterrupted = 130 // as shells have it after Ctrl-C; what CloudFormation does goes on
)

// exitCodeHelp is what they mean, for the help text.
const exitCodeHelp = `Exit codes:
  0  all went well
  1  something failed, verify found a difference, or status --check an image that should be indexed
     and is not, or a named repository without an image
  2  the command line is wrong; nothing was done
  3  wait: the time is up, and the image may still get its SOCI index
  130  it was interrupted, with Ctrl-C; CloudFormation goes on with what deploy began`

// errReported stands for failures that were printed already, each on its line.
var errReported = errors.New("failed")

// interruptedError is what was interrupted, and what it has left.
type interruptedError struct {
	error
	left string
}

func (e *interruptedError) Unwrap() error { return e.error }

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitCode tells err on one line and returns the exit code for it.
func exitCode(ctx context.Context, stderr io.Writer, err error) int {
	var usage *usageError
	err = explain(err)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	case errors.Is(err, waiting.ErrTimeUp):
		printError(stderr, err)
		return exitTimeUp
	case isLeft(err):
		printError(stderr, err)
		return exitInterrupted
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		if terminal.Of(stderr).Live() {
			fmt.Fprint(stderr, "\r") // over the ^C that the terminal shows
		}
		text := "interrupted"
		if at, ok := errors.AsType[*interruptedError](err); ok {
			text += ": " + at.left
		}
		printError(stderr, errors.New(text))
		return exitInterrupted
	}
	printError(stderr, err)
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// printError tells err on one line, whatever its text holds. On a terminal it is
// broken between words, and commands stay whole.
func printError(stderr io.Writer, err error) { printErrorFor(terminal.Of(stderr), stderr, err) }

// printErrorFor is printError by way of a writer that leads to a screen.
func printErrorFor(screen terminal.Screen, w io.Writer, err error) {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	text := strings.Join(lines, "; ")
	if !strings.HasPrefix(text, programName) { // the path of a command begins with it
		text = programName + ": " + text
	}
	// The path of a command at the beginning is no command to be pasted, which would
	// stay whole.
	name := strings.Repeat("x", len(programName))
	filled := screen.Fill(name + strings.TrimPrefix(text, programName))
	fmt.Fprintln(w, screen.Paint(terminal.Bad, programName)+strings.TrimPrefix(filled, name))
}

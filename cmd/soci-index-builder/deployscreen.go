package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deploy/live"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/text/terminal"
)

// deployScreen shows a deploy: results on the standard output, what goes on on
// the standard error; or all of it as JSON, a line each.
type deployScreen struct {
	out, progress io.Writer
	terminal      *guided.Terminal // nil: nobody can be asked
	json          bool
	full          fullFlag
	quiet         bool  // what goes on is not shown, unless as JSON
	err           error // the first of writing to out
}

func newDeployScreen(cmd *cobra.Command, output outputFlag, terminal *guided.Terminal) *deployScreen {
	return &deployScreen{out: cmd.OutOrStdout(), progress: cmd.ErrOrStderr(), terminal: terminal,
		json: output == outputJSON, quiet: quiet(cmd)}
}

// write writes lines of a result, which fit a terminal.
func (s *deployScreen) write(format string, v ...any) {
	s.asIs(terminal.Of(s.out).FillLines(fmt.Sprintf(format, v...)))
}

// asIs writes what is not to be broken, such as a command to be copied.
func (s *deployScreen) asIs(text string) {
	if _, err := io.WriteString(s.out, text); err != nil && s.err == nil {
		s.err = err
	}
}

// flush writes a table of results.
func (s *deployScreen) flush(t *terminal.Table) {
	if err := t.Flush(); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *deployScreen) Step(name string) {
	if s.json {
		s.line(stepJSON{"step", name})
		return
	}
	if !s.quiet {
		fmt.Fprintln(s.progress, name)
	}
}

func (s *deployScreen) Say(text string) {
	if !s.quiet || s.json {
		s.Tell(text)
	}
}

func (s *deployScreen) Tell(text string) {
	if s.json {
		s.line(lineJSON{"line", text})
		return
	}
	fmt.Fprintln(s.progress, terminal.Of(s.progress).Fill("  "+live.OneLine(text)))
}

func (s *deployScreen) Changes(d *deploy.Deploy) {
	if s.json {
		s.changesJSON(d)
		return
	}
	if d.ChangeSet.Empty {
		s.write("stack %s: nothing to change\n", d.Settings.Stack)
		return
	}
	t := s.full.table(s.out, "")
	for _, c := range d.Choices {
		if old, value := c.Shown(); c.Changed() {
			if !c.Had {
				old = ""
			}
			if old != value { // not an empty one of a new stack
				t.Row("parameter", c.Name, changeset.Difference(old, value, bool(s.full)))
			}
		}
	}
	for _, tag := range d.TagChanges() {
		t.Row("tag", tag)
	}
	s.flush(t)
	s.write("\n")
	if err := changeset.Write(s.out, d.ChangeSet.Changes, bool(s.full)); err != nil && s.err == nil {
		s.err = err
	}
	s.write("\n%s\n", d.ChangeSet.Counts())
}

func (s *deployScreen) Events() live.Display {
	if s.json {
		return eventsJSON{s}
	}
	if s.quiet {
		return live.NewLines(io.Discard)
	}
	if screen := terminal.Of(s.progress); screen.Live() {
		return live.NewTree(s.progress, screen.Width, screen.Height)
	}
	return live.NewLines(s.progress)
}

func (s *deployScreen) Failed(o *execution.Outcome) {
	if s.json {
		s.line(newFailureJSON(o))
		return
	}
	f := o.Failure
	s.write("\n%s  %s (%s)\n", terminal.Of(s.out).Paint(terminal.Bad, "FAILED"), f.Root.LogicalID, f.Root.Type)
	s.write("  %s\n", live.OneLine(f.Root.Reason))
	for _, hook := range f.Hooks {
		s.write("  %s\n", live.OneLine(hook))
	}
	if f.Lines.Group != "" {
		s.write("  what it has logged, in %s:\n", f.Lines.Group)
		for _, line := range f.Lines.Text {
			s.write("    %s\n", live.OneLine(line))
		}
	}
	if m := f.Missing; m != nil {
		s.write("  missing permission: %s, for %s\n", m.Action, m.Principal)
		if m.Explicit {
			s.write("  a policy denies it%s, so that allowing it elsewhere does not help\n", of(m.Policy))
		} else {
			s.write("  allowed by this statement%s:\n", of(m.Policy))
			s.asIs("    " + m.Statement() + "\n")
		}
	}
	for _, other := range f.Others {
		s.write("  also failed: %s (%s): %s\n", other.LogicalID, other.Type, live.OneLine(other.Reason))
	}
	if f.Cancelled > 0 {
		s.write("  %s cancelled because of that\n", counted(f.Cancelled, "more was", "more were"))
	}
	s.write("  the stack is %s: %s\n", o.Status, meaning(o.Status))
}

// of names a kind of policy, when it is known.
func of(policy string) string {
	if policy == "" {
		return ""
	}
	return " (" + policy + " policy)"
}

// meaning says what became of a stack.
func meaning(status string) string {
	text, ok := map[string]string{
		"ROLLBACK_COMPLETE": "what had been made is gone; the next deploy deletes the rest, after asking or with " +
			"--delete-failed",
		"ROLLBACK_FAILED": "not all that had been made is gone; the next deploy deletes the rest, after asking or " +
			"with --delete-failed",
		"CREATE_FAILED":            "what had been made is left as it is; the next deploy deletes it, after asking",
		"UPDATE_ROLLBACK_COMPLETE": "it runs as before",
		"UPDATE_ROLLBACK_FAILED":   "the rollback failed; the next deploy continues it, after asking or with --yes",
		"UPDATE_FAILED":            "it is left between old and new; deploy again",
		"DELETE_FAILED":            "not all of it could be deleted; delete what is left by hand, then deploy again",
	}[status]
	if !ok {
		return "it did not do what it was to do"
	}
	return text
}

func (s *deployScreen) Outputs(outputs map[string]string) {
	if s.json {
		s.line(outputsJSON{"outputs", outputs})
		return
	}
	s.write("\n")
	t := s.full.table(s.out, "")
	var commands []string
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if value := outputs[name]; terminal.Of(s.out).Width > 0 && strings.HasPrefix(value, "aws ") {
			commands = append(commands, name+": "+value)
		} else {
			t.Row(name, value)
		}
	}
	s.flush(t)
	for _, text := range commands {
		s.write("%s\n", text)
	}
}

// Findings shows what is not well.
func (s *deployScreen) Findings(r *doctor.Report) {
	if s.json {
		s.line(examinedJSON{"doctor", newDoctorJSON(r)})
		return
	}
	s.write("\ndoctor: %s\n", severities(r))
	screen := terminal.Of(s.out)
	for _, f := range r.Findings {
		if f.Severity == doctor.OK {
			continue
		}
		subject := ""
		if f.Subject != "" {
			subject = f.Subject + ": "
		}
		found := fmt.Sprintf("  %s  %s  %s%s", severityText(screen, f.Severity), f.Check, subject, f.Found)
		s.write("%s\n", found)
		if f.Hint != "" {
			s.write("    -> %s\n", f.Hint)
		}
	}
}

func (s *deployScreen) Next(lines []string) {
	if s.json {
		s.line(nextJSON{"next", lines})
		return
	}
	s.write("\nwhat to do next\n")
	for _, line := range lines {
		s.write("  %s\n", line)
	}
}

func (s *deployScreen) files(names []string) {
	for _, name := range names {
		if s.json {
			s.line(writtenJSON{"file", name})
		} else {
			s.asIs(name + "\n")
		}
	}
}

// Ask asks on the terminal; an empty line is no.
func (s *deployScreen) Ask(ctx context.Context, question string) (bool, error) {
	if s.terminal == nil {
		return false, deploy.ErrConsent
	}
	return s.terminal.Confirm(ctx, question, false)
}

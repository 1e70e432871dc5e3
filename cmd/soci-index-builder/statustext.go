package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/soci"
)

// statusWriter writes what a survey finds, and what more there is to say than the
// reason, which begins with "; ".
type statusWriter interface {
	record(host string, source inventory.Source, r *inventory.Record, more string) error
	end(counts map[inventory.State]int) error
}

// statusText is a table and a line that sums it up.
type statusText struct {
	*printer
	table *terminal.Table
	full  fullFlag
	fix   string // for layers that cannot be indexed

	// For commands that are shown.
	aws      *awsFlags
	registry *registryFlags
}

func newStatusText(w io.Writer, full fullFlag, aws *awsFlags, registry *registryFlags) *statusText {
	s := &statusText{printer: newPrinter(w), table: full.table(w, ""), full: full, aws: aws, registry: registry}
	s.table.Head("IMAGE", "PUSHED", "V1", "V2", "STATE", "WHY")
	return s
}

func (s *statusText) record(host string, _ inventory.Source, r *inventory.Record, more string) error {
	name := r.Repository
	if host != "" {
		name = host + "/" + name
	}
	if r.Tag != "" {
		name += ":" + r.Tag
	} else {
		name += "@" + s.full.digest(r.Digest)
	}
	pushed := "-"
	if !r.PushedAt.IsZero() {
		pushed = r.PushedAt.UTC().Format(time.DateOnly)
	}
	why := r.Reason
	if r.State == inventory.StateIndexed {
		why = "by " + strings.Join(r.BuildTools, ", ")
	}
	most := 300
	if s.full {
		most = 10000
	}
	// What is said besides is not cut: it ends with a command.
	why = oneLine(why, most) + oneLine(more, 10000)
	if r.Surplus > 0 {
		why += fmt.Sprintf("; %s v1, clients may choose any: delete with: %s",
			counted(r.Surplus, "surplus SOCI index", "surplus SOCI indexes"),
			deleteSurplus(host, r.Repository, s.aws, s.registry))
	}
	if fix := r.Fix(); fix != "" {
		s.fix = fix
	}
	tone := stateTone(r.State)
	s.table.Row(name, pushed, v1Text[r.V1], v2Text[r.Enabled.State], s.screen.Paint(tone, string(r.State)),
		why)
	return nil
}

// stateTone says how good a state is.
func stateTone(state inventory.State) terminal.Tone {
	switch {
	case state == inventory.StateIndexed:
		return terminal.Good
	case state == inventory.StateUnknown:
		return terminal.Bad
	case state.ToIndex():
		return terminal.Warning
	case state.Lacking():
		return terminal.Bad
	}
	return terminal.Faint
}

var (
	v1Text = map[inventory.Coverage]string{
		"": "-", inventory.CoverNone: "no", inventory.CoverPart: "part", inventory.CoverFull: "yes",
		inventory.CoverUnknown: "?",
	}
	v2Text = map[soci.EnabledState]string{
		"": "-", soci.EnabledAbsent: "no", soci.EnabledMatches: "yes", soci.EnabledUnindexed: "unindexed",
		soci.EnabledStale: "stale", soci.EnabledDiffers: "differs", soci.EnabledBroken: "broken",
		soci.EnabledForeign: "other",
	}
)

func (s *statusText) end(counts map[inventory.State]int) error {
	if err := s.table.Flush(); err != nil {
		return err
	}
	s.printf("%s\n", statusSummary(counts))
	if s.fix != "" {
		s.printf("zstd layers cannot be indexed: %s\n", s.fix)
	}
	if counts[inventory.StatePlatformNotChosen] > 0 {
		s.printf("%s: %s\n", inventory.StatePlatformNotChosen, inventory.FixPlatforms)
	}
	return s.err
}

// statusSummary is "3 images: 2 indexed, 1 missing".
func statusSummary(counts map[inventory.State]int) string {
	var parts []string
	total := 0
	for _, state := range inventory.States {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
			total += n
		}
	}
	if total == 0 {
		return "no images"
	}
	return fmt.Sprintf("%s: %s", count(total, "image"), strings.Join(parts, ", "))
}

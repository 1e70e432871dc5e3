package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// statusWriter writes what a survey finds.
type statusWriter interface {
	record(host string, source inventory.Source, r *inventory.Record) error
	end(counts map[inventory.State]int) error
}

// statusText is a table and a line that sums it up.
type statusText struct {
	w     io.Writer
	table *tabwriter.Writer
	rows  int
	fix   string // for layers that cannot be indexed
}

func newStatusText(w io.Writer) *statusText {
	return &statusText{w: w, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (s *statusText) record(host string, _ inventory.Source, r *inventory.Record) error {
	if s.rows == 0 {
		fmt.Fprint(s.table, "IMAGE\tPUSHED\tV1\tV2\tSTATE\tWHY\n")
	}
	s.rows++
	name := r.Repository
	if host != "" {
		name = host + "/" + name
	}
	if r.Tag != "" {
		name += ":" + r.Tag
	} else {
		name += "@" + shortDigest(r.Digest)
	}
	pushed := "-"
	if !r.PushedAt.IsZero() {
		pushed = r.PushedAt.UTC().Format(time.DateOnly)
	}
	why := r.Reason
	if r.State == inventory.StateIndexed {
		why = "by " + strings.Join(r.BuildTools, ", ")
	}
	if r.Surplus > 0 {
		why += fmt.Sprintf("; %s v1, clients may choose any: delete with cleanup --surplus",
			counted(r.Surplus, "surplus SOCI index", "surplus SOCI indexes"))
	}
	if fix := r.Fix(); fix != "" {
		s.fix = fix
	}
	_, err := fmt.Fprintf(s.table, "%s\t%s\t%s\t%s\t%s\t%s\n", name, pushed, v1Text[r.V1], v2Text[r.Enabled.State],
		r.State, oneLine(why, 300))
	return err
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
	if _, err := fmt.Fprintln(s.w, statusSummary(counts)); err != nil || s.fix == "" {
		return err
	}
	_, err := fmt.Fprintf(s.w, "zstd layers cannot be indexed: %s\n", s.fix)
	return err
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

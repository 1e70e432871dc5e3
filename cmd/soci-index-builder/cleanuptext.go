package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// cleanupReport collects what is to go, and what became of it.
type cleanupReport struct {
	now          time.Time
	dryRun       bool
	full         fullFlag
	repositories int
	items        []cleanup.Item
	kept         []cleanup.Kept
	results      map[string]cleanup.Result // by Item.Reference

	deleted, gone, stayed, failed int
}

func (r *cleanupReport) add(plan *cleanup.Plan) {
	r.repositories++
	r.items = append(r.items, plan.Items...)
	r.kept = append(r.kept, plan.Kept...)
}

func (r *cleanupReport) done(result cleanup.Result) {
	if r.results == nil {
		r.results = map[string]cleanup.Result{}
	}
	r.results[result.Reference] = result
	switch result.Outcome {
	case cleanup.Deleted:
		r.deleted++
	case cleanup.Gone:
		r.gone++
	case cleanup.Stayed:
		r.stayed++
	default:
		r.failed++
	}
}

// What is said of items without a result.
const (
	wouldDelete = "would-delete" // in a dry run
	notTried    = "not-tried"    // an error came before them
)

// outcome is an item's outcome, as JSON has it.
func (r *cleanupReport) outcome(i cleanup.Item) (outcome, reason string) {
	result, ok := r.results[i.Reference]
	switch {
	case !ok && r.dryRun:
		return wouldDelete, ""
	case !ok:
		return notTried, ""
	}
	return string(result.Outcome), result.Reason
}

// deleteSurplus is the command that deletes the SOCI indexes v1 of a repository
// that a newer one has replaced. An empty host is that of the account's registry.
func deleteSurplus(host, repository string, from *awsFlags, registry *registryFlags) string {
	name := repository
	if host != "" {
		name = host + "/" + name
	}
	return programName + " cleanup --surplus --yes" + from.wordsFor(host) + registry.wordsFor(host) + " " + name
}

func (r *cleanupReport) failure() error {
	return fmt.Errorf("%d of %d could not be deleted; see their reasons, and try again", r.failed, len(r.items))
}

func (r *cleanupReport) writeText(w io.Writer) error {
	t := r.full.table(w, "")
	head := []string{"REPOSITORY", "TAG", "DIGEST", "KIND", "TOOL", "AGE", "SIZE"}
	if !r.dryRun {
		head = append(head, "OUTCOME")
	}
	t.Head(head...)
	t.Optional("TOOL")
	for _, i := range r.items {
		kind := i.Kind.Text()
		if i.PartOf != "" {
			kind = "+ " + kind
		}
		row := []string{i.Repository, orDash(strings.Join(i.Tags, ",")), r.full.digest(i.Digest), kind,
			orDash(strings.Join(i.Tools, ",")), r.age(i.PushedAt), bytesize.Format(i.Size)}
		if !r.dryRun {
			outcome, reason := r.outcome(i)
			row = append(row, because(strings.ReplaceAll(outcome, "-", " "), ": ", reason))
		}
		t.Row(row...)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := newPrinter(w)
	for _, i := range r.items {
		if i.Trouble != "" {
			p.printf("%s@%s: %s\n", i.Repository, r.full.digest(i.Digest), i.Trouble)
		}
	}
	p.printf("%s\n", r.summary())
	for _, line := range r.keptLines() {
		p.printf("%s\n", line)
	}
	return p.err
}

func (r *cleanupReport) summary() string {
	where := counted(r.repositories, "repository", "repositories")
	switch {
	case len(r.items) == 0:
		return "nothing to delete in " + where
	case r.dryRun:
		return fmt.Sprintf("would delete %s, %s, in %s; nothing was deleted, --yes deletes",
			counted(len(r.items), "manifest", "manifests"), bytesize.Format(cleanup.Size(r.items)), where)
	}
	var deleted, staying []cleanup.Item
	for _, i := range r.items {
		switch outcome, _ := r.outcome(i); outcome {
		case string(cleanup.Deleted):
			deleted = append(deleted, i)
		case string(cleanup.Gone):
		default:
			staying = append(staying, i)
		}
	}
	parts := []string{fmt.Sprintf("deleted %s, %s, in %s", counted(len(deleted), "manifest", "manifests"),
		bytesize.Format(cleanup.Size(deleted, staying...)), where)}
	for _, n := range []struct {
		count int
		what  string
	}{{r.gone, "gone before"}, {r.stayed, "kept after all"}, {r.failed, "failed"},
		{len(r.items) - len(r.results), "not tried"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	return strings.Join(parts, ", ")
}

// keptLines tells by kind and reason how many stay; which ones is for JSON.
func (r *cleanupReport) keptLines() []string {
	type group struct {
		kind         soci.Kind
		reason, tool string
	}
	n := map[group]int{}
	for _, k := range r.kept {
		g := group{kind: k.Kind, reason: string(k.Reason)}
		switch k.Reason {
		case cleanup.KeptOtherTool:
			g.tool = fmt.Sprintf(" (%s): --all-tools takes it too", k.Detail)
		case cleanup.KeptTagged:
			g.tool = ": --any-tag takes it too"
		case cleanup.KeptUncertain:
			g.tool = ": index the image again, which deletes the others"
		}
		n[g]++
	}
	var lines []string
	for g, count := range n {
		lines = append(lines, fmt.Sprintf("kept: %d %s, %s%s", count, g.kind.Text(), g.reason, g.tool))
	}
	slices.Sort(lines)
	return lines
}

// age tells how long ago something was, in its biggest unit.
func (r *cleanupReport) age(at time.Time) string {
	d := r.now.Sub(at)
	switch {
	case at.IsZero():
		return "-"
	case d < time.Minute:
		return "0m"
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// The JSON output of cleanup; its field names are promised in the help text.
type (
	cleanupJSON struct {
		DryRun bool              `json:"dryRun"`
		Items  []cleanupItemJSON `json:"items"`
		Kept   []cleanupItemJSON `json:"kept"`
		Totals cleanupTotalsJSON `json:"totals"`
	}

	cleanupItemJSON struct {
		Reference  string        `json:"reference"`
		Repository string        `json:"repository"`
		Digest     digest.Digest `json:"digest"`
		Tags       []string      `json:"tags,omitempty"`
		Kind       soci.Kind     `json:"kind"`
		Tools      []string      `json:"tools,omitempty"`
		PartOf     digest.Digest `json:"partOf,omitempty"`
		PushedAt   *time.Time    `json:"pushedAt,omitempty"`
		Size       int64         `json:"size"`
		Trouble    string        `json:"trouble,omitempty"`
		Outcome    string        `json:"outcome,omitempty"`
		Reason     string        `json:"reason,omitempty"`
	}

	cleanupTotalsJSON struct {
		Repositories int   `json:"repositories"`
		Items        int   `json:"itemCount"`
		Size         int64 `json:"size"`
		Deleted      int   `json:"deleted"`
		Gone         int   `json:"gone"`
		Kept         int   `json:"stayed"`
		Failed       int   `json:"failed"`
	}
)

func (r *cleanupReport) writeJSON(w io.Writer) error {
	out := cleanupJSON{DryRun: r.dryRun, Items: []cleanupItemJSON{}, Kept: []cleanupItemJSON{},
		Totals: cleanupTotalsJSON{
			Repositories: r.repositories, Items: len(r.items), Size: cleanup.Size(r.items),
			Deleted: r.deleted, Gone: r.gone, Kept: r.stayed, Failed: r.failed,
		}}
	for _, i := range r.items {
		one := newCleanupItemJSON(i)
		one.Outcome, one.Reason = r.outcome(i)
		out.Items = append(out.Items, one)
	}
	for _, k := range r.kept {
		one := newCleanupItemJSON(k.Item)
		one.Reason = string(k.Reason)
		if k.Detail != "" {
			one.Reason += ": " + k.Detail
		}
		out.Kept = append(out.Kept, one)
	}
	return writeJSONLine(w, out)
}

func newCleanupItemJSON(i cleanup.Item) cleanupItemJSON {
	one := cleanupItemJSON{
		Reference: i.Reference, Repository: i.Repository, Digest: i.Digest, Tags: i.Tags,
		Kind: i.Kind, Tools: i.Tools, PartOf: i.PartOf, Size: i.Size, Trouble: i.Trouble,
	}
	if !i.PushedAt.IsZero() {
		at := i.PushedAt.UTC()
		one.PushedAt = &at
	}
	return one
}

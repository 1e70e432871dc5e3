package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/text/bytesize"
)

// writePlan says what there is to do.
func (w *backfillWork) writePlan() error {
	out := w.cmd.OutOrStdout()
	p := newPrinter(out)
	if len(w.plan.Items) > 0 && w.dryRun {
		t := w.full.table(out, "")
		t.Head("REPOSITORY", "IMAGES", "LAYERS", "BYTES", "NEWEST", "OLDEST")
		for _, r := range byRepository(w.plan.Items) {
			t.Row(r.name, strconv.Itoa(r.images), strconv.Itoa(r.layers), bytesize.Format(r.bytes), date(r.newest),
				date(r.oldest))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	p.printf("%s\n", statusSummary(w.plan.States))
	if n := w.plan.States[inventory.StateFails] + w.plan.States[inventory.StateUnindexable]; n > 0 {
		p.printf("%s cannot be indexed: status --missing says why\n", count(n, "image"))
	}
	switch n := w.plan.States[inventory.StateArchived]; n {
	case 0:
	case 1:
		p.printf("1 image in ECR's archive storage class is left alone: restore it to have it indexed\n")
	default:
		p.printf("%d images in ECR's archive storage class are left alone: restore them to have them indexed\n", n)
	}
	if len(w.plan.Items) == 0 {
		p.printf("nothing to do\n")
		return p.err
	}
	layers, size := w.plan.Total()
	omitted := ""
	if w.plan.Omitted > 0 {
		omitted = fmt.Sprintf(" (%s left out by --limit)", counted(w.plan.Omitted, "more is", "more are"))
	}
	p.printf("to do: %s%s, %s of %s to read at most\n", count(len(w.plan.Items), "image"), omitted,
		count(layers, "layer"), bytesize.Format(size))
	tags := 0
	for _, i := range w.plan.Items {
		if i.TagOnly {
			tags++
		}
	}
	if tags > 0 {
		p.printf("%s of these with no layer to index: only the tag with the suffix %s is made\n", count(tags, "image"),
			w.options.Rules.TagSuffix)
	}
	if !w.local || w.dryRun && w.ofECR() {
		c := w.plan.CostOf(w.builder())
		p.printf("on Lambda with %d MB: about %s of the generator, %.0f GB-seconds, $%s (arm64) or $%s (x86-64)\n",
			w.memory(), about(time.Duration(c.Seconds*float64(time.Second))), c.GBSeconds, dollars(c.DollarsARM),
			dollars(c.DollarsX86))
		if c.HandedOver > 0 {
			p.printf("%s of these for the state machine: %s with %d MB, about %s, and %s; the sums include them\n",
				count(c.HandedOver, "image"), count(c.Steps, "invocation"), w.builder().StepsMemory,
				about(time.Duration(c.StepSeconds*float64(time.Second))), count(c.Transitions, "transition"))
		}
	}
	if r := w.rateOf(); r != nil && !w.local {
		p.printf("handed over within about %s\n", about(r.Total(w.plan.Items)))
	}
	return p.err
}

// dollars returns small sums with the digits that tell something.
func dollars(f float64) string {
	switch {
	case f > 0 && f < 0.00005:
		return "0.0001 at most"
	case f < 1:
		return fmt.Sprintf("%.4f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

// repositoryPlan is what there is to do in one repository.
type repositoryPlan struct {
	name           string
	images, layers int
	bytes          int64
	newest, oldest time.Time
}

// byRepository sums up the items, in the order in which the repositories come
// first.
func byRepository(items []backfill.Item) []*repositoryPlan {
	var all []*repositoryPlan
	at := map[string]*repositoryPlan{}
	for _, i := range items {
		r := at[i.Repository]
		if r == nil {
			r = &repositoryPlan{name: i.Repository, newest: i.PushedAt, oldest: i.PushedAt}
			at[i.Repository] = r
			all = append(all, r)
		}
		r.images++
		r.layers += i.Layers
		r.bytes += i.Bytes
		if i.PushedAt.After(r.newest) {
			r.newest = i.PushedAt
		}
		if i.PushedAt.Before(r.oldest) {
			r.oldest = i.PushedAt
		}
	}
	return all
}

// line tells of one image, where there is no bar.
func (w *backfillWork) line(r *backfill.Result) string {
	switch {
	case r.Err != nil:
		return "failed: " + w.full.image(r.Name())
	case r.Index != nil:
		return fmt.Sprintf("%s: %s, %s read, %s pushed, %.1f s%s", w.full.image(r.Name()), r.Index.Outcome().Text(),
			bytesize.Format(r.Index.BytesRead), bytesize.Format(r.Index.BytesPushed), r.Seconds, olderLine(r))
	}
	return fmt.Sprintf("%s: handed over as %s", w.full.image(r.Name()), r.EventID)
}

// olderLine says what became of the SOCI indexes v1 that were replaced.
func olderLine(r *backfill.Result) string {
	var deleted, kept int
	var why error
	for _, o := range r.Older {
		if o.Err == nil {
			deleted++
		} else {
			kept, why = kept+1, o.Err
		}
	}
	line := ""
	if deleted > 0 {
		line += fmt.Sprintf(", %s v1 deleted", counted(deleted, "older SOCI index", "older SOCI indexes"))
	}
	if kept > 0 {
		line += fmt.Sprintf(", %s v1 kept (%s)", counted(kept, "older SOCI index", "older SOCI indexes"),
			oneLine(whyKept(why), 300))
	}
	if r.Unknown != nil {
		line += ", " + oneLine(explain(r.Unknown).Error(), 300)
	}
	return line
}

// writeEnd says what was done.
func (w *backfillWork) writeEnd() error {
	if w.output == outputJSON {
		return w.writeEndJSON()
	}
	p := newPrinter(w.cmd.OutOrStdout())
	switch {
	case len(w.plan.Items) == 0:
	case w.dryRun:
		p.printf("dry run: nothing was done\n")
	case w.local:
		p.printf("%d done, %d failed, of %s\n", len(w.done), len(w.failures), count(len(w.plan.Items), "image"))
	default:
		p.printf("%d handed to %s, %d failed, of %s\n", len(w.done), w.stack.Outputs[deployed.OutFilterFunctionName],
			len(w.failures), count(len(w.plan.Items), "image"))
		if w.wait > 0 {
			p.printf("%d indexed, %d not yet\n", len(w.done)-len(w.notIndexed), len(w.notIndexed))
		}
		if w.wait == 0 || len(w.notIndexed) > 0 {
			of := w.look.rules.stack.name + w.look.rules.aws.words()
			p.asIs(fmt.Sprintf("what is left:  %s status --stack %s --missing\n", programName, of))
			p.asIs(fmt.Sprintf("what failed:   %s redrive --stack %s\n", programName, of))
		}
	}
	return p.err
}

// backfillJSON is the JSON output; its field names are promised in the help
// text.
type backfillJSON struct {
	Reference   string          `json:"reference"`
	Repository  string          `json:"repository"`
	Tag         string          `json:"tag,omitempty"`
	Digest      digest.Digest   `json:"digest"`
	PushedAt    *time.Time      `json:"pushedAt,omitempty"`
	State       inventory.State `json:"state"`
	Manifests   int             `json:"manifestCount"`
	Layers      int             `json:"layerCount"`
	Bytes       int64           `json:"bytes"`
	Result      string          `json:"result"`
	EventID     string          `json:"eventId,omitempty"`
	Outcome     string          `json:"outcome,omitempty"`
	BytesRead   int64           `json:"bytesRead,omitempty"`
	BytesPushed int64           `json:"bytesPushed,omitempty"`
	Seconds     float64         `json:"seconds,omitempty"`
	Error       string          `json:"error,omitempty"`
}

func (w *backfillWork) json(r *backfill.Result, result string) backfillJSON {
	out := backfillJSON{
		Reference: r.Name(), Repository: r.Repository, Tag: r.Tag, Digest: r.Digest, State: r.State,
		Manifests: r.Manifests, Layers: r.Layers,
		Bytes: r.Bytes, Result: result, EventID: r.EventID, Seconds: r.Seconds,
	}
	if repo, err := w.source.Open(r.Repository); err == nil { // which has a host
		out.Reference = repo.Name() + strings.TrimPrefix(r.Name(), r.Repository)
	}
	if !r.PushedAt.IsZero() {
		at := r.PushedAt.UTC()
		out.PushedAt = &at
	}
	if r.Index != nil {
		out.Outcome, out.BytesRead, out.BytesPushed = string(r.Index.Outcome()), r.Index.BytesRead, r.Index.BytesPushed
	}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	return out
}

// backfillLastJSON is the last object of the JSON output.
type backfillLastJSON struct {
	Summary backfillSummaryJSON `json:"summary"`
}

type backfillSummaryJSON struct {
	Images       int     `json:"imageCount"`
	Omitted      int     `json:"omitted"`
	Layers       int     `json:"layerCount"`
	Bytes        int64   `json:"bytes"`
	Failed       int     `json:"failed"`
	NotIndexed   int     `json:"notIndexed"`
	Archived     int     `json:"archived,omitempty"`
	Seconds      float64 `json:"seconds"`
	GBSeconds    float64 `json:"gbSeconds"`
	DollarsARM64 float64 `json:"dollarsArm64"`
	DollarsX86   float64 `json:"dollarsX86"`
	StateMachine int     `json:"stateMachine,omitempty"`
	StepSeconds  float64 `json:"stepSeconds,omitempty"`
	Transitions  int     `json:"transitions,omitempty"`
}

func (w *backfillWork) writeEndJSON() error {
	out := w.cmd.OutOrStdout()
	if w.dryRun {
		for n := range w.plan.Items {
			if err := writeJSONLine(out,
				w.json(&backfill.Result{Item: &w.plan.Items[n]}, "planned")); err != nil {
				return err
			}
		}
	}
	layers, size := w.plan.Total()
	c := w.plan.CostOf(w.builder())
	return writeJSONLine(out, backfillLastJSON{backfillSummaryJSON{
		Images: len(w.plan.Items), Omitted: w.plan.Omitted, Layers: layers, Bytes: size,
		Failed: len(w.failures), NotIndexed: len(w.notIndexed), Archived: w.plan.States[inventory.StateArchived],
		Seconds: c.Seconds, GBSeconds: c.GBSeconds, DollarsARM64: c.DollarsARM, DollarsX86: c.DollarsX86,
		StateMachine: c.HandedOver, StepSeconds: c.StepSeconds, Transitions: c.Transitions,
	}})
}

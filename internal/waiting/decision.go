package waiting

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/messages"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

// Decision is a line that a builder's function logged of an event of the image;
// docs/logs.md lists them.
type Decision struct {
	At      time.Time // when it was logged
	Message string

	Outcome, Reason, SociOutcome, SociReason string
	Class, Error                             string
	Filter                                   string // that chose or excluded the image
	Execution                                string // of the state machine
	EventID                                  string
}

// line is a line of the log as the functions write it.
type line struct {
	Message, Repository, Digest, Tag         string
	Outcome, Reason, SociOutcome, SociReason string
	Class, Error, Filter, Execution, EventID string
}

// decision returns what a line says of an image under a tag, false for a line
// that decides nothing or is about another.
func decision(at time.Time, text, repository, image, tag string) (Decision, bool) {
	var l line
	if json.Unmarshal([]byte(text), &l) != nil || l.Repository != repository || l.Digest != image || l.Tag != tag {
		return Decision{}, false
	}
	if !slices.Contains(messages.Decisions(), l.Message) {
		return Decision{}, false
	}
	return Decision{At: at, Message: l.Message, Outcome: l.Outcome, Reason: l.Reason, SociOutcome: l.SociOutcome,
		SociReason: l.SociReason, Class: l.Class, Error: l.Error, Filter: l.Filter, Execution: l.Execution,
		EventID: l.EventID}, true
}

// builder is what is known of the builder's work on the image. Only the latest
// event counts: one that failed may have been sent again.
type builder struct {
	seen     bool
	none     string // why there will be no SOCI index
	finished string // the outcome of one that has finished
	attempt  string // how the last attempt failed, which is made again
	reason   string // of that failure, or of the one for good, in the log's word

	last Decision
}

// together is how far apart the lines of two functions on an event can be in the
// wrong order: the filter writes its own when the generator was invoked.
const together = 2 * time.Second

// take adds a decision. It returns what is worth telling.
func (b *builder) take(d *Decision) (note string) {
	if d.Message == messages.PassedOn && b.last.Message != messages.EventFailed && d.EventID == b.last.EventID &&
		d.At.Sub(b.last.At) < together {
		return ""
	}
	*b = builder{seen: true, last: *d}
	failed := fmt.Sprintf("%s: %s", cmp.Or(failure.Reason(d.Reason).Text(), d.Reason), d.Error)
	switch d.Message {
	case messages.PassedOn:
		return "the builder has the event, and the filter " + d.Filter + " chooses it"
	case messages.HandedOver:
		return "the builder's state machine works on the layers: execution " + d.Execution
	case messages.Finished:
		what := soci.Outcome(d.Outcome).Text()
		if why := cmp.Or(d.Reason, d.SociReason); why != "" {
			what += ": " + why
		}
		switch soci.Outcome(d.Outcome) {
		case soci.OutcomeIndexed, soci.OutcomeNoLayer:
			b.finished = what
			return ""
		}
		b.none = "the builder has finished: " + what
		if soci.Outcome(d.Outcome) == soci.OutcomePlatformNotChosen {
			b.none += ": " + inventory.FixPlatforms
		}
	case messages.EventFailed, messages.Failed:
		b.reason = d.Reason
		if failure.Class(d.Class) == failure.Transient {
			b.attempt = failed
			return "an attempt failed and is made again: " + failed
		}
		b.none = "the builder failed: " + failed
	case messages.NotChosen:
		b.none = "no filter chooses it"
		if d.Filter != "" {
			b.none = "the filter " + d.Filter + " excludes it"
		}
	default: // messages.Gone, and what is left alone
		b.none = strings.TrimSuffix(d.Message+": "+d.Reason, ": ")
	}
	return ""
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	failures "soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/logquery"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/redrive"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/ecrclient"
)

// text shows a message to people, on some lines.
func (w *redriveWork) text(out io.Writer, m *redrive.Message) error {
	p := newPrinter(out)
	p.printf("message %s\n", m.ID)
	if image := m.Image(); image != "" {
		p.printf("  image     %s\n", w.full.image(image))
	}
	if m.Origin == redrive.Unknown {
		p.printf("  sent      %s\n", m.Failed.Format(time.RFC3339))
		p.printf("  body      %s\n", oneLine(m.Body, 400))
	} else {
		attempts := ""
		if m.Attempts > 0 {
			attempts = ", " + count(m.Attempts, "attempt")
		}
		p.printf("  failed    %s, %s%s\n", m.Failed.Format(time.RFC3339), w.where(m), attempts)
		p.printf("  reason    %s%s\n", oneLine(cmp.Or(m.Reason, "not told"), 100), prospect(m.Class))
		if m.Error != "" {
			p.printf("  error     %s\n", oneLine(m.Error, 1000))
		}
	}
	if m.Cut != nil {
		p.printf("  event     %s, cut: %s\n", bytesize.Format(int64(m.Cut.Size)), oneLine(m.Cut.Begin, 200))
	}
	p.printf("  received  %s\n", count(m.Received, "time"))
	if _, err := w.functions.Of(m); err != nil {
		p.printf("  no retry  %s\n", err)
	}
	if logs := w.logs(m); logs != "" {
		p.printf("  logs      %s\n", logs)
	}
	p.printf("\n")
	return p.err
}

// prospect says what another attempt promises; the reason is the word that --reason
// takes.
func prospect(class failures.Class) string {
	switch class {
	case failures.Transient:
		return ": another attempt may succeed"
	case failures.Permanent:
		return ": another attempt fails too, unless the cause is gone"
	}
	return ""
}

// where says which part of the stack failed.
func (w *redriveWork) where(m *redrive.Message) string {
	switch {
	case m.Origin == redrive.Rule:
		return "on the way from the rule to the filter"
	case m.Origin == redrive.Bare:
		return "unknown where"
	case ofFunction(m.FunctionARN, w.functions.Filter):
		return "in the filter"
	case ofFunction(m.FunctionARN, w.functions.Generator):
		return "in the generator"
	case m.Origin == redrive.Execution:
		return "in the state machine, execution " + oneLine(m.RequestID[strings.LastIndexByte(m.RequestID, ':')+1:], 80)
	case w.functions.Steps != "" && ofFunction(m.FunctionARN, w.functions.Steps):
		return "in the steps of the state machine"
	}
	return "in " + oneLine(m.FunctionARN, 200)
}

// ofFunction reports whether arn is a function's, or that of one of its
// versions.
func ofFunction(arn, function string) bool {
	return arn == function || strings.HasPrefix(arn, function+":")
}

// logs is the command that shows what the functions logged about the image,
// empty if there is none to ask about.
func (w *redriveWork) logs(m *redrive.Message) string {
	image, err := logquery.ParseImage(m.Image())
	if err != nil {
		return ""
	}
	if image.Digest != "" {
		image.Tag = "" // the digest says more
	}
	// A day more than it is ago, for the attempts before the last.
	days := int(time.Since(m.Failed)/day) + 2
	s := fmt.Sprintf("%s logs --stack %s --image %s --since %dd", programName, w.stack.name, image, days)
	return s + w.aws.words()
}

// oneLine makes a text from outside fit for a line of a terminal, of at most
// the given number of characters.
func oneLine(s string, most int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
	if len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return string(runes)
}

// referenceOf names the image of a message: HOST/NAME:TAG, or @DIGEST without a tag.
// An event that does not tell account and region has no host.
func referenceOf(m *redrive.Message) string {
	if m.Repository == "" {
		return ""
	}
	repository := m.Repository
	if host, err := ecrclient.RegistryHost(m.Account, m.Region); err == nil {
		repository = host + "/" + repository
	}
	return names.Named(repository, m.Tag, m.Digest)
}

// redriveJSON is the JSON output; its field names are promised in the help
// text.
type redriveJSON struct {
	ID         string            `json:"id"`
	Origin     redrive.Origin    `json:"origin"`
	Reference  string            `json:"reference,omitempty"`
	Repository string            `json:"repository,omitempty"`
	Tag        string            `json:"tag,omitempty"`
	Digest     string            `json:"digest,omitempty"`
	EventID    string            `json:"eventId,omitempty"`
	Failed     time.Time         `json:"failedAt"`
	Function   string            `json:"function,omitempty"`
	Attempts   int               `json:"attempts,omitempty"`
	Condition  string            `json:"condition,omitempty"`
	RequestID  string            `json:"requestId,omitempty"`
	Class      string            `json:"class,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Error      string            `json:"error,omitempty"`
	Received   int               `json:"received"`
	Event      json.RawMessage   `json:"event,omitempty"`
	Retriable  bool              `json:"retriable"`
	Hindrance  string            `json:"hindrance,omitempty"`
	Logs       string            `json:"logs,omitempty"`
	Result     string            `json:"result,omitempty"`
	Failure    string            `json:"resultError,omitempty"`
	Body       string            `json:"body,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func (w *redriveWork) json(m *redrive.Message, result string, failure error) redriveJSON {
	out := redriveJSON{
		ID: m.ID, Origin: m.Origin, Reference: referenceOf(m), Repository: m.Repository, Tag: m.Tag, Digest: m.Digest,
		EventID: m.EventID, Failed: m.Failed, Function: m.FunctionARN, Attempts: m.Attempts,
		Condition: m.Condition, RequestID: m.RequestID,
		Class: string(m.Class), Reason: m.Reason, Error: m.Error, Received: m.Received, Event: m.Event,
		Retriable: true, Logs: w.logs(m), Result: result,
	}
	if _, err := w.functions.Of(m); err != nil {
		out.Retriable, out.Hindrance = false, err.Error()
	}
	if failure != nil {
		out.Failure = explain(failure).Error()
	}
	if m.Origin == redrive.Unknown || m.Cut != nil {
		out.Body, out.Attributes = m.Body, m.Attributes
	}
	return out
}

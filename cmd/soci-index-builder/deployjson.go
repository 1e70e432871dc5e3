package main

import (
	"time"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
)

// The JSON output of deploy and watch; its field names are promised in the help
// text.
type (
	stepJSON struct {
		Type string `json:"type"`
		Step string `json:"step"`
	}

	lineJSON struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}

	emptyJSON struct {
		Type string `json:"type"`
	}

	parameterJSON struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Old    string `json:"old"`
		New    string `json:"new"`
		Source string `json:"source"`
	}

	changeJSON struct {
		Type         string         `json:"type"`
		Action       string         `json:"action"`
		Resource     string         `json:"resource"`
		ResourceType string         `json:"resourceType"`
		Consequence  string         `json:"consequence,omitempty"`
		Properties   []propertyJSON `json:"properties"`
	}

	propertyJSON struct {
		Path     string `json:"path"`
		Old      string `json:"old"`
		New      string `json:"new"`
		Replaces bool   `json:"replaces"`
	}

	eventJSON struct {
		Type         string    `json:"type"`
		Time         time.Time `json:"time"`
		Resource     string    `json:"resource"`
		ResourceType string    `json:"resourceType"`
		Status       string    `json:"status"`
		Reason       string    `json:"reason,omitempty"`
	}

	failureJSON struct {
		Type      string            `json:"type"`
		Status    string            `json:"status"`
		Resource  string            `json:"resource"`
		Reason    string            `json:"reason"`
		Others    []otherFailure    `json:"others"`
		Cancelled int               `json:"cancelled"`
		Hooks     []string          `json:"hooks,omitempty"`
		LogGroup  string            `json:"logGroup,omitempty"`
		Lines     []string          `json:"lines,omitempty"`
		Missing   *missingRightJSON `json:"missingPermission,omitempty"`
	}

	otherFailure struct {
		Resource string `json:"resource"`
		Reason   string `json:"reason"`
	}

	missingRightJSON struct {
		Principal string `json:"principal"`
		Action    string `json:"action"`
		Resource  string `json:"resource"`
		Explicit  bool   `json:"explicit"`
		Statement string `json:"statement"`
	}

	outputsJSON struct {
		Type    string            `json:"type"`
		Outputs map[string]string `json:"outputs"`
	}

	examinedJSON struct {
		Type string `json:"type"`
		doctorJSON
	}

	nextJSON struct {
		Type  string   `json:"type"`
		Lines []string `json:"lines"`
	}

	writtenJSON struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
)

// line writes one object.
func (s *deployScreen) line(v any) {
	if err := writeJSONLine(s.out, v); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *deployScreen) changesJSON(d *deploy.Deploy) {
	if d.ChangeSet.Empty {
		s.line(emptyJSON{"empty"})
		return
	}
	for _, c := range d.Choices {
		if old, value := c.Shown(); c.Changed() {
			s.line(parameterJSON{"parameter", c.Name, old, value, string(c.Source)})
		}
	}
	for _, tag := range d.TagChanges() {
		s.line(lineJSON{"tag", tag})
	}
	for _, c := range d.ChangeSet.Changes {
		out := changeJSON{"change", string(c.Action), c.LogicalID, c.Type, c.Consequence, []propertyJSON{}}
		for _, p := range c.Properties {
			out.Properties = append(out.Properties, propertyJSON{p.Path, p.Old, p.New, p.Replaces})
		}
		s.line(out)
	}
}

// eventsJSON shows events as JSON.
type eventsJSON struct{ s *deployScreen }

func (e eventsJSON) Event(in execution.Event) {
	e.s.line(eventJSON{"event", in.Time, in.LogicalID, in.Type, in.Status, in.Reason})
}

func (eventsJSON) Tick(time.Time) {}
func (eventsJSON) End()           {}

func newFailureJSON(o *execution.Outcome) failureJSON {
	f := o.Failure
	out := failureJSON{Type: "failure", Status: o.Status, Resource: f.Root.LogicalID, Reason: f.Root.Reason,
		Others: []otherFailure{}, Cancelled: f.Cancelled, Hooks: f.Hooks, LogGroup: f.Lines.Group, Lines: f.Lines.Text}
	for _, other := range f.Others {
		out.Others = append(out.Others, otherFailure{other.LogicalID, other.Reason})
	}
	if m := f.Missing; m != nil {
		out.Missing = &missingRightJSON{m.Principal, m.Action, m.Resource, m.Explicit, m.Statement()}
	}
	return out
}

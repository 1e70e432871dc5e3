package documents

import (
	"encoding/json"
	"errors"
	"testing"
)

type Layer struct {
	Size int64 `json:"size"`
}

type document struct {
	Layer
	Tags   []string       `json:"tags"`
	Layers []Layer        `json:"layers"`
	Labels map[string]any `json:"labels"`
	Config struct {
		Labels map[string]string
	} `json:"config"`
	Good bool             `json:"good"`
	Rate float64          `json:"rate"`
	Raw  *json.RawMessage `json:"raw"`
}

func TestUnmarshal(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"tags":["a"],"size":1}`, ""},
		{``, "the JSON ends in the middle"},
		{`{"tags":[`, "the JSON ends in the middle"},
		{`{"tags":[tru`, "the JSON ends in the middle"},
		{`{}}`, "it is no JSON from byte 3 on"},
		{`x`, "it is no JSON from byte 1 on"},
		{`{"config":{"Labels":[]}}`, `"config.Labels" must be an object, and is an array`},
		{`{"config":{"Labels":{"a":1}}}`, `"config.Labels" must be a string, and is a number`},
		{`<html></html>`, "it is no JSON from byte 1 on"},
		{`{} {}`, "it is no JSON from byte 4 on"},
		{`[]`, "it must be an object, and is an array"},
		{`"a"`, "it must be an object, and is a string"},
		{`{"tags":[1]}`, `"tags" must be a string, and is a number`},
		{`{"tags":"a"}`, `"tags" must be an array, and is a string`},
		{`{"size":"big"}`, `"size" must be a whole number, and is a string`},
		{`{"size":1.5}`, `"size" must be a whole number, and is 1.5`},
		{`{"layers":[{"size":true}]}`, `"layers.size" must be a whole number, and is true or false`},
		{`{"labels":[]}`, `"labels" must be an object, and is an array`},
		{`{"good":"yes"}`, `"good" must be true or false, and is a string`},
		{`{"rate":{}}`, `"rate" must be a number, and is an object`},
	} {
		var d document
		err := Unmarshal([]byte(tt.text), &d)
		if got := text(err); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
		}
		var syntax *json.SyntaxError
		var wrong *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &syntax) && !errors.As(err, &wrong) {
			t.Errorf("%s: %v has no cause", tt.text, err)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package stack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/ecrevent"
)

// setting is what a stack was deployed with, as far as a rule depends on it.
type setting struct {
	conditions      map[string]bool
	account, region string
}

// resolve returns what CloudFormation makes of a value of the template; there is
// nothing when ok is false.
func (s setting) resolve(t *testing.T, v any) (resolved any, ok bool) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, one := range v {
			if r, ok := s.resolve(t, one); ok {
				list = append(list, r)
			}
		}
		return list, true
	case map[string]any:
		switch v["Ref"] {
		case nil:
		case "AWS::NoValue":
			return nil, false
		case "AWS::AccountId":
			return s.account, true
		case "AWS::Region":
			return s.region, true
		case "SociLargeImages":
			return "arn:aws:states:us-west-2:123456789012:stateMachine:SociLargeImages", true
		default:
			t.Fatalf("a rule has %s", textOf(v))
		}
		if choice, ok := v["Fn::If"].([]any); ok {
			holds, known := s.conditions[choice[0].(string)]
			if !known {
				t.Fatalf("a rule depends on %s", choice[0])
			}
			if holds {
				return s.resolve(t, choice[1])
			}
			return s.resolve(t, choice[2])
		}
		object := map[string]any{}
		for name, one := range v {
			if r, ok := s.resolve(t, one); ok {
				object[name] = r
			}
		}
		return object, true
	}
	return v, true
}

// matches reports whether EventBridge would take an event for one of a pattern:
// every field of the pattern is in the event, with a value that is in the
// pattern's list; {"anything-but": [...]} is every value that is not in it.
func matches(t *testing.T, pattern, event map[string]any) bool {
	t.Helper()
	for field, want := range pattern {
		value, there := event[field]
		switch want := want.(type) {
		case map[string]any:
			inner, _ := value.(map[string]any)
			if !matches(t, want, inner) {
				return false
			}
		case []any:
			if len(want) == 0 {
				t.Fatalf("the pattern of %s is empty, which EventBridge refuses", field)
			}
			if !there || !slices.ContainsFunc(want, func(one any) bool {
				if object, ok := one.(map[string]any); ok {
					not, ok := object["anything-but"].([]any)
					if !ok || len(object) != 1 {
						t.Fatalf("the pattern of %s has %s", field, textOf(one))
					}
					return !slices.Contains(not, value)
				}
				return one == value
			}) {
				return false
			}
		default:
			t.Fatalf("the pattern of %s is no list: %s", field, textOf(want))
		}
	}
	return true
}

// rulesFor returns the rules that are there and take the event.
func (s setting) rulesFor(t *testing.T, event map[string]any) []string {
	t.Helper()
	tmpl := synth(t)
	var all []string
	for _, id := range tmpl.ids("AWS::Events::Rule") {
		rule := tmpl.Resources[id]
		if rule.Condition != "" && !s.conditions[rule.Condition] {
			continue
		}
		pattern, _ := s.resolve(t, rule.Properties["EventPattern"])
		if matches(t, pattern.(map[string]any), event) {
			all = append(all, id)
		}
	}
	return all
}

// ruleOf is the rule for events of a detail-type, and the condition under which
// it is there.
var ruleOf = map[string]struct{ id, condition string }{
	ecrevent.ImageAction:            {"PushRule", ""},
	ecrevent.ReplicationAction:      {"ReplicationRule", "Replicated"},
	ecrevent.PullThroughCacheAction: {"PullThroughCacheRule", "Cached"},
}

// The rules pass every event that the filter function may pass on, once, and none
// that it would always ignore.
func TestRulesOnEvents(t *testing.T) {
	for _, set := range []map[string]bool{
		{"Untagged": false, "Replicated": false, "Cached": false},
		{"Untagged": true, "Replicated": false, "Cached": false},
		{"Untagged": false, "Replicated": true, "Cached": true},
		{"Untagged": true, "Replicated": true, "Cached": true},
	} {
		seen := map[string]int{}
		for file, text := range corpus(t, "valid") {
			parsed, err := ecrevent.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			rule, understood := ruleOf[parsed.DetailType]
			wanted := understood && (rule.condition == "" || set[rule.condition]) &&
				(parsed.Detail.ImageTag != "" || set["Untagged"])
			var want []string
			if wanted {
				want = []string{rule.id}
			}
			s := setting{conditions: set, account: parsed.Account, region: parsed.Region}
			if got := s.rulesFor(t, object(t, text)); !slices.Equal(got, want) {
				t.Errorf("%s with %v: the rules %q, want %q", file, set, got, want)
			}
			seen[strings.Join(want, "")]++

			s.account = "999999999999"
			if got := s.rulesFor(t, object(t, text)); len(got) > 0 {
				t.Errorf("%s of another account: the rules %q", file, got)
			}
			s.account, s.region = parsed.Account, "xx-west-1"
			if got := s.rulesFor(t, object(t, text)); len(got) > 0 {
				t.Errorf("%s of another region: the rules %q", file, got)
			}
		}
		if seen[""] == 0 || seen["PushRule"] == 0 || set["Replicated"] &&
			seen["ReplicationRule"]*seen["PullThroughCacheRule"] == 0 {
			t.Errorf("with %v the events are not of all kinds: %v", set, seen)
		}
	}
}

// Events that tell of something else than an image that arrived do not pass.
func TestRulesOnOtherEvents(t *testing.T) {
	everything := setting{
		conditions: map[string]bool{"Untagged": true, "Replicated": true, "Cached": true},
		account:    "123456789012", region: "us-west-2",
	}
	events := corpus(t, "invalid")
	for _, file := range []string{
		"action-delete", "action-lower-case", "action-storage-class", "result-failure", "source", "source-dot",
		"source-unanchored",
		"detail-type", "detail-type-unanchored", "detail-missing", "empty-object", "replicate-as-image-action",
		"replication-failed", "replication-push",
		"pull-through-failed", "pull-through-no-status",
	} {
		text, ok := events[file]
		if !ok {
			t.Errorf("there is no invalid event %s", file)
			continue
		}
		event := object(t, text)
		if event["account"] != nil {
			everything.account, everything.region = event["account"].(string), event["region"].(string)
		}
		if got := everything.rulesFor(t, event); len(got) > 0 {
			t.Errorf("%s: the rules %q", file, got)
		}
	}
}

// corpus returns the events of package ecrevent's tests by name.
func corpus(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../internal/ecrevent/testdata", folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no events: %v", folder, err)
	}
	all := make(map[string][]byte)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var one struct{ Event json.RawMessage }
		if err := json.Unmarshal(text, &one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = one.Event
	}
	return all
}

func object(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

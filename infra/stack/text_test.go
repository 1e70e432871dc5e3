package stack

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// textOf writes a value of a template in one line that can be read and
// compared: ${Queue} for a Ref, ${Queue.Arn} for a GetAtt, joined and
// substituted text as it stands, if(Condition, a, b), and nothing for
// AWS::NoValue.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		return "[" + strings.Join(each(v), ", ") + "]"
	case map[string]any:
		if len(v) == 1 {
			for name, of := range v {
				if text, ok := intrinsic(name, of); ok {
					return text
				}
			}
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+": "+textOf(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%T", v)
}

func each(list []any) []string {
	texts := make([]string, len(list))
	for i, one := range list {
		if texts[i] = textOf(one); texts[i] == "" {
			texts[i] = `""`
		}
	}
	return texts
}

func intrinsic(name string, of any) (string, bool) {
	list, _ := of.([]any)
	switch {
	case name == "Ref" && of == "AWS::NoValue":
		return "nothing", true
	case name == "Ref":
		return "${" + textOf(of) + "}", true
	case name == "Fn::GetAtt" && len(list) == 2:
		return "${" + textOf(list[0]) + "." + textOf(list[1]) + "}", true
	case name == "Fn::Sub":
		if len(list) != 2 {
			return textOf(of), true
		}
		text := textOf(list[0])
		for variable, value := range list[1].(map[string]any) {
			text = strings.ReplaceAll(text, "${"+variable+"}", textOf(value))
		}
		return text, true
	case name == "Fn::Join" && len(list) == 2:
		if parts, ok := list[1].([]any); ok {
			return strings.Join(each(parts), textOf(list[0])), true
		}
		if split, ok := list[1].(map[string]any)["Fn::Split"].([]any); ok && len(split) == 2 {
			return strings.ReplaceAll(textOf(split[1]), textOf(split[0]), textOf(list[0])), true
		}
		return "join(" + textOf(list[0]) + ", " + textOf(list[1]) + ")", true
	case name == "Fn::If" && len(list) == 3:
		return "if(" + strings.Join(each(list), ", ") + ")", true
	case strings.HasPrefix(name, "Fn::"):
		return strings.ToLower(strings.TrimPrefix(name, "Fn::")) + "(" + textOf(of) + ")", true
	}
	return "", false
}

// at returns what stands at a path of names and numbers ("Targets.0.Arn") in a
// resource: its properties, or with a path that begins with @ what is beside
// them ("@DependsOn"). It is "" when there is nothing.
func (r resource) at(path string) string {
	switch path {
	case "@Condition":
		return r.Condition
	case "@DeletionPolicy":
		return r.DeletionPolicy
	case "@UpdateReplacePolicy":
		return r.UpdateReplacePolicy
	case "@DependsOn":
		return strings.Join(r.DependsOn, ", ")
	}
	var v any = r.Properties
	for name := range strings.SplitSeq(path, ".") {
		switch of := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = of[name]; !ok {
				return ""
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(of) {
				return ""
			}
			v = of[i]
		default:
			return ""
		}
	}
	return textOf(v)
}

// ids returns the logical ids of a type, sorted.
func (tmpl *template) ids(kind string) []string {
	var all []string
	for id, r := range tmpl.Resources {
		if r.Type == kind {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func TestTextOf(t *testing.T) {
	for text, want := range map[string]string{
		`{"Ref":"Queue"}`:                                             "${Queue}",
		`{"Ref":"AWS::NoValue"}`:                                      "nothing",
		`{"Fn::GetAtt":["Queue","Arn"]}`:                              "${Queue.Arn}",
		`{"Fn::Sub":"a-${B}"}`:                                        "a-${B}",
		`{"Fn::Sub":["${a}-${B}",{"a":{"Ref":"C"}}]}`:                 "${C}-${B}",
		`{"Fn::Join":["/",["a",{"Ref":"B"}]]}`:                        "a/${B}",
		`{"Fn::Join":[",",{"Ref":"List"}]}`:                           "join(,, ${List})",
		`{"Fn::Join":["b",{"Fn::Split":["a",{"Fn::Sub":"a${A}a"}]}]}`: "b${A}b",
		`{"Fn::If":["C",1,{"Ref":"AWS::NoValue"}]}`:                   "if(C, 1, nothing)",
		`{"Fn::Not":[{"Fn::Equals":[{"Ref":"P"},""]}]}`:               `not([equals([${P}, ""])])`,
		`{"b":true,"a":[1.5,null,"x"],"Ref":"not an intrinsic one"}`: "{Ref: not an intrinsic one, a: [1.5, null, " +
			"x], b: true}",
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := textOf(v); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	r := resource{Properties: map[string]any{"A": []any{map[string]any{"B": 1.0}}}, DependsOn: []string{"C", "D"}}
	for path, want := range map[string]string{"A.0.B": "1", "A": "[{B: 1}]", "A.1": "", "A.x": "", "A.0.B.C": "",
		"X":          "",
		"@DependsOn": "C, D"} {
		if got := r.at(path); got != want {
			t.Errorf("at %s is %q, want %q", path, got, want)
		}
	}
}

package stack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// MaxTemplate is the size in bytes of an emitted template at most.
// CloudFormation accepts 51,200 in a request, and more only from a bucket, which
// functions from images do not need. Both templates have about 50,000: the state
// machine for large images, private networks, signing and the choice of platforms
// have taken what there was beside alarms, queries, roles and the dashboard. Of the
// 1,200 bytes up to CloudFormation's limit this leaves 1,000 for new versions; what
// needs more must make something else shorter.
const MaxTemplate = 51_000

// ErrTooLarge: a template has more than MaxTemplate bytes.
var ErrTooLarge = errors.New("the template is too large")

// Emit returns a synthesized template as it is committed and deployed: as short
// as JSON can be, but for a line for each parameter, resource and output, and with
// the shortest words for the same. The error matches ErrTooLarge, or is that of
// text that is no JSON object.
func Emit(text []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := lines(&out, text, 2); err != nil {
		return nil, fmt.Errorf("emitting the template: %w", err)
	}
	out.WriteByte('\n')
	short, err := shortened(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("emitting the template: %w", err)
	}
	if len(short) > MaxTemplate {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, len(short), MaxTemplate)
	}
	return short, nil
}

var (
	attribute = regexp.MustCompile(`\{"Fn::GetAtt":\["(\w+)","(\w+)"\]\}`)
	oneAction = regexp.MustCompile(`"Action":\[("[a-z0-9-]+:[A-Za-z*]+")\]`)
	condition = regexp.MustCompile(`("Fn::If":\["|"Condition":")(\w+)"`)
	pattern   = regexp.MustCompile(`"AllowedPattern":"[^"]+"`)
	classes   = strings.NewReplacer("[0-9]", `\\d`, "A-Za-z0-9._", `\\w.`, "A-Za-z0-9_", `\\w`)
	dependsOn = regexp.MustCompile(`"DependsOn":\[("\w+")\]`)
)

// shortened says the same in fewer bytes, in a template that lines wrote. An
// attribute is that of Fn::Sub, unless it may be a list, as those of custom
// resources may; one action of a policy, or one resource to depend on, needs no
// list; a pattern has Java's short classes; a condition has the first letters of
// its name, as many as tell it from the others.
func shortened(text []byte) ([]byte, error) {
	var t struct {
		Conditions map[string]json.RawMessage
		Resources  map[string]struct{ Type string }
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	text = attribute.ReplaceAllFunc(text, func(b []byte) []byte {
		m := attribute.FindSubmatch(b)
		if r, ok := t.Resources[string(m[1])]; !ok || strings.HasPrefix(r.Type, "Custom::") {
			return b
		}
		return fmt.Appendf(nil, `{"Fn::Sub":"${%s.%s}"}`, m[1], m[2])
	})
	text = oneAction.ReplaceAll(text, []byte(`"Action":$1`))
	text = dependsOn.ReplaceAll(text, []byte(`"DependsOn":$1`))
	text = pattern.ReplaceAllFunc(text, func(b []byte) []byte { return []byte(classes.Replace(string(b))) })
	names := prefixes(slices.Collect(maps.Keys(t.Conditions)))
	before, all, _ := bytes.Cut(text, []byte("\n\"Conditions\":{"))
	for name, short := range names {
		all = bytes.Replace(all, []byte("\n\""+name+"\":{"), []byte("\n\""+short+"\":{"), 1)
	}
	if len(names) > 0 {
		text = slices.Concat(before, []byte("\n\"Conditions\":{"), all)
	}
	return condition.ReplaceAllFunc(text, func(b []byte) []byte {
		m := condition.FindSubmatch(b)
		if short, ok := names[string(m[2])]; ok {
			return fmt.Appendf(nil, `%s%s"`, m[1], short)
		}
		return b
	}), nil
}

// prefixes returns for each word as many letters of it as no other begins with.
func prefixes(words []string) map[string]string {
	short := map[string]string{}
	for _, w := range words {
		n := 1
		for n < len(w) && slices.ContainsFunc(words,
			func(o string) bool { return o != w && strings.HasPrefix(o, w[:n]) }) {
			n++
		}
		short[w] = w[:n]
	}
	return short
}

// lines writes an object with a line for each member, down to a depth. The
// order of the members stays.
func lines(out *bytes.Buffer, text []byte, depth int) error {
	if text = bytes.TrimSpace(text); depth == 0 || !bytes.HasPrefix(text, []byte("{")) {
		return json.Compact(out, text)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return err
	}
	if !d.More() {
		out.WriteString("{")
	}
	for between := "{\n"; d.More(); between = ",\n" {
		name, err := d.Token()
		if err != nil {
			return err
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return err
		}
		out.WriteString(between)
		out.Write(quoted)
		out.WriteByte(':')
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := lines(out, value, depth-1); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	_, err := d.Token()
	return err
}

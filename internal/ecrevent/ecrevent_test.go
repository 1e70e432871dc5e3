package ecrevent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/filters"
)

// fixtures reads every file of a folder into a T, by file name.
func fixtures[T any](t *testing.T, folder string) map[string]T {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("testdata/%s has no file", folder)
	}
	all := map[string]T{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var one T
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = one
	}
	return all
}

type validFixture struct {
	Note string
	Want struct{ Own string }
	// Event is the event, byte for byte.
	Event json.RawMessage
}

func TestParseValid(t *testing.T) {
	examples := map[string]bool{}
	for name, fixture := range fixtures[validFixture](t, "valid") {
		t.Run(name, func(t *testing.T) {
			e, err := Parse(fixture.Event)
			if err != nil {
				t.Fatal(err)
			}
			examples[e.DetailType] = true
			encoded, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			got, want := object(t, encoded), object(t, fixture.Event)
			detail := want["detail"].(map[string]any)
			if _, ok := detail["image-tag"]; !ok {
				detail["image-tag"] = "" // what the service writes
			}
			for _, unread := range []string{"something-new", "target-storage-class", "last-activated-at"} {
				delete(detail, unread)
			}
			delete(want, "replay-name")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("decoded and encoded back it is\n%v, want\n%v", got, want)
			}
			v := filters.Rules{Filters: filters.Every(), TagSuffix: "-soci"}.Decide(e.Image())
			if v.Reason != fixture.Want.Own || (v.Decision == filters.OwnArtifact) != (fixture.Want.Own != "") {
				t.Errorf("it is %s because of %q, want %q", v.Decision, v.Reason, fixture.Want.Own)
			}
		})
	}
	for _, d := range detailTypes {
		if !examples[d] {
			t.Errorf("no file of testdata/valid is an %q", d)
		}
	}
}

func object(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

type invalidFixture struct {
	Note string
	// Want names the fields that are wrong, in order.
	Want  []string
	Event json.RawMessage
}

func TestParseInvalid(t *testing.T) {
	judged := map[string]bool{}
	for name, fixture := range fixtures[invalidFixture](t, "invalid") {
		for _, field := range fixture.Want {
			judged[field] = true
		}
		t.Run(name, func(t *testing.T) {
			e, err := Parse(fixture.Event)
			if e != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("Parse = %v, %v, want ErrInvalid", e, err)
			}
			var all *InvalidError
			if !errors.As(err, &all) {
				t.Fatalf("the error is a %T", err)
			}
			var got []string
			for _, f := range all.Fields {
				got = append(got, f.Field)
				if f.Allowed == "" {
					t.Errorf("%s: what is allowed is not said", f.Field)
				}
			}
			if !slices.Equal(got, fixture.Want) {
				t.Errorf("wrong fields %q, want %q", got, fixture.Want)
			}
			if text := err.Error(); strings.ContainsAny(text, "\n\r") || len(text) > 4096 {
				t.Errorf("the message is not one line of sane length: %q", text)
			}
		})
	}
	for _, r := range rules {
		if !judged[r.field] {
			t.Errorf("no file of testdata/invalid has a wrong %s", r.field)
		}
	}
}

func TestParseNotJSON(t *testing.T) {
	tests := []struct {
		name  string
		event string
	}{
		{"nothing", ""},
		{"blanks", "  \n"},
		{"not JSON", "source=aws.ecr"},
		{"truncated", `{"source":"aws.ecr"`},
		{"two values", `{} {}`},
		{"binary", "\x00\xff\n"},
		{"nested without end", strings.Repeat("[", 200_000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse([]byte(tt.event))
			if e != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("Parse = %v, %v, want ErrInvalid", e, err)
			}
			if text := err.Error(); strings.ContainsAny(text, "\n\x00") || len(text) > 1024 {
				t.Errorf("the message is not one line of sane length: %q", text)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	event := fixtures[validFixture](t, "valid")["tagged"].Event
	pad := func(n int) []byte {
		return append(bytes.Clone(event), bytes.Repeat([]byte(" "), n-len(event))...)
	}
	if _, err := Parse(pad(MaxSize)); err != nil {
		t.Errorf("%d bytes: %v", MaxSize, err)
	}
	if _, err := Parse(pad(MaxSize + 1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("%d bytes: %v, want ErrInvalid", MaxSize+1, err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("testdata has %d files, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var fixture struct{ Event json.RawMessage }
		if err := json.Unmarshal(b, &fixture); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(fixture.Event))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(err.Error()) > 8192 {
				t.Fatalf("Parse: %v", err)
			}
			return
		}
		encoded, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(encoded)
		if err != nil {
			t.Fatalf("encoded back it is refused: %v", err)
		}
		if again.Detail != e.Detail || again.Region != e.Region || again.Account != e.Account {
			t.Errorf("encoded back it is %+v, want %+v", again, e)
		}
	})
}

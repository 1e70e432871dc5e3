package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/expect"
)

const template = `{"Parameters":{"Filters":{"Type":"String"},"Secret":{"Type":"String","NoEcho":true},` +
	`"Other":{"Type":"String","NoEcho":"true"},"Shown":{"Type":"String","NoEcho":false}}}`

var noon = time.Date(2026, 11, 28, 12, 0, 0, 123, time.FixedZone("CET", 3600))

// zipRecord is the n-th deploy of a stack, with code of a version.
func zipRecord(t *testing.T, stack string, n int, code string) *Record {
	t.Helper()
	r, err := New(Record{
		ID: NewID(noon.Add(time.Duration(n)*time.Second), fmt.Sprintf("%08x", n)), Stack: stack, Time: noon,
		Version: "1.2.3",
		Package: embedded.Zip, Architecture: "arm64", Template: template, Bucket: "b",
		Parameters: map[string]string{"Filters": "*:*", "Secret": "s3cret", "Other": "s3cret", "Shown": "x"},
		Tags:       map[string]string{"team": "a"},
		Code:       map[string]Code{"FilterFunction": {Key: "code/" + code + "/filter.zip"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func imageRecord(t *testing.T, n int, code string) *Record {
	t.Helper()
	r := zipRecord(t, "s", n, code)
	r.Package, r.Bucket = embedded.Image, ""
	r.Code = map[string]Code{"FilterFunction": {Image: "h/r@sha256:" + strings.Repeat(code, 64)}}
	return r
}

func TestNew(t *testing.T) {
	r := zipRecord(t, "s", 0, "1")
	if r.ID != "20261128t110000z-00000000" || !idPattern.MatchString(r.ID) {
		t.Errorf("the id is %s", r.ID)
	}
	if want := []string{"Filters", "Shown"}; !slices.Equal(slices.Sorted(maps.Keys(r.Parameters)), want) {
		t.Errorf("the parameters are %v, want %q", r.Parameters, want)
	}
	b, err := r.encode()
	if err != nil || strings.Contains(string(b), "s3cret") {
		t.Fatalf("%s, %v", b, err)
	}
	if again, _ := zipRecord(t, "s", 0, "1").encode(); string(again) != string(b) {
		t.Errorf("the same record has other bytes:\n%s\n%s", b, again)
	}
	back, err := decode(b, "s", r.ID, "here")
	if err != nil {
		t.Fatalf("back comes %+v, %v", back, err)
	}
	if !back.SameVersion(r) || !back.Time.Equal(noon.Truncate(time.Second)) || back.Template != template {
		t.Errorf("back comes %+v, %v", back, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Record){
		"template is YAML": func(r *Record) { r.Template = "Resources:" },
		"no id":            func(r *Record) { r.ID = "" },
		"id with a slash":  func(r *Record) { r.ID = "../20261128t110000z-00000000" },
		"no stack":         func(r *Record) { r.Stack = "" },
		"no package":       func(r *Record) { r.Package = "" },
		"no code":          func(r *Record) { r.Code = nil },
		"no bucket":        func(r *Record) { r.Bucket = "" },
		"image for a zip":  func(r *Record) { r.Code = map[string]Code{"F": {Image: "x"}} },
		"image by tag": func(r *Record) {
			r.Package, r.Code = embedded.Image,
				map[string]Code{"F": {Image: "h/r:v1"}}
		},
		"key for an image": func(r *Record) { r.Package = embedded.Image },
	} {
		r := *zipRecord(t, "s", 0, "1")
		spoil(&r)
		if _, err := New(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: the error is %v, want ErrInvalid", name, err)
		}
	}
	r := zipRecord(t, "s", 0, "1")
	r.Tags = map[string]string{"long": strings.Repeat("x", maxSize)}
	if _, err := r.encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("the error is %v, want ErrInvalid", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	r := zipRecord(t, "s", 0, "1")
	good, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(name string, value any) []byte {
		m := map[string]any{}
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		m[name] = value
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tt := range map[string]struct {
		content []byte
		want    error
	}{
		"nothing":          {nil, ErrCorrupt},
		"cut short":        {good[:len(good)-1], ErrCorrupt},
		"a list":           {[]byte("[]"), ErrCorrupt},
		"another format":   {changed("format", 2), ErrUnsupported},
		"no format":        {[]byte("{}"), ErrUnsupported},
		"another stack":    {changed("stack", "other"), ErrCorrupt},
		"another template": {changed("template", "{}"), ErrCorrupt},
		"another deploy":   {changed("id", "20261128t110000z-00000009"), ErrCorrupt},
		"no record in it":  {[]byte(`{"format":1}`), ErrCorrupt},
		"null":             {[]byte("null"), ErrUnsupported},
	} {
		if _, err := decode(tt.content, "s", r.ID, "here"); !errors.Is(err, tt.want) ||
			!strings.HasPrefix(err.Error(), "here: ") {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
		}
	}
}

// deploys makes records of versions, the newest first; a capital letter is one
// that succeeded.
func deploys(t *testing.T, versions string) []*Record {
	t.Helper()
	var all []*Record
	for n, v := range versions {
		r := zipRecord(t, "s", n, strings.ToLower(string(v)))
		r.Succeeded = v < 'a'
		all = append(all, r)
	}
	slices.Reverse(all)
	return all
}

func TestTarget(t *testing.T) {
	for versions, want := range map[string]int{ // place of the target, from the oldest
		"": -1, "A": -1, "a": -1, "AB": 0, "Ab": -1, "ABc": 0, "ABC": 1, "AbC": 0, "ABB": 0, "AbAB": 2, "aB": -1,
		"ABA": 1, // after a rollback there is a way forward again
	} {
		checkTarget(t, versions, want, true)
	}
	// What runs is none of them: an update that failed halfway, or somebody else's.
	for versions, want := range map[string]int{"": -1, "a": -1, "A": 0, "AB": 1, "Ab": 0, "ABc": 1, "ABB": 2,
		"aBcd": 1} {
		checkTarget(t, versions, want, false)
	}
	all := deploys(t, "ABcD")
	if got := SucceededBefore(all, all[1].ID); got != all[2] {
		t.Errorf("before the third was %+v", got)
	}
	if got := SucceededBefore(all, all[3].ID); got != nil {
		t.Errorf("before the first was %+v", got)
	}
}

// checkTarget wants the target at a place from the oldest, or none for a negative
// one; runs is whether the newest that succeeded does.
func checkTarget(t *testing.T, versions string, want int, runs bool) {
	t.Helper()
	all := deploys(t, versions)
	got, err := Target(all, func(r *Record) bool {
		if r != Running(all) {
			t.Errorf("%s: asked about %s", versions, r.ID)
		}
		return runs
	})
	if want < 0 {
		if !errors.Is(err, ErrNone) {
			t.Errorf("%s, runs %t: %v, %v, want ErrNone", versions, runs, got, err)
		}
		return
	}
	if err != nil || got != all[len(all)-1-want] {
		t.Errorf("%s, runs %t: %+v, %v, want number %d", versions, runs, got, err, want)
	}
}

func TestKept(t *testing.T) {
	for versions, want := range map[string]int{"": 0, "ABC": 3, "ABCDEF": 5, "ABCDEFG": 5, "ABcdefg": 7, "AcdefgB": 6,
		"abcdefg": 5} {
		all := deploys(t, versions)
		kept, old := Kept(all, 5)
		if len(kept) != want || len(kept)+len(old) != len(all) {
			t.Errorf("%s: %d are kept, want %d", versions, len(kept), want)
		}
		for _, runs := range []bool{true, false} {
			does := func(*Record) bool { return runs }
			before, err := Target(all, does)
			if after, afterErr := Target(kept, does); before != after || !errors.Is(afterErr, err) {
				t.Errorf("%s, runs %t: the target is gone", versions, runs)
			}
		}
	}
	if kept, old := Kept(deploys(t, "ABC"), 0); len(kept) != 0 || len(old) != 3 {
		t.Errorf("%d are kept, want none", len(kept))
	}
}

func TestMergeAndNeeded(t *testing.T) {
	zip, image := deploys(t, "Ab"), imageRecord(t, 5, "a")
	marked := *zip[0]
	marked.Succeeded = true
	all := Merge([]*Record{image}, zip, []*Record{&marked})
	if len(all) != 3 {
		t.Fatalf("merged are %+v", all)
	}
	expect.Equal(t, expect.Facts{
		{"all[0].ID", all[0].ID, image.ID},
		{"all[1].ID", all[1].ID, zip[0].ID},
		{"all[1].Succeeded", all[1].Succeeded, true},
		{"zip[0].Succeeded", zip[0].Succeeded, false},
	}, "merged are %+v", all)
	keys, images := Needed(append(all, zip[1]))
	if len(keys) != 1 || !slices.Equal(keys["b"], []string{"code/a/filter.zip", "code/b/filter.zip"}) ||
		!slices.Equal(images, []string{image.Code["FilterFunction"].Image}) {
		t.Errorf("needed are %v and %v", keys, images)
	}
	if r := Running(all); r.ID != zip[0].ID {
		t.Errorf("running is %+v", r)
	}
}

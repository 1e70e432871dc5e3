package documents

import (
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is decoded is what package json makes of it.
func TestLikePackageJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, `null`, `{"layers":null,"manifests":null}`, `{"layers":[],"manifests":[]}`,
		`{"schemaVersion":2,"mediaType":"a","artifactType":"b","config":{"size":1},"annotations":{"k":"v"},` +
			`"subject":{"size":3},"layers":[{"size":1},{"size":2,"annotations":{"a,b":"[\",{"}}],` +
			`"manifests":[{"platform":{"os":"linux"}},{"data":"AAAA"}]}`,
		`{"Layers":[{"size":1}],"layers":[{"size":2},{}],"MANIFESTS":[{}],"manifests":[]}`,
		`{"layers":{},"manifests":7}`, `{"layers":[{"size":"x"}],"manifests":[{"size":"x"}]}`, `[]`, `{`, ``,
	} {
		var wantManifest, manifest ocispec.Manifest
		wantErr := json.Unmarshal([]byte(text), &wantManifest)
		if err := Manifest([]byte(text), &manifest); (err == nil) != (wantErr == nil) ||
			err == nil && !reflect.DeepEqual(manifest, wantManifest) {
			t.Errorf("manifest %s: %+v, %v; want %+v, %v", text, manifest, err, wantManifest, wantErr)
		}
		var wantIndex, index ocispec.Index
		wantErr = json.Unmarshal([]byte(text), &wantIndex)
		if err := Index([]byte(text), &index); (err == nil) != (wantErr == nil) ||
			err == nil && !reflect.DeepEqual(index, wantIndex) {
			t.Errorf("image index %s: %+v, %v; want %+v, %v", text, index, err, wantIndex, wantErr)
		}
	}
}

func TestMax(t *testing.T) {
	list := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	for _, element := range []string{"{}", `{"urls":["a","b"],"mediaType":"\",\"[{"}`} {
		for n, wrong := range map[int]bool{0: false, 1: false, MaxDescriptors: false, MaxDescriptors + 1: true} {
			var l Descriptors
			err := json.Unmarshal([]byte(list(n, element)), &l)
			if (err != nil) != wrong || err == nil && len(l) != n {
				t.Errorf("%d of %s: %d, %v", n, element, len(l), err)
			}
		}
	}
}

// The smallest list of descriptors with digests that is refused is larger than
// any manifest that is read.
func TestMaxIsBeyondManifests(t *testing.T) {
	b, err := json.Marshal(ocispec.Descriptor{Digest: digest.FromString("")})
	if err != nil {
		t.Fatal(err)
	}
	least := len(b) - len(`"mediaType":"",`) // which may be missing
	if size := least * MaxDescriptors; size < 4<<20 {
		t.Errorf("%d descriptors of %d bytes fit into a manifest", MaxDescriptors, least)
	}
}

// A list of nothing costs no more than a few times its bytes, also where a second
// one replaces it.
func TestMemory(t *testing.T) {
	many := "[" + strings.Repeat("{},", 4<<20/3) + "{}]"
	text := []byte(`{"manifests":` + many + `,"layers":` + many + `,"manifests":[],"layers":[]}`)
	for name, decode := range map[string]func() error{
		"manifest": func() error { return Manifest(text, new(ocispec.Manifest)) },
		"index":    func() error { return Index(text, new(ocispec.Index)) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := decode()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 1<<20 {
			t.Errorf("%s: %d bytes allocated, %v", name, got, err)
		}
	}
}

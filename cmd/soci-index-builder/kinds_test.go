package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// kindsSaid is what some JSON says of the kinds of manifests.
type kindsSaid map[digest.Digest]soci.Kind

// read adds what a document says: wherever an object has a digest and a kind.
// Two places that disagree fail the test.
func (k kindsSaid) read(t *testing.T, document any) {
	t.Helper()
	switch v := document.(type) {
	case []any:
		for _, one := range v {
			k.read(t, one)
		}
	case map[string]any:
		if kind, ok := v["kind"].(string); ok {
			d := digest.Digest(v["digest"].(string))
			if was, ok := k[d]; ok && was != soci.Kind(kind) {
				t.Errorf("%s is said to be %q and %q", d, was, kind)
			}
			k[d] = soci.Kind(kind)
		}
		for _, one := range v {
			k.read(t, one)
		}
	}
}

// kindWord finds what each verb calls a manifest that is not its business.
var kindWord = map[string]*regexp.Regexp{
	"verify":   regexp.MustCompile(`sha256:[0-9a-f]{64} is not an image \(([a-z0-9-]+)`),
	"estimate": regexp.MustCompile(`sha256:[0-9a-f]{64} is ([a-z0-9-]+)`),
	"index":    regexp.MustCompile(`"reason":"([a-z0-9-]+) of type`),
}

// prefetchArtifacts are the digests of the prefetch artifacts in some JSON.
func prefetchArtifacts(document any) []string {
	var all []string
	switch v := document.(type) {
	case []any:
		for _, one := range v {
			all = append(all, prefetchArtifacts(one)...)
		}
	case map[string]any:
		for name, one := range v {
			listed, ok := one.([]any)
			if !ok {
				listed = []any{one} // index has one for each layer
			}
			for _, artifact := range listed {
				if m, ok := artifact.(map[string]any); ok && strings.HasPrefix(name, "prefetchArtifact") &&
					m["digest"] != nil {
					all = append(all, m["digest"].(string))
				}
			}
			all = append(all, prefetchArtifacts(one)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// jsonOf runs a command, and returns the documents that it writes and what it
// complains about.
func jsonOf(t *testing.T, args ...string) (documents []any, stderr string) {
	t.Helper()
	cmd := exec.Command(programName, append(args, "--output", "json")...)
	cmd.Env = append(cmd.Environ(), "HOME=/no-home", "DOCKER_CONFIG=/no-home")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, _ := cmd.Output()
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q writes %q: %v", args, out, err)
		}
		documents = append(documents, v)
	}
	return documents, complaints.String()
}

// everyKind is a repository with a manifest of each kind, all of which have a
// tag when tagAll has run.
type everyKind struct {
	kinds    kindsSaid
	prefetch []string // prefetch artifacts
	tagAll   func()
}

func pushEveryKind(t *testing.T, s *registrytest.Server, name string) everyKind {
	t.Helper()
	layers := storedLayers(t)
	image := s.PushImage(t, name, "image",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layers["writer/go-6"]},
			{Content: layers["member/two"]}}})
	s.PushImage(t, name, "small", registrytest.Image{Layers: []registrytest.Layer{{Content: []byte("tiny")}}})
	o := soci.Options{MinLayerSize: 1, IndexVersion: soci.Both, Tag: "image", Prefetch: []string{"/etc/**"}}
	indexed := s.Index(t, name, "image", o)
	unindexed := s.Index(t, name, "small",
		soci.Options{MinLayerSize: 1 << 20, IndexVersion: soci.V2, Tag: "small", TagUnindexed: true})
	tag := func(d digest.Digest, tag string) digest.Digest {
		return s.PushManifest(t, name, tag, ocispec.MediaTypeImageManifest, s.Manifest(t, name, d.String())).Digest
	}
	artifact := func(tagged, artifactType string) digest.Digest {
		return tag(s.PushReferrer(t, name, image.Manifest, artifactType, []byte(tagged)).Digest, tagged)
	}
	made := indexed.Manifests[0]
	all := everyKind{
		kinds: kindsSaid{
			image.Manifest.Digest: soci.KindImage,
			s.PushIndex(t, name, "multi", false, image.Manifest,
				s.PushAttestation(t, name, image.Manifest).Manifest).Digest: soci.KindImageIndex,
			made.Index.Digest:                                              soci.KindSOCIIndexV1,
			made.IndexV2.Digest:                                            soci.KindSOCIIndexV2,
			made.Enabled.Digest:                                            soci.KindEnabledManifest,
			indexed.Enabled.Image.Digest:                                   soci.KindEnabledImage,
			unindexed.Enabled.Image.Digest:                                 soci.KindUnindexed,
			s.PushIndex(t, name, "list", false, made.Index).Digest:         soci.KindArtifactList,
			artifact("signature", "application/vnd.cncf.notary.signature"): soci.KindSignature,
			artifact("attestation", "application/vnd.in-toto+json"):        soci.KindAttestation,
			artifact("chart", "application/vnd.cncf.helm.config.v1+json"):  soci.KindArtifact,
		},
		tagAll: func() {
			tag(made.Index.Digest, "v1-index")
			tag(made.IndexV2.Digest, "v2-index")
			tag(made.Enabled.Digest, "of-enabled")
		},
	}
	for _, a := range made.Prefetch.Artifacts {
		all.prefetch = append(all.prefetch, a.Blob.Digest.String())
	}
	slices.Sort(all.prefetch)
	if len(all.prefetch) == 0 {
		t.Fatal("nothing is prefetched")
	}
	return all
}

// A manifest is called the same by every verb, and a prefetch artifact is one
// for all that list them.
func TestOneWordForEachKind(t *testing.T) {
	s := registrytest.Start(t)
	ref := s.Host() + "/team/app"
	all := pushEveryKind(t, s, "team/app")
	// said runs a verb, which must use no other words, and for the kinds wanted
	// these.
	said := func(t *testing.T, want []soci.Kind, args ...string) {
		t.Helper()
		documents, stderr := jsonOf(t, args...)
		got := kindsSaid{}
		got.read(t, documents)
		kinds := map[soci.Kind]bool{}
		for d, kind := range got {
			if right, ok := all.kinds[d]; ok && kind != right {
				t.Errorf("%s calls %s %q, want %q", args[0], d, kind, right)
			}
			kinds[kind] = true
		}
		for _, kind := range want {
			if !kinds[kind] {
				t.Errorf("%q names no %s: %v, %s", args, kind, got, stderr)
			}
		}
	}

	said(t, []soci.Kind{soci.KindSOCIIndexV1, soci.KindSOCIIndexV2, soci.KindEnabledManifest, soci.KindEnabledImage,
		soci.KindUnindexed}, "cleanup", ref, "--all-tools")
	all.tagAll()
	said(t, slices.Collect(maps.Values(all.kinds)), "status", ref, "--all", "--any-tool")

	files := filepath.Join(t.TempDir(), "files")
	if err := os.WriteFile(files, []byte("/etc/hostname\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for d, kind := range all.kinds {
		t.Run(string(kind), func(t *testing.T) {
			one := ref + "@" + d.String()
			said(t, []soci.Kind{kind}, "inspect", one)
			var refuse []string // verbs
			switch kind {
			case soci.KindSignature, soci.KindAttestation, soci.KindArtifact:
				refuse = []string{"verify", "estimate", "index"}
			case soci.KindSOCIIndexV1, soci.KindSOCIIndexV2, soci.KindArtifactList: // of which index has an outcome
				refuse = []string{"verify", "estimate"}
			}
			for _, verb := range refuse {
				args := []string{verb, one}
				if verb == "estimate" {
					args = append(args, "--files", files)
				}
				documents, stderr := jsonOf(t, args...)
				text, err := json.Marshal(documents)
				if err != nil {
					t.Fatal(err)
				}
				m := kindWord[verb].FindStringSubmatch(string(text) + stderr)
				if m == nil || m[1] != string(kind) {
					t.Errorf("%s calls it %q: %s %s", verb, m, text, stderr)
				}
			}
		})
	}
	for _, args := range [][]string{{"inspect", ref + ":image"}, {"verify", ref + ":image"},
		{"index", ref + ":image", "--min-layer-size", "0", "--prefetch-file", "/etc/**"}} {
		documents, stderr := jsonOf(t, args...)
		if got := prefetchArtifacts(documents); !slices.Equal(got, all.prefetch) {
			t.Errorf("%s names the prefetch artifacts %q, want %q: %s", args[0], got, all.prefetch, stderr)
		}
	}
}

package soci_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const repoName = "team/app"

// both is how the functions ask for both versions.
func both(tag string) soci.Options {
	return soci.Options{MinLayerSize: 1, SpanSize: 64 << 10, IndexVersion: soci.Both, Tag: tag, TagUnindexed: true}
}

func openRepo(t testing.TB, s *registrytest.Server) *ecrclient.Repository {
	t.Helper()
	r, err := ecrclient.New(s.Host()+"/"+repoName, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func layers(blobs ...[]byte) []registrytest.Layer {
	var out []registrytest.Layer
	for _, b := range blobs {
		out = append(out, registrytest.Layer{Content: b})
	}
	return out
}

// readIndex returns the image index under a tag or digest; nil if there is none.
func readIndex(t testing.TB, s *registrytest.Server, reference string) *ocispec.Index {
	t.Helper()
	b := s.Manifest(t, repoName, reference)
	if b == nil {
		return nil
	}
	var x ocispec.Index
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatal(err)
	}
	return &x
}

func readManifest(t testing.TB, s *registrytest.Server, d digest.Digest) *ocispec.Manifest {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Manifest(t, repoName, d.String()), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func tagged(t testing.TB, s *registrytest.Server, tag string) digest.Digest {
	t.Helper()
	b := s.Manifest(t, repoName, tag)
	if b == nil {
		return ""
	}
	return digest.FromBytes(b)
}

// platformImages pushes an image of several platforms and an attestation.
func platformImages(t *testing.T, s *registrytest.Server, tag string) (ocispec.Descriptor, []ocispec.Descriptor) {
	t.Helper()
	shared := good(t, 0)
	amd := s.PushImage(t, repoName, "", registrytest.Image{Docker: true, Layers: layers(shared, good(t, 1))})
	arm := s.PushImage(t, repoName, "",
		registrytest.Image{Docker: true, Layers: layers(shared), Platform: "linux/arm64/v8"})
	none := s.PushImage(t, repoName, "", registrytest.Image{Docker: true, Platform: "linux/s390x",
		Layers: []registrytest.Layer{{MediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
			Content: []byte("\x28\xb5\x2f\xfd" + strings.Repeat("z", 100))}}})
	attestation := s.PushAttestation(t, repoName, amd.Manifest)
	parts := []ocispec.Descriptor{amd.Manifest, arm.Manifest, none.Manifest, attestation.Manifest}
	return s.PushIndex(t, repoName, tag, false, parts...), parts
}

func TestEnabledImage(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, parts := platformImages(t, s, "v1")
	r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil {
		t.Fatal(err)
	}
	if !expect.Equal(t, expect.Facts{
		{"Outcome", r.Outcome(), soci.OutcomeIndexed},
		{"Enabled.Outcome", r.Enabled.Outcome, soci.OutcomeTagged},
		{"Enabled.Tag", r.Enabled.Tag, "v1-soci"},
		{"Enabled.Unindexed", r.Enabled.Unindexed, false},
	}, "%s %+v", r.Outcome(), r.Enabled) {
		t.FailNow()
	}
	if tagged(t, s, "v1") != image.Digest || tagged(t, s, "v1-soci") != r.Enabled.Image.Digest {
		t.Error("the tags are not on their images")
	}
	x := readIndex(t, s, "v1-soci")
	if x.MediaType != ocispec.MediaTypeImageIndex || len(x.Manifests) != 6 {
		t.Fatalf("%+v", x)
	}
	for i, indexed := range []bool{true, true, false} {
		d, m := x.Manifests[i], readManifest(t, s, x.Manifests[i].Digest)
		was := readManifest(t, s, parts[i].Digest)
		if d.MediaType != ocispec.MediaTypeImageManifest || m.MediaType != d.MediaType ||
			m.Config.MediaType != ocispec.MediaTypeImageConfig {
			t.Errorf("%d: media types %s, %s, %s", i, d.MediaType, m.MediaType, m.Config.MediaType)
		}
		if m.Config.Digest != was.Config.Digest ||
			!slices.EqualFunc(m.Layers, was.Layers,
				func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest && a.MediaType == b.MediaType }) {
			t.Errorf("%d: the content changed: %+v", i, m)
		}
		if name := m.Annotations[soci.AnnotationIndexDigest]; (name != "") != indexed ||
			d.Annotations[soci.AnnotationIndexDigest] != name || name != r.Manifests[i].IndexV2.Digest.String() {
			t.Errorf("%d: names the SOCI index %q, listed with %v, the result has %s", i, name, d.Annotations,
				r.Manifests[i].IndexV2.Digest)
		}
		if r.Manifests[i].Enabled.Digest != d.Digest || (r.Manifests[i].Index.Digest != "") != indexed {
			t.Errorf("%d: %+v", i, r.Manifests[i])
		}
	}
	// The attestation is the same manifest, of the manifest that took the place.
	a, was := x.Manifests[3], parts[3]
	expect.Equal(t, expect.Facts{
		{"Digest", a.Digest, was.Digest},
		{"MediaType", a.MediaType, was.MediaType},
		{`a.Annotations["vnd.docker.reference.type"]`, a.Annotations["vnd.docker.reference.type"],
			"attestation-manifest"},
		{`a.Annotations["vnd.docker.reference.digest"]`, a.Annotations["vnd.docker.reference.digest"],
			x.Manifests[0].Digest.String()},
	}, "attestation %+v", a)
	for i, d := range x.Manifests[4:] {
		if d.ArtifactType != soci.ArtifactTypeV2 || d.Platform == nil {
			t.Fatalf("SOCI index %d is listed as %+v", i, d)
		}
		if d.Platform.Architecture != parts[i].Platform.Architecture ||
			d.Platform.Variant != parts[i].Platform.Variant ||
			d.Annotations[soci.AnnotationImageManifestDigest] != x.Manifests[i].Digest.String() {
			t.Errorf("SOCI index %d is listed as %+v", i, d)
		}
		index, err := soci.ParseIndex(s.Manifest(t, repoName, d.Digest.String()))
		if err != nil || index.Subject != nil || index.Config.MediaType != soci.ArtifactTypeV2 {
			t.Fatalf("SOCI index %d: %v %+v", i, err, index)
		}
		for _, z := range index.Layers {
			if s.Blob(t, repoName, z.Digest) == nil {
				t.Errorf("the zTOC %s is not there", z.Digest)
			}
		}
	}
	// One build serves both: each layer was read once.
	for _, l := range r.Manifests[0].Layers {
		if n := s.Count(http.MethodGet, l.Layer.Digest.String()); n != 1 {
			t.Errorf("layer %s was read %d times", l.Layer.Digest, n)
		}
	}

	// Again, nothing is sent but the two requests that try the permission to push.
	s.Clear()
	r, err = soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil {
		t.Fatalf("again: %v %+v", err, r)
	}
	if r.Enabled.Outcome != soci.OutcomeAlreadyTagged || r.BytesPushed != 0 || !r.Manifests[0].AlreadyThere {
		t.Errorf("again: %v %+v", err, r)
	}
	if n := s.Count(http.MethodPut, "") + s.Count(http.MethodPost, ""); n != 2 ||
		s.Count(http.MethodPut, "/blobs/uploads/") != 1 {
		t.Errorf("again: %d requests that write", n)
	}
}

// The tag comes last, and each content before what names it.
func TestPushOrder(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	puts := 0
	for _, q := range s.Requests() {
		if q.Method == http.MethodPut {
			puts++
			at[q.Path[strings.LastIndex(q.Path, "/")+1:]] = puts
			if strings.Contains(q.Path, "/blobs/") {
				at["blob"] = puts
			}
		}
	}
	for _, m := range r.Manifests[:2] {
		if a, b, c, d := at["blob"], at[m.Index.Digest.String()], at[m.IndexV2.Digest.String()],
			at[m.Enabled.Digest.String()]; !(0 < a && a < b && b < c && c < d) {
			t.Errorf("%s: blobs, v1, v2 and manifest at %d, %d, %d, %d", m.Platform, a, b, c, d)
		}
	}
	if at["v1-soci"] != puts {
		t.Errorf("the tag is the PUT %d of %d", at["v1-soci"], puts)
	}
	if at["v1"] != 0 {
		t.Error("the image's own tag was written")
	}
}

func TestSingleManifest(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image := s.PushImage(t, repoName, "v1",
		registrytest.Image{Layers: layers(good(t, 0)), Platform: "linux/arm64/v8",
			Annotations: map[string]string{"a": "<b>"}}).Manifest
	image.Platform = nil
	o := both("v1")
	o.IndexVersion = soci.V2
	r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil || r.Outcome() != soci.OutcomeIndexed || r.Manifests[0].Index.Digest != "" {
		t.Fatalf("%v %+v", err, r)
	}
	x := readIndex(t, s, "v1-soci")
	if len(x.Manifests) != 2 {
		t.Fatalf("%+v", x)
	}
	if x.Manifests[0].Platform.Architecture != "arm64" || x.Manifests[1].Platform.Architecture != "arm64" ||
		x.Manifests[0].Annotations["a"] != "<b>" {
		t.Errorf("%+v", x)
	}
	referrers, err := repo.Referrers(t.Context(), image, soci.ArtifactTypeV1)
	if err != nil || len(referrers) != 0 {
		t.Errorf("V2 alone pushed referrers: %v %v", err, referrers)
	}
}

func TestNestedIndex(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	amd := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(good(t, 0))}).Manifest
	arm := s.PushImage(t, repoName, "",
		registrytest.Image{Layers: layers(good(t, 1)), Platform: "linux/arm64"}).Manifest
	nested := s.PushIndex(t, repoName, "", true, arm)
	nested.Annotations = map[string]string{"keep": "me"}
	image := s.PushIndex(t, repoName, "v1", false, amd, nested)
	r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil || r.Enabled.Outcome != soci.OutcomeTagged {
		t.Fatalf("%v %+v", err, r)
	}
	x := readIndex(t, s, "v1-soci")
	if len(x.Manifests) != 4 || x.Manifests[1].MediaType != ocispec.MediaTypeImageIndex ||
		x.Manifests[1].Annotations["keep"] != "me" {
		t.Fatalf("%+v", x)
	}
	inner := readIndex(t, s, x.Manifests[1].Digest.String())
	if inner == nil || len(inner.Manifests) != 1 || inner.MediaType != ocispec.MediaTypeImageIndex {
		t.Fatalf("the nested index is %+v", inner)
	}
	m := readManifest(t, s, inner.Manifests[0].Digest)
	if m.Annotations[soci.AnnotationIndexDigest] != x.Manifests[3].Digest.String() {
		t.Errorf("the nested manifest names %v, not %s", m.Annotations, x.Manifests[3].Digest)
	}
}

// A platform that is not asked for is in the SOCI-enabled image all the same.
func TestEnabledPlatforms(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	o := both("v1")
	o.Platforms = []string{"linux/arm64"}
	r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	x := readIndex(t, s, "v1-soci")
	if len(x.Manifests) != 5 {
		t.Fatalf("%+v\n%+v", x, r)
	}
	if x.Manifests[4].Platform.Architecture != "arm64" || r.Manifests[0].Platform != "linux/arm64" ||
		r.Manifests[0].IndexV2.Digest == "" {
		t.Errorf("%+v\n%+v", x, r)
	}
	if m := readManifest(t, s, x.Manifests[0].Digest); m.Annotations[soci.AnnotationIndexDigest] != "" {
		t.Errorf("the other platform is annotated: %v", m.Annotations)
	}
}

func TestUnindexedImage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		layers []registrytest.Layer
		index  bool
	}{
		{"single manifest", layers([]byte("too small")), false},
		{"no layers at all", nil, false},
		{"image index", layers([]byte("too small")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			tag := "v1"
			if tt.index {
				tag = ""
			}
			p := s.PushImage(t, repoName, tag,
				registrytest.Image{Layers: tt.layers, Docker: true, Platform: "linux/arm64"})
			image, parts := p.Manifest, []ocispec.Descriptor{p.Manifest}
			if tt.index {
				parts = append(parts, s.PushAttestation(t, repoName, p.Manifest).Manifest)
				image = s.PushIndex(t, repoName, "v1", true, parts...)
			}
			o := both("v1")
			o.MinLayerSize = 0

			o.TagUnindexed = false
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatalf("not wanted: %v %+v", err, r)
			}
			if !expect.Equal(t, expect.Facts{
				{"Outcome", r.Outcome(), soci.OutcomeNoLayer},
				{"Enabled.Outcome", r.Enabled.Outcome, soci.OutcomeNoLayer},
				{"BytesPushed", r.BytesPushed, 0},
				{`tagged(t, s, "v1-soci")`, tagged(t, s, "v1-soci"), ""},
			}, "not wanted: %v %+v", err, r) {
				t.FailNow()
			}

			o.TagUnindexed = true
			r, err = soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatalf("%v %+v", err, r)
			}
			if r.Outcome() != soci.OutcomeNoLayer || r.Enabled.Outcome != soci.OutcomeTagged || !r.Enabled.Unindexed {
				t.Fatalf("%v %+v", err, r)
			}
			x := readIndex(t, s, "v1-soci")
			if x.Annotations[soci.AnnotationUnindexed] != "true" || x.MediaType != ocispec.MediaTypeImageIndex {
				t.Errorf("%+v", x)
			}
			if got, want := encoded(x.Manifests), encoded(parts); got != want {
				t.Errorf("it lists\n%s\nthe original\n%s", got, want)
			}
			if tagged(t, s, "v1-soci") == image.Digest {
				t.Error("it is the original, so deleting it deletes that")
			}
			r, err = soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || r.Enabled.Outcome != soci.OutcomeAlreadyTagged || r.BytesPushed != 0 {
				t.Errorf("again: %v %+v", err, r)
			}
		})
	}
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestUntagged(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "")
	for _, tt := range []struct {
		version soci.IndexVersion
		want    soci.Outcome
		pushes  bool
	}{
		{soci.V2, soci.OutcomeUntagged, false},
		{soci.Both, soci.OutcomeIndexed, true},
	} {
		o := both("")
		o.IndexVersion = tt.version
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatalf("%s: %v %+v", tt.version, err, r)
		}
		expect.Equal(t, expect.Facts{
			{"Outcome", r.Outcome(), tt.want},
			{"Enabled.Outcome", r.Enabled.Outcome, soci.OutcomeUntagged},
			{`r.Enabled.Reason == ""`, r.Enabled.Reason == "", false},
			{"r.BytesPushed > 0", r.BytesPushed > 0, tt.pushes},
			{"r.BytesRead > 0", r.BytesRead > 0, tt.pushes},
		}, "%s: %v %+v", tt.version, err, r)
	}
}

func TestVersionOptions(t *testing.T) {
	s := newStore()
	image := s.image("amd64", s.add(gz, good(t, 0)))
	long := strings.Repeat("t", 128-len(soci.DefaultTagSuffix))
	for _, tt := range []struct {
		name string
		o    soci.Options
		want error
	}{
		{"unknown version", soci.Options{IndexVersion: "v2"}, soci.ErrInvalidOption},
		{"tag", soci.Options{IndexVersion: soci.V2, Tag: "-x"}, soci.ErrInvalidOption},
		{"suffix", soci.Options{IndexVersion: soci.V2, Tag: "x", TagSuffix: "+soci"}, soci.ErrInvalidOption},
		{"too long together", soci.Options{IndexVersion: soci.V2, Tag: long + "t"}, soci.ErrInvalidOption},
		{"no tags here", soci.Options{IndexVersion: soci.Both, Tag: "x"}, soci.ErrInvalidOption},
		{"as long as can be", soci.Options{IndexVersion: soci.Both, Tag: long, DryRun: true}, nil},
		{"a tag that V1 does not use", soci.Options{Tag: long + "t"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := soci.IndexImage(t.Context(), s, s, image, tt.o); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	for _, v := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
		if got, err := soci.ParseIndexVersion(string(v)); err != nil || got != v {
			t.Errorf("%s: %v %v", v, got, err)
		}
	}
	if _, err := soci.ParseIndexVersion(""); !errors.Is(err, soci.ErrInvalidOption) {
		t.Error(err)
	}
}

// A dry run returns the digests of the real one, and sends the destination no
// request.
func TestEnabledDryRun(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	o := both("v1")
	o.DryRun = true
	dry, err := soci.IndexImage(t.Context(), repo, nil, image, o)
	if err != nil || tagged(t, s, "v1-soci") != "" {
		t.Fatal(err)
	}
	r, err := soci.IndexImage(t.Context(), repo, repo, image, both("v1"))
	if err != nil || dry.Enabled.Image.Digest != r.Enabled.Image.Digest || dry.Enabled.Outcome != r.Enabled.Outcome {
		t.Errorf("%v %+v %+v", err, dry.Enabled, r.Enabled)
	}
}

// A SOCI-enabled image that a registry would not take is a limit exceeded.
func TestEnabledTooLarge(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	image, _ := platformImages(t, s, "v1")
	o := both("v1")
	o.Limits.MaxManifestSize = image.Size
	if _, err := soci.IndexImage(t.Context(), repo, repo, image, o); !errors.Is(err, soci.ErrLimit) {
		t.Error(err)
	}
}

func TestConcurrentDuplicates(t *testing.T) {
	s := registrytest.Start(t)
	image, _ := platformImages(t, s, "v1")
	var wg sync.WaitGroup
	results := make([]*soci.Result, 4)
	for i := range results {
		repo := openRepo(t, s)
		wg.Go(func() {
			var err error
			if results[i], err = soci.IndexImage(t.Context(), repo, repo, image, both("v1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range results {
		if r == nil || r.Enabled.Image.Digest != tagged(t, s, "v1-soci") || r.Outcome() != soci.OutcomeIndexed {
			t.Errorf("%+v", r)
		}
	}
}

// A tag that is too long for the suffix costs the SOCI-enabled image, not the
// SOCI index v1.

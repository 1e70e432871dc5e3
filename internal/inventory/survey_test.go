package inventory_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

func TestSurvey(t *testing.T) {
	a := newAccount(t)
	a.fill()
	chosen := []string{
		"app:bad fails corrupt manifest sha256:itself: it has the field manifests, of " +
			"another kind of manifest",
		"app:bare missing no SOCI index",
		"app:broken incomplete SOCI index BROKEN is not in the repository",
		"app:done indexed",
		"app:half incomplete there is no tag half-soci",
		"app:moved stale moved-soci was made of another image",
		"app:nothing nothing-to-index no layer to index",
		"app:other other-tool only by \"another tool\"",
		"app:out opted-out image manifest sha256:itself has the label soci-index-builder.skip=true",
		"app:said nothing-to-index no layer to index",
		"app:taken missing linux/amd64 has no SOCI index v1; taken-soci is not a SOCI-enabled image: media type " +
			"\"application/vnd.oci.image.manifest.v1+json\"",
		"app:zstd unindexable no layer can be indexed: 1 compressed with zstd",
		"team/web:1 indexed",
	}
	o := inventory.Options{Rules: rules(t, "*:*,!*:*-debug"), MinLayerSize: 1}
	run := func(t *testing.T, o inventory.Options) []string {
		got := lines(t, inventory.Survey(t.Context(), a.source(), o))
		for i, line := range got {
			if before, after, ok := strings.Cut(line, "SOCI index sha256:"); ok {
				_, after, _ = strings.Cut(after, " ")
				got[i] = before + "SOCI index BROKEN " + after
			}
		}
		return got
	}
	t.Run("chosen", func(t *testing.T) { compare(t, run(t, o), chosen...) })
	t.Run("one at a time", func(t *testing.T) {
		one := o
		one.Concurrency = 1
		compare(t, run(t, one), chosen...)
	})
	t.Run("before the stack", func(t *testing.T) {
		before := o
		before.Deployed = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		got := slices.DeleteFunc(run(t, before), func(line string) bool { return !strings.Contains(line, " missing ") })
		compare(t, got, "app:bare missing pushed before the stack was created, 2100-01-01", chosen[10])
	})
	t.Run("of other platforms", func(t *testing.T) {
		other := o
		other.Platforms = []string{"windows", "linux/s390x"}
		n := 0
		for _, line := range run(t, other) {
			if strings.Contains(line, " platform-not-chosen the image has linux/amd64") &&
				strings.HasSuffix(line, "and chosen are windows, linux/s390x") {
				n++
			} else if !strings.Contains(line, " opted-out ") && !strings.Contains(line, " fails ") {
				t.Errorf("%s, want platform-not-chosen", line)
			}
		}
		if n < 5 {
			t.Errorf("%d images are of platforms that are not chosen", n)
		}
	})
	t.Run("V1", func(t *testing.T) {
		v1 := o
		v1.IndexVersion = soci.V1
		got := slices.DeleteFunc(run(t, v1), func(line string) bool {
			return !strings.Contains(line, "indexed") && !strings.Contains(line, "other-tool")
		})
		compare(t, got, "app:broken indexed", "app:done indexed", "app:half indexed",
			"app:other other-tool only by \"another tool\"",
			"app:zstd unindexable no layer can be indexed: 1 compressed with zstd", "team/web:1 indexed")
	})
	t.Run("V2", func(t *testing.T) {
		v2 := o
		v2.IndexVersion = soci.V2
		compare(t, slices.DeleteFunc(run(t, v2), func(line string) bool {
			return !strings.HasPrefix(line, "app:half") && !strings.HasPrefix(line, "app:done")
		}),
			"app:done indexed", "app:half incomplete there is no tag half-soci")
	})
	t.Run("every tool", func(t *testing.T) {
		every := o
		every.AnyTool = true
		if got := run(t, every); !slices.Contains(got, "app:other indexed") {
			t.Error(got)
		}
	})
	t.Run("layer size", func(t *testing.T) {
		large := o
		large.MinLayerSize = 1 << 30
		got := run(t, large)
		// An indexed image is indexed, however small its layers.
		for _, want := range []string{"app:bare nothing-to-index no layer to index: 1 smaller than the minimum " +
			"layer size",
			"app:done indexed"} {
			if !slices.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, strings.Join(got, "\n"))
			}
		}
	})
	t.Run("tags", func(t *testing.T) {
		some := o
		some.Tags = map[string][]string{"app": {"moved", "bare"}, "team/web": {"2-debug"}}
		compare(t, run(t, some), "app:bare missing no SOCI index",
			"app:moved stale moved-soci was made of another image")
		some.All = true
		compare(t, run(t, some), "app:bare missing no SOCI index",
			"app:moved stale moved-soci was made of another image",
			"team/web:2-debug excluded the filter !*:*-debug excludes it")
	})
}

func TestSurveyAll(t *testing.T) {
	a := newAccount(t)
	a.fill()
	a.registry.PushManifest(t, "app", "orphan-soci", ocispec.MediaTypeImageIndex,
		a.registry.Manifest(t, "app", "done-soci"))
	var got []string
	kinds := map[soci.Kind]int{}
	for r, err := range inventory.Survey(t.Context(), a.source(),
		inventory.Options{Rules: rules(t, "*:*,!*:*-debug"), MinLayerSize: 1, All: true}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[r.Kind]++
		if !r.State.Chosen() && r.Tag != "" {
			got = append(got, fmt.Sprintf("%s:%s %s %s", r.Repository, r.Tag, r.State, r.Reason))
		}
		if r.Descriptor.Digest != r.Digest {
			t.Errorf("%s:%s was not looked into", r.Repository, r.Tag)
		}
	}
	compare(t, got,
		"app:broken-soci no-image SOCI-enabled image",
		"app:done-soci no-image SOCI-enabled image",
		"app:orphan-soci no-image SOCI-enabled image, but there is no tag orphan any more",
		"app:moved-soci no-image SOCI-enabled image",
		"app:other-soci no-image SOCI-enabled image",
		"app:said-soci no-image stands for an image without a layer to index",
		"app:taken-soci excluded tag suffix -soci",
		"team/web:1-soci no-image SOCI-enabled image",
		"team/web:2-debug excluded the filter !*:*-debug excludes it",
	)
	// The parts of an image index are not listed again: neither its platforms, nor
	// a SOCI index v2, nor an attestation. The image that lost its tag is listed,
	// and so is the one that never had any.
	want := map[soci.Kind]int{
		soci.KindImage: 16, soci.KindImageIndex: 1, soci.KindSOCIIndexV1: 7,
		soci.KindEnabledImage: 6, soci.KindUnindexed: 1, soci.KindSignature: 1,
	}
	for kind := range want {
		if kinds[kind] != want[kind] {
			t.Errorf("%d of kind %q, want %d", kinds[kind], kind, want[kind])
		}
	}
	if len(kinds) != len(want) {
		t.Errorf("kinds %v", kinds)
	}
}

func TestSurveyRecord(t *testing.T) {
	a := newAccount(t)
	image := a.image("app", "1", 0, 1, 0)
	a.registry.PushManifest(t, "app", "2", image.MediaType, a.registry.Manifest(t, "app", "1"))
	pushed := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	a.ecr.PushedAt("app", image.Digest, pushed)
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Deployed: pushed.Add(time.Second)}
	var tags []string
	for r, err := range inventory.Survey(t.Context(), a.source(), o) {
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, r.Tag)
		layers, bytes := r.ToRead()
		if layers != 2 || bytes != int64(len(a.layers[0])+len(a.layers[1])) {
			t.Errorf("%d layers of %d bytes are to be read", layers, bytes)
		}
		expect.Equal(t, expect.Facts{
			{"BeforeStack", r.BeforeStack, true},
			{"Reason", r.Reason, "pushed before the stack was created, 2026-05-06"},
			{"r.PushedAt.Equal(pushed)", r.PushedAt.Equal(pushed), true},
			{"Filter", r.Filter, "*:*"},
		}, "%+v", r)
	}
	if !slices.Equal(tags, []string{"1", "2"}) {
		t.Errorf("tags %q", tags)
	}
	a.index("app", "1", nil)
	var v2 []soci.EnabledState
	for r, err := range inventory.Survey(t.Context(), a.source(), o) {
		if err != nil {
			t.Fatal(err)
		}
		if r.V1 != inventory.CoverFull || !slices.Equal(r.BuildTools, []string{soci.BuildToolIdentifier}) {
			t.Errorf("%+v", r)
		}
		v2 = append(v2, r.Enabled.State)
	}
	if !slices.Equal(v2, []soci.EnabledState{soci.EnabledMatches, soci.EnabledAbsent}) {
		t.Errorf("%v", v2)
	}
}

func TestSurveyUntagged(t *testing.T) {
	a := newAccount(t)
	a.fill()
	untagged := rules(t, "team/*:*")
	untagged.Untagged = true
	o := inventory.Options{Rules: untagged, MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)),
		"team/web:1 indexed", "team/web:2-debug missing no SOCI index", "team/web: missing no SOCI index")
	// A SOCI-enabled image can only be had for a tag.
	o.IndexVersion, o.All = soci.V2, true
	got := lines(t, inventory.Survey(t.Context(), a.source(inventory.WithRepositories("team/web")), o))
	if !slices.Contains(got, "team/web: untagged a SOCI-enabled image needs a tag") {
		t.Errorf("%q", got)
	}
}

// One platform of an image is indexed, and another manifest of a platform
// needs no SOCI index v2.
func TestSurveyPlatforms(t *testing.T) {
	a := newAccount(t)
	push := func(platform string, layer int) ocispec.Descriptor {
		return a.registry.PushImage(t, "app", "",
			registrytest.Image{Platform: platform, Layers: []registrytest.Layer{{Content: a.layers[layer]}}}).Manifest
	}
	amd, arm := push("linux/amd64", 0), push("linux/arm64", 1)
	a.registry.PushIndex(t, "app", "part", false, amd, arm)
	a.index("app", "part", func(o *soci.Options) { o.Platforms = []string{"linux/amd64"} })
	a.registry.PushIndex(t, "app", "twice", false, push("linux/amd64", 2), push("linux/amd64", 3))
	a.index("app", "twice", nil)
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)),
		"app:part incomplete linux/arm64 has no SOCI index v1; linux/arm64 has no SOCI index v2 in part-soci",
		"app:twice indexed")
	for r, err := range inventory.Survey(t.Context(), a.source(), o) {
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]inventory.Coverage{"part": inventory.CoverPart,
			"twice": inventory.CoverFull}[r.Tag]; r.V1 != want {
			t.Errorf("%s: V1 is %s, want %s", r.Tag, r.V1, want)
		}
	}
}

// Reading a layer shows that it cannot be indexed. The image index that is left
// behind then says so, and the image is not reported as missing again and again.
func TestSurveyFoundNothing(t *testing.T) {
	a := newAccount(t)
	a.registry.PushImage(t, "app", "1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: []byte(
			"\x28\xb5\x2f\xfd zstd, whatever its media type says")}}})
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:1 missing no SOCI index")
	a.index("app", "1", nil)
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)),
		"app:1 unindexable no layer can be indexed, as 1-soci says")
}

// It was found with a minimum size: layers below it were not read.
func TestSurveyFoundNothingSmall(t *testing.T) {
	a := newAccount(t)
	image := func(platform string) ocispec.Descriptor {
		return a.registry.PushImage(t, "app", "", registrytest.Image{Platform: platform,
			Layers: []registrytest.Layer{{Content: []byte(
				"\x28\xb5\x2f\xfd zstd, whatever its media type says")}}}).Manifest
	}
	a.registry.PushIndex(t, "app", "1", false, image("linux/amd64"), image("linux/arm64"))
	with := func(size int64, platforms ...string) func(*soci.Options) {
		return func(o *soci.Options) { o.MinLayerSize, o.Platforms = size, platforms }
	}
	o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 10}
	for _, tt := range []struct {
		set  func(*soci.Options)
		want string
	}{
		{with(100), "app:1 missing no SOCI index"},
		{with(10, "linux/amd64"), "app:1 missing no SOCI index"},
		{with(10), "app:1 unindexable no layer can be indexed, as 1-soci says"},
	} {
		a.index("app", "1", tt.set)
		compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), tt.want)
	}
	for _, size := range []int64{1, 20} { // no layer is smaller than the 10 bytes that it was found with
		o.MinLayerSize = size
		compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)),
			"app:1 unindexable no layer can be indexed, as 1-soci says")
	}
	o.MinLayerSize = 100
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)),
		"app:1 nothing-to-index no layer to index: 2 smaller than the minimum layer size")
}

// Nothing is requested that the answer does not depend on.
func TestSurveyRequests(t *testing.T) {
	a := newAccount(t)
	a.image("app", "1", 0)
	a.image("other", "1", 1)
	o := inventory.Options{Rules: rules(t, "app:*"), MinLayerSize: 1, IndexVersion: soci.V1}
	compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), "app:1 missing no SOCI index")
	if n := a.aws.Count("ecr", "DescribeImages"); n != 1 {
		t.Errorf("%d repositories were listed", n)
	}
	if n := a.registry.Count("", "/manifests/1-soci$"); n != 0 {
		t.Errorf("the suffixed tag was asked for %d times", n)
	}
	if n := a.registry.Count(http.MethodGet, "/manifests/"); n != 1 {
		t.Errorf("%d manifests were read", n)
	}
	a.ecr.Images("app", awstest.Image{Tags: []string{"2"}, Archived: true})
	got := lines(t, inventory.Survey(t.Context(), a.source(inventory.WithArchived(), inventory.WithRepositories("app")),
		o))
	const archived = "archived in ECR's archive storage class, so nobody can pull it: restore it to have it indexed"
	compare(t, got, "app:1 missing no SOCI index", "app:2 "+archived)
	a.ecr.Images("app", awstest.Image{Tags: []string{"3"}, Archived: true, Status: "ACTIVATING"})
	a.ecr.Images("app", awstest.Image{Tags: []string{"4"}, Archived: true, Status: "NEW"})
	a.ecr.Images("other", awstest.Image{Tags: []string{"5"}, Archived: true})
	o.All = true
	got = lines(t, inventory.Survey(t.Context(), a.source(inventory.WithArchived()), o))
	compare(t, got, "app:1 missing no SOCI index", "app:2 "+archived,
		"app:3 archived being restored from ECR's archive storage class: it can be indexed when that is done",
		"app:4 "+archived, "other:1 excluded no filter matches", "other:5 excluded no filter matches")
}

// A tag without room for the suffix can have no SOCI-enabled image, whatever else
// is there.
func TestSurveyLongTag(t *testing.T) {
	a := newAccount(t)
	tag := strings.Repeat("t", 126)
	a.image("app", tag, 0)
	const why = " with the suffix \"-soci\" has 131 characters, more than the 128 of a tag"
	for _, tt := range []struct {
		version soci.IndexVersion
		indexed bool
		want    string
	}{
		{soci.Both, false, "missing no SOCI index"},
		{soci.V2, true, "fails the tag is too long: %q" + why},
		{soci.V1, true, "indexed"},
		{soci.Both, true, "fails it has its SOCI index v1, but there can be no SOCI-enabled image: " +
			"the tag is too long: %q" + why},
	} {
		if tt.indexed {
			a.index("app", tag, nil)
		}
		want := "app:" + tag + " " + strings.ReplaceAll(tt.want, "%q", `"`+tag+`"`)
		o := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, IndexVersion: tt.version}
		compare(t, lines(t, inventory.Survey(t.Context(), a.source(), o)), want)
	}
}

package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/awstest"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/registrytest"
	"soci-index-builder/internal/selection"
	"soci-index-builder/internal/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// account is an account of AWS with a registry.
type account struct {
	t        *testing.T
	registry *registrytest.Server
	aws      *awstest.Server
	ecr      *awstest.ECR
	layers   [][]byte
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{t: t, registry: registrytest.Start(t), aws: awstest.Start(t)}
	a.ecr = awstest.NewECR(a.registry)
	a.aws.Handle("ecr", a.ecr)
	stored, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stored {
		if l.Compression == testlayers.Gzip {
			a.layers = append(a.layers, l.Blob())
		}
	}
	return a
}

// config is that of the AWS SDK, with attempts that do not wait.
func (a *account) config() aws.Config {
	cfg := a.aws.Config()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 5
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return cfg
}

func (a *account) source(o ...inventory.ECROption) *inventory.ECRSource {
	return inventory.ECR(a.config(), append(o, inventory.WithClientOptions(
		ecrclient.WithEndpoint(a.registry.URL()), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1})))...)
}

// image pushes one with layers of the given numbers.
func (a *account) image(repository, tag string, layers ...int) ocispec.Descriptor {
	a.t.Helper()
	img := registrytest.Image{Annotations: map[string]string{"made for": repository + ":" + tag}}
	for _, n := range layers {
		img.Layers = append(img.Layers, registrytest.Layer{Content: a.layers[n]})
	}
	d := a.registry.PushImage(a.t, repository, tag, img).Manifest
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

func (a *account) index(repository, tag string, set func(*soci.Options)) *soci.Result {
	a.t.Helper()
	repo, err := ecrclient.New(a.registry.Host() + "/" + repository)
	if err != nil {
		a.t.Fatal(err)
	}
	image, err := repo.Resolve(a.t.Context(), tag)
	if err != nil {
		a.t.Fatal(err)
	}
	o := soci.Options{MinLayerSize: 1, IndexVersion: soci.Both, Tag: tag, TagUnindexed: true}
	if set != nil {
		set(&o)
	}
	r, err := soci.IndexImage(a.t.Context(), repo, repo, image, o)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

func (a *account) delete(repository string, d digest.Digest) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodDelete, a.registry.Registry.URL()+"/v2/"+repository+"/manifests/"+d.String(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		a.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

func rules(t *testing.T, list string) selection.Rules {
	t.Helper()
	f, err := filters.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return selection.Rules{Filters: f, TagSuffix: "-soci"}
}

// lines gives each record as "repository:tag state reason".
func lines(t *testing.T, records iter.Seq2[inventory.Record, error]) []string {
	t.Helper()
	var out []string
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		reason := strings.ReplaceAll(r.Reason, r.Digest.String(), "sha256:itself")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s:%s %s %s", r.Repository, r.Tag, r.State, reason)))
	}
	return out
}

func compare(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// fill pushes an image of every state.
func (a *account) fill() {
	another := func(o *soci.Options) { o.BuildToolIdentifier = "another tool" }
	a.image("app", "bare", 0)
	a.image("app", "done", 0, 1)
	a.index("app", "done", nil)
	a.image("app", "half", 1)
	a.index("app", "half", func(o *soci.Options) { o.IndexVersion = soci.V1 })
	a.image("app", "moved", 0)
	a.index("app", "moved", nil)
	a.image("app", "moved", 2)
	a.image("app", "other", 2, 1)
	a.index("app", "other", another)
	a.image("app", "nothing")
	a.image("app", "said")
	a.index("app", "said", nil)
	a.registry.PushImage(a.t, "app", "out", registrytest.Image{Layers: []registrytest.Layer{{Content: a.layers[0]}},
		Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"soci-index-builder.skip":"true"}}}`)})
	a.registry.PushImage(a.t, "app", "zstd", registrytest.Image{Layers: []registrytest.Layer{
		{MediaType: "application/vnd.oci.image.layer.v1.tar+zstd", Content: []byte("zstd")}}})
	a.image("app", "taken", 3)
	a.image("app", "taken-soci", 4)
	gone := a.image("app", "broken", 5)
	a.delete("app", a.index("app", "broken", nil).Manifests[0].IndexV2.Digest)
	a.registry.PushReferrer(a.t, "app", gone, "application/vnd.cncf.notary.signature", []byte("signed"))
	a.registry.PushManifest(a.t, "app", "bad", ociManifest,
		append([]byte(`{"manifests":[],`), a.registry.Manifest(a.t, "app", "bare")[1:]...)) // both an image and an image index
	amd := a.registry.PushImage(a.t, "team/web", "", registrytest.Image{Layers: []registrytest.Layer{{Content: a.layers[0]}}})
	arm := a.registry.PushImage(a.t, "team/web", "", registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{{Content: a.layers[1]}}})
	a.registry.PushIndex(a.t, "team/web", "1", false, amd.Manifest, arm.Manifest, a.registry.PushAttestation(a.t, "team/web", amd.Manifest).Manifest)
	a.index("team/web", "1", nil)
	a.image("team/web", "2-debug", 1)
	a.image("team/web", "", 6)
}

func TestSurvey(t *testing.T) {
	a := newAccount(t)
	a.fill()
	chosen := []string{
		"app:bad fails image sha256:itself: corrupt manifest sha256:itself: it holds the fields of an image manifest and of an image index",
		"app:bare missing no SOCI index",
		"app:broken incomplete SOCI index BROKEN is not in the repository",
		"app:done indexed",
		"app:half incomplete there is no tag half-soci",
		"app:moved stale moved-soci was made of another image",
		"app:nothing nothing-to-index no layer to index",
		"app:other other-tool only by \"another tool\"",
		"app:out opted-out image manifest sha256:itself has the label soci-index-builder.skip=true",
		"app:said nothing-to-index no layer to index",
		"app:taken missing linux/amd64 has no SOCI index v1; taken-soci is not a SOCI-enabled image: media type \"application/vnd.oci.image.manifest.v1+json\"",
		"app:zstd nothing-to-index no layer to index: 1 zstd",
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
	t.Run("V1", func(t *testing.T) {
		v1 := o
		v1.IndexVersion = soci.V1
		got := slices.DeleteFunc(run(t, v1), func(line string) bool {
			return !strings.Contains(line, "indexed") && !strings.Contains(line, "other-tool")
		})
		compare(t, got, "app:broken indexed", "app:done indexed", "app:half indexed", "app:other other-tool only by \"another tool\"", "team/web:1 indexed")
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
		// What has its index has it, however small its layers.
		for _, want := range []string{"app:bare nothing-to-index no layer to index: 1 below-min-layer-size", "app:done indexed"} {
			if !slices.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, strings.Join(got, "\n"))
			}
		}
	})
	t.Run("tags", func(t *testing.T) {
		some := o
		some.Tags = map[string][]string{"app": {"moved", "bare"}, "team/web": {"2-debug"}}
		compare(t, run(t, some), "app:bare missing no SOCI index", "app:moved stale moved-soci was made of another image")
		some.All = true
		compare(t, run(t, some), "app:bare missing no SOCI index", "app:moved stale moved-soci was made of another image",
			"team/web:2-debug excluded the filter !*:*-debug excludes it")
	})
}

func TestSurveyAll(t *testing.T) {
	a := newAccount(t)
	a.fill()
	a.registry.PushManifest(t, "app", "orphan-soci", ociIndex, a.registry.Manifest(t, "app", "done-soci"))
	var got []string
	kinds := map[inventory.Kind]int{}
	for r, err := range inventory.Survey(t.Context(), a.source(), inventory.Options{Rules: rules(t, "*:*,!*:*-debug"), MinLayerSize: 1, All: true}) {
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
	// What an image index lists is not listed again: neither its platforms, nor
	// a SOCI index v2, nor an attestation. The image that lost its tag, and the
	// one without any, are there.
	want := map[inventory.Kind]int{
		inventory.KindImage: 16, inventory.KindImageIndex: 1, inventory.KindSOCIIndexV1: 7,
		inventory.KindEnabledImage: 6, inventory.KindUnindexed: 1, inventory.KindSignature: 1,
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
		if !r.BeforeStack || r.Reason != "pushed before the stack was created, 2026-05-06" || !r.PushedAt.Equal(pushed) || r.Filter != "*:*" {
			t.Errorf("%+v", r)
		}
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

// Thousands of images in pages, of which a few were pushed since; ECR throttles
// and is late, the registry throttles too.
func TestSurveyLarge(t *testing.T) {
	a := newAccount(t)
	since := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	var want []string
	for i := range 4900 {
		a.ecr.Images("big", awstest.Image{Tags: []string{fmt.Sprintf("old-%04d", i)}, PushedAt: since.Add(-time.Hour)})
	}
	for i := range 100 {
		tag := fmt.Sprintf("new-%03d", i)
		d := a.registry.PushImage(t, "big", tag, registrytest.Image{
			Layers: []registrytest.Layer{{Content: a.layers[0]}}, Annotations: map[string]string{"build": tag}}).Manifest.Digest
		a.ecr.PushedAt("big", d, since.Add(time.Duration(i)*time.Hour))
		want = append(want, "big:"+tag+" missing no SOCI index")
	}
	a.aws.Fail("ecr", "DescribeImages", 2, awstest.Throttled)
	a.aws.Fail("ecr", "DescribeImages", 1, &awstest.Error{After: 10 * time.Millisecond})
	a.aws.Fail("ecr", "DescribeImages", 1, &awstest.Error{Status: http.StatusInternalServerError, Code: "ServerException", Message: "try again"})
	a.registry.Add(registrytest.Rule{Path: "/manifests/", Times: 20, Fault: registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "")})
	source := inventory.ECR(a.config(), inventory.WithClientOptions(ecrclient.WithEndpoint(a.registry.URL()),
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 30, MinWait: time.Nanosecond})))
	var progress []inventory.Progress
	got := lines(t, inventory.Survey(t.Context(), source, inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Since: since,
		Progress: func(p inventory.Progress) { progress = append(progress, p) }}))
	compare(t, got, want...)
	if n := a.aws.Count("ecr", "DescribeImages"); n != 5+3 {
		t.Errorf("%d calls of DescribeImages, want 5 pages and 3 more attempts", n)
	}
	if last := progress[len(progress)-1]; len(progress) != 100 || last != (inventory.Progress{Repositories: 1, Images: 100, Done: 100}) {
		t.Errorf("%d times progress, at last %+v", len(progress), last)
	}
}

// An image that goes away meanwhile is no error; one that has lost a part is
// told.
func TestSurveyGone(t *testing.T) {
	a := newAccount(t)
	first := a.image("app", "1", 0)
	a.image("app", "2", 1)
	part := a.image("app", "", 2)
	a.registry.PushIndex(t, "app", "3", false, part)
	a.delete("app", part.Digest)
	notFound := registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")
	a.registry.Add(registrytest.Rule{Path: "/manifests/" + first.Digest.String(), Fault: notFound})
	got := lines(t, inventory.Survey(t.Context(), a.source(), inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}))
	if len(got) != 2 || got[0] != "app:2 missing no SOCI index" || !strings.HasPrefix(got[1], "app:3 fails ") {
		t.Errorf("%q", got)
	}
	// Between the manifest and its config.
	a.registry.Clear()
	a.registry.Add(registrytest.Rule{Path: "/manifests/" + first.Digest.String(), Skip: 2, Fault: notFound},
		registrytest.Rule{Path: "/referrers/" + first.Digest.String(), Fault: notFound},
		registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 1, Fault: notFound})
	one := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Concurrency: 1}
	if got := lines(t, inventory.Survey(t.Context(), a.source(), one)); len(got) != 2 || got[0] != "app:2 missing no SOCI index" {
		t.Errorf("%q", got)
	}
}

func TestSurveyErrors(t *testing.T) {
	all := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	type result struct {
		records int
		errs    []error
		of      []string // repositories
	}
	survey := func(ctx context.Context, src inventory.Source, o inventory.Options) (r result) {
		for record, err := range inventory.Survey(ctx, src, o) {
			if err == nil {
				r.records++
				continue
			}
			r.errs = append(r.errs, err)
			r.of = append(r.of, record.Repository)
		}
		return r
	}
	t.Run("one repository is denied", func(t *testing.T) {
		a := newAccount(t)
		for i := range 30 {
			a.registry.PushImage(t, "a", fmt.Sprint(i), registrytest.Image{Annotations: map[string]string{"n": fmt.Sprint(i)}})
		}
		a.image("b", "1", 0)
		a.registry.Add(registrytest.Rule{Path: "/v2/a/", Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
		r := survey(t.Context(), a.source(), all)
		if r.records != 1 || len(r.errs) != 1 || r.of[0] != "a" || !errors.Is(r.errs[0], ecrclient.ErrDenied) ||
			!strings.Contains(r.errs[0].Error(), "29 more images of a are not looked at") {
			t.Errorf("%+v", r)
		}
		if n := a.registry.Count("", "/v2/a/"); n >= 30 {
			t.Errorf("%d requests to a repository that denies", n)
		}
	})
	t.Run("one repository cannot be listed", func(t *testing.T) {
		a := newAccount(t)
		a.image("a", "1", 0)
		a.image("b", "1", 0)
		a.aws.Fail("ecr", "DescribeImages", 1, &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
		if r := survey(t.Context(), a.source(), all); r.records != 1 || len(r.errs) != 1 || r.of[0] != "a" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no repository can be listed", func(t *testing.T) {
		a := newAccount(t)
		a.aws.Fail("ecr", "DescribeRepositories", 1, &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
		if r := survey(t.Context(), a.source(), all); r.records != 0 || len(r.errs) != 1 || r.of[0] != "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no such repository", func(t *testing.T) {
		a := newAccount(t)
		if r := survey(t.Context(), a.source(inventory.WithRepositories("none")), all); len(r.errs) != 1 || !errors.Is(r.errs[0], inventory.ErrNoRepository) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no such tag", func(t *testing.T) {
		a := newAccount(t)
		a.image("a", "1", 0)
		o := all
		o.Tags = map[string][]string{"a": {"1", "2"}}
		if r := survey(t.Context(), a.source(), o); r.records != 0 || len(r.errs) != 1 || !errors.Is(r.errs[0], inventory.ErrNoTag) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		a := newAccount(t)
		a.image("a", "1", 0)
		a.image("a", "2", 1)
		ctx, cancel := context.WithCancel(t.Context())
		a.registry.Add(registrytest.Rule{Path: "/v2/a/", Skip: 3, Fault: func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			cancel()
			<-r.Context().Done()
		}})
		if r := survey(ctx, a.source(), all); len(r.errs) != 1 || !errors.Is(r.errs[0], context.Canceled) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("not read to its end", func(t *testing.T) {
		a := newAccount(t)
		for i := range 5 {
			a.registry.PushImage(t, "a", fmt.Sprint(i), registrytest.Image{Annotations: map[string]string{"n": fmt.Sprint(i)}})
		}
		for range inventory.Survey(t.Context(), a.source(), all) {
			break
		}
	})
}

func TestRegistry(t *testing.T) {
	a := newAccount(t)
	a.fill()
	source := inventory.Registry(a.registry.Host(), []string{"team/web", "app"}, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	o := inventory.Options{Rules: rules(t, "*:*,!*:*-debug"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), source, o)), lines(t, inventory.Survey(t.Context(), a.source(), o))...)

	// The list of tags is not asked for when the tags are given.
	a.registry.Clear()
	source = inventory.Registry(a.registry.Host(), []string{"app"})
	source.OnlyTags("app", "done", "moved")
	o.Tags = map[string][]string{"app": {"done", "moved"}}
	compare(t, lines(t, inventory.Survey(t.Context(), source, o)), "app:done indexed", "app:moved stale moved-soci was made of another image")
	if n := a.registry.Count("", "/tags/list"); n != 0 {
		t.Errorf("the tags were listed %d times", n)
	}
	source.OnlyTags("app", "none")
	for _, err := range inventory.Survey(t.Context(), source, o) {
		if !errors.Is(err, ecrclient.ErrNotFound) {
			t.Errorf("a tag that is not there: %v", err)
		}
	}
	a.registry.Add(registrytest.Rule{Path: "/tags/list", Fault: registrytest.Status(http.StatusNotFound, "NAME_UNKNOWN", "")})
	if _, err := inventory.Registry(a.registry.Host(), nil).Images(t.Context(), "none"); !errors.Is(err, inventory.ErrNoRepository) {
		t.Errorf("no such repository: %v", err)
	}
}

func TestECRImages(t *testing.T) {
	a := newAccount(t)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	a.ecr.Images("app",
		awstest.Image{Tags: []string{"b", "a"}, PushedAt: at, PulledAt: at.Add(time.Hour), Size: 42},
		awstest.Image{ArtifactMediaType: soci.ArtifactTypeV1, Subject: digest.FromString("subject"), Digest: digest.FromString("x")},
		awstest.Image{Tags: []string{"z"}, Archived: true})
	images, err := a.source().Images(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || !slices.Equal(images[0].Tags, []string{"a", "b"}) || !images[0].PushedAt.Equal(at) || !images[0].PulledAt.Equal(at.Add(time.Hour)) ||
		images[0].Size != 42 || images[0].MediaType != ociManifest || images[1].ArtifactType != soci.ArtifactTypeV1 || images[1].Subject != digest.FromString("subject") {
		t.Errorf("%+v", images)
	}
	if images, err = a.source(inventory.WithArchived()).Images(t.Context(), "app"); err != nil || len(images) != 3 || !images[1].Archived {
		t.Errorf("%+v, %v", images, err)
	}
	if _, err := a.source().Images(t.Context(), "none"); !errors.Is(err, inventory.ErrNoRepository) {
		t.Errorf("%v", err)
	}
	if _, err := a.source().Open("app"); err == nil {
		t.Error("the account is not known yet")
	}
	if repo, err := a.source(inventory.WithAccount(awstest.Account)).Open("app"); err != nil || repo.Name() != a.ecr.Host()+"/app" {
		t.Errorf("%v, %v", repo, err)
	}
	var names []string
	a.ecr.Repository("zz", awstest.Repository{})
	a.ecr.Repository("aa", awstest.Repository{Mutability: "IMMUTABLE"})
	for name, err := range a.source().Repositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	compare(t, names, "aa", "app", "zz")
}

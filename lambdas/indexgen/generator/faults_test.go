package generator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/report"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// handlerOf returns a handler that makes SOCI indexes of both versions.
func handlerOf(s *registrytest.Server, options ...ecrclient.Option) *Handler {
	return &Handler{
		Open: func(_ context.Context, e *ecrevent.Event) (Repository, error) {
			return ecrclient.New(s.Host()+"/"+e.Detail.RepositoryName, options...)
		},
		Options: soci.Options{MinLayerSize: minSize, SpanSize: 64 << 10, IndexVersion: soci.Both, TagUnindexed: true},
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// multiImage is an image index of one platform and an attestation.
func multiImage(t *testing.T, s *registrytest.Server) (index ocispec.Descriptor, platform digest.Digest) {
	t.Helper()
	image := s.PushImage(t, repository, "", registrytest.Image{Layers: []registrytest.Layer{
		{Content: layer(t, 1, 2*minSize)}, {Content: layer(t, 2, 3*minSize)}, {Content: layer(t, 3, minSize/2)}}})
	return s.PushIndex(t, repository, "v1", false, image.Manifest,
		s.PushAttestation(t, repository, image.Manifest).Manifest), image.Manifest.Digest
}

// made is what a reader sees of our work, none of which may point to what is
// not there: the SOCI indexes v1 of the platform and the suffixed tag.
func made(t *testing.T, s *registrytest.Server, platform digest.Digest) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, r := range referrers(t, s, platform) {
		seen[r.Digest.String()] = "referrer"
		whole(t, s, r.Digest.String())
	}
	client, err := ecrclient.New(s.Registry.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	if enabled, err := client.Resolve(t.Context(), "v1-soci"); err == nil {
		seen["v1-soci"] = enabled.Digest.String()
		whole(t, s, enabled.Digest.String())
	}
	return seen
}

// whole fails unless everything is there that a manifest leads to.
func whole(t *testing.T, s *registrytest.Server, reference string) {
	t.Helper()
	var m struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(s.Manifest(t, repository, reference), &m); err != nil {
		t.Fatal(err)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, l := range m.Layers {
		if got := int64(len(s.Blob(t, repository, l.Digest))); got != l.Size {
			t.Errorf("blob %s has %d bytes, want %d", l.Digest, got, l.Size)
		}
	}
	for _, child := range m.Manifests {
		whole(t, s, child.Digest.String())
	}
}

// Every request fails once in each way, or all do from one request on; then
// the registry is well again, and Lambda's second attempt finds nothing in its
// way.
func TestHandleFaults(t *testing.T) {
	clean := registrytest.Start(t)
	image, platform := multiImage(t, clean)
	if _, err := handlerOf(clean).Handle(t.Context(), push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	requests := clean.Requests()
	want := made(t, clean, platform)
	if len(want) != 2 || len(requests) < 15 {
		t.Fatalf("%d requests make %v", len(requests), want)
	}
	status := func(status int, code string) func(*registrytest.Server) registrytest.Fault {
		return func(*registrytest.Server) registrytest.Fault { return registrytest.Status(status, code, "why") }
	}
	faults := []struct {
		name  string
		fault func(*registrytest.Server) registrytest.Fault
		// want is the reason of the failure; retried tells that a single one
		// is nobody's failure.
		want    failure.Reason
		retried bool
	}{
		{"401", status(401, "UNAUTHORIZED"), failure.AccessDenied, false},
		{"403", status(403, "DENIED"), failure.AccessDenied, false},
		{"404", status(404, "NOT_FOUND"), failure.NotFound, false},
		{"429", status(429, "TOOMANYREQUESTS"), failure.Throttled, true},
		{"500", status(500, "UNKNOWN"), failure.Unavailable, true},
		{"reset", func(*registrytest.Server) registrytest.Fault { return registrytest.Reset() }, failure.Unavailable,
			true},
		{"stall", func(s *registrytest.Server) registrytest.Fault { return s.Stall() }, failure.Unavailable, true},
	}
	for _, fault := range faults {
		for _, mode := range []string{"once", "from there on"} {
			t.Run(fault.name+" "+mode, func(t *testing.T) {
				t.Parallel()
				outcomes := map[string]int{}
				for k := range requests {
					if testing.Short() && k%5 != 0 {
						continue
					}
					s := registrytest.Start(t)
					image, platform := multiImage(t, s)
					rule := registrytest.Rule{Skip: k, Fault: fault.fault(s)}
					policy := ecrclient.RetryPolicy{MaxAttempts: 1}
					if mode == "once" {
						rule.Times = 1
						policy = ecrclient.RetryPolicy{MaxAttempts: 3, MinWait: time.Millisecond,
							MaxWait: time.Millisecond}
					}
					s.Add(rule)
					options := []ecrclient.Option{ecrclient.WithRetry(policy)}
					if fault.name == "stall" {
						const soon = 150 * time.Millisecond
						options = append(options, ecrclient.WithStallTimeout(soon),
							ecrclient.WithTransport(&http.Transport{ResponseHeaderTimeout: soon}))
					}
					r, err := handlerOf(s, options...).Handle(t.Context(), push(image.Digest, "v1"))
					where := fmt.Sprintf("request %d, like %s %s", k+1, requests[k].Method, requests[k].Path)
					switch {
					case err != nil:
						f := failure.Of(err)
						outcomes[string(f.Reason)]++
						if f.Class != failure.Transient || f.Reason != fault.want {
							t.Errorf("%s: %s, %s: %v", where, f.Class, f.Reason, err)
						}
						if mode == "once" && fault.retried {
							t.Errorf("%s: not tried again: %v", where, err)
						}
					default:
						outcomes[string(r.Outcome)]++
						if mode != "once" && fault.name != "404" {
							t.Errorf("%s: no failure but %s", where, r.Outcome)
						}
					}
					made(t, s, platform) // whole, whatever there is

					s.Clear()
					if _, err := handlerOf(s).Handle(t.Context(), push(image.Digest, "v1")); err != nil {
						t.Errorf("%s: the second attempt: %v", where, err)
					}
					if got := made(t, s, platform); !maps.Equal(got, want) {
						t.Errorf("%s: after the second attempt there is %v, want %v", where, got, want)
					}
				}
				// A registry that finds nothing has an image no more.
				if mode != "once" && outcomes[string(fault.want)]+outcomes[string(OutcomeImageGone)] == 0 {
					t.Errorf("no request failed with %s: %v", fault.want, outcomes)
				}
			})
		}
	}
}

// The same event at the same time, which nothing rules out, ends as the same
// event once.
func TestHandleConcurrentDuplicates(t *testing.T) {
	clean := registrytest.Start(t)
	image, platform := multiImage(t, clean)
	if _, err := handlerOf(clean).Handle(t.Context(), push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	want := made(t, clean, platform)

	s := registrytest.Start(t)
	image, platform = multiImage(t, s)
	var (
		wg      sync.WaitGroup
		results [4]*report.Image
		errs    [4]error
		one     = handlerOf(s)
	)
	for i := range results {
		h := one
		if i%2 == 1 {
			h = handlerOf(s) // another execution environment
		}
		wg.Go(func() { results[i], errs[i] = h.Handle(t.Context(), push(image.Digest, "v1")) })
	}
	wg.Wait()
	for i, r := range results {
		if errs[i] != nil || r.Outcome != soci.OutcomeIndexed || r.SociDigest.String() != want["v1-soci"] {
			t.Errorf("Handle = %+v, %v", r, errs[i])
		}
	}
	if got := made(t, s, platform); !maps.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// The suffixed tag that names something else: the SOCI-enabled image of another
// image in an immutable repository, or somebody's own image.
func TestHandleTagRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		under func(s *registrytest.Server)
		want  failure.Reason
	}{
		{"immutable", func(s *registrytest.Server) {
			s.PushManifest(t, repository, "v1-soci", ocispec.MediaTypeImageIndex, fmt.Appendf(nil,
				`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{%q:"true"}}`,
				ocispec.MediaTypeImageIndex,
				soci.AnnotationUnindexed))
			s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/v1-soci$",
				Fault: registrytest.Status(400, "TAG_INVALID", "the tag is immutable")})
		}, failure.ImmutableTag},
		{"taken", func(s *registrytest.Server) {
			s.PushImage(t, repository, "v1-soci",
				registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 9, 100)}}})
		}, failure.TagTaken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			image, _ := multiImage(t, s)
			tt.under(s)
			_, err := handlerOf(s).Handle(t.Context(), push(image.Digest, "v1"))
			if f := failure.Of(err); err == nil || f.Class != failure.Permanent || f.Reason != tt.want {
				t.Errorf("Handle = %v, want a permanent %s", err, tt.want)
			}
		})
	}
}

// The result and the log say why an image was left alone.
func TestHandleLeftAlone(t *testing.T) {
	s := registrytest.Start(t)
	big := registrytest.Layer{Content: layer(t, 1, 2*minSize)}
	label := []byte(`{"architecture":"amd64","os":"linux","config":{"Labels":{"` + soci.LabelSkip +
		`":"true"}},"rootfs":{"type":"layers","diff_ids":[]}}`)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{big}})
	optedOut := s.PushImage(t, repository, "opted-out",
		registrytest.Image{Layers: []registrytest.Layer{big}, Config: label})
	windows := s.PushImage(t, repository, "windows",
		registrytest.Image{Layers: []registrytest.Layer{big}, Platform: "windows/amd64"})
	moved := s.PushImage(t, repository, "v2",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 2, 2*minSize)}}})
	s.PushImage(t, repository, "v2",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 3, 2*minSize)}}})
	events := map[string][]byte{
		"SOCI index": bytes.Replace(push(image.Manifest.Digest, ""), []byte(`"image-tag"`),
			[]byte(`"artifact-media-type":"`+soci.ArtifactTypeV1+`","image-tag"`), 1),
		"suffix": push(image.Manifest.Digest, "v1-soci"),
		"referrer": bytes.Replace(push(image.Manifest.Digest, ""), []byte("Image Action"),
			[]byte("Referrer Action"), 1),
		"gone":          push(digest.FromString("gone"), "v1"),
		"opted out":     push(optedOut.Manifest.Digest, "opted-out"),
		"platform":      push(windows.Manifest.Digest, "windows"),
		"superseded":    push(moved.Manifest.Digest, "v2"),
		"under V2 only": push(image.Manifest.Digest, ""),
	}
	want := map[string]struct {
		outcome soci.Outcome
		message string
		calls   bool // of the registry
	}{
		"SOCI index":    {soci.OutcomeOwnArtifact, "own artifact left alone", false},
		"suffix":        {soci.OutcomeOwnArtifact, "own artifact left alone", false},
		"referrer":      {OutcomeReferrer, "referrer left alone", false},
		"gone":          {OutcomeImageGone, "image gone", true},
		"opted out":     {soci.OutcomeOptedOut, "image finished", true},
		"platform":      {soci.OutcomePlatformNotChosen, "image finished", true},
		"superseded":    {soci.OutcomeSuperseded, "image finished", true},
		"under V2 only": {soci.OutcomeUntagged, "image finished", true},
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Run(name, func(t *testing.T) {
			s.Clear()
			h := handlerOf(s)
			h.Options.Choice = []string{"linux"}
			if name == "under V2 only" {
				h.Options.IndexVersion = soci.V2
			}
			var out bytes.Buffer
			h.Logger = lambdafn.NewLogger(&out, slog.LevelInfo)
			r, err := h.Handle(t.Context(), events[name])
			if err != nil || r.Outcome != want[name].outcome {
				t.Fatalf("Handle = %+v, %v, want %s", r, err, want[name].outcome)
			}
			lines := logged(t, &out, want[name].message)
			if len(lines) != 1 {
				t.Fatalf("no line %q in\n%s", want[name].message, &out)
			}
			if want[name].message == "image finished" && lines[0]["outcome"] != string(want[name].outcome) {
				t.Errorf("log line %v", lines[0])
			}
			if calls := len(s.Requests()) > 0; calls != want[name].calls {
				t.Errorf("the registry is asked: %t", calls)
			}
		})
	}
}

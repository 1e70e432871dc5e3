package generator

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const (
	repository = "team/app"
	minSize    = 64 << 10 // bytes; the tests' minimum layer size
)

var packed sync.Map // layers, by what they are made of

// layer packs n bytes that do not compress.
func layer(t *testing.T, seed uint64, n int) []byte {
	t.Helper()
	type key struct {
		seed uint64
		n    int
	}
	if b, ok := packed.Load(key{seed, n}); ok {
		return bytes.Clone(b.([]byte))
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := errors.Join(
		w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file-%d", seed), Mode: 0o644, Size: int64(n)}),
		second(w.Write(testlayers.Noise(seed, n))), w.Close(), z.Close())
	if err != nil {
		t.Fatal(err)
	}
	packed.Store(key{seed, n}, b.Bytes())
	return bytes.Clone(b.Bytes())
}

func second(_ int, err error) error { return err }

// setup returns a handler of the registry, which tries everything just once,
// and what it logs.
func setup(t *testing.T, s *registrytest.Server) (*Handler, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return &Handler{
		Open: func(_ context.Context, e *ecrevent.Event) (Repository, error) {
			return ecrclient.New(s.Host()+"/"+e.Detail.RepositoryName,
				ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
		},
		Options: soci.Options{MinLayerSize: minSize, SpanSize: 64 << 10},
		Logger:  lambdafn.NewLogger(&out, slog.LevelInfo),
	}, &out
}

func push(d digest.Digest, tag string) []byte {
	return fmt.Appendf(nil,
		`{"detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012","region":"us-west-2",`+
			`"detail":{"result":"SUCCESS","repository-name":%q,"image-digest":%q,"action-type":"PUSH","image-tag":%q}}`,
		repository, d, tag)
}

func logged(t *testing.T, out *bytes.Buffer, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if m["message"] == message {
			found = append(found, m)
		}
	}
	return found
}

// referrers returns the SOCI indexes of a manifest.
func referrers(t *testing.T, s *registrytest.Server, of digest.Digest) []ocispec.Descriptor {
	t.Helper()
	r, err := ecrclient.New(s.Registry.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Referrers(t.Context(),
		ocispec.Descriptor{Digest: of, MediaType: ocispec.MediaTypeImageManifest, Size: 1}, soci.ArtifactTypeV1)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestHandleImage(t *testing.T) {
	s := registrytest.Start(t)
	big, small := layer(t, 1, 2*minSize), layer(t, 2, minSize/2)
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, testlayers.Noise(3, 2*minSize)...)
	image := s.PushImage(t, repository, "v1", registrytest.Image{
		Platform: "linux/arm64",
		Layers: []registrytest.Layer{{Content: big}, {Content: small},
			{Content: zstd, MediaType: ocispec.MediaTypeImageLayerZstd}},
	})
	h, out := setup(t, s)
	r, err := h.Handle(t.Context(), push(image.Manifest.Digest, "v1"))
	if err != nil {
		t.Fatal(err)
	}

	index := referrers(t, s, image.Manifest.Digest)
	if len(index) != 1 {
		t.Fatalf("the image has %d SOCI indexes, want 1", len(index))
	}
	expect.Equal(t, expect.Facts{
		{"Repository", r.Repository, repository},
		{"Digest", r.Digest, image.Manifest.Digest},
		{"Tag", r.Tag, "v1"},
		{"Outcome", r.Outcome, soci.OutcomeIndexed},
	}, "result %+v", r)
	if r.BytesRead < int64(len(big)) || r.BytesPushed == 0 || r.Seconds <= 0 {
		t.Errorf("%d bytes of %d read, %d pushed, in %v s", r.BytesRead, len(big), r.BytesPushed, r.Seconds)
	}
	if len(r.Manifests) != 1 || r.Manifests[0].Index == nil || len(r.Manifests[0].Layers) != 3 {
		t.Fatalf("manifests %+v, want one of three layers with a SOCI index", r.Manifests)
	}
	m := r.Manifests[0]
	if !strings.HasPrefix(m.Platform, "linux/arm64") || m.Index.Digest != index[0].Digest {
		t.Fatalf("the manifest of %s has the SOCI index %s, want %s", m.Platform, m.Index.Digest, index[0].Digest)
	}
	l := m.Layers[0]
	expect.Equal(t, expect.Facts{
		{"Digest", l.Digest, digest.FromBytes(big)},
		{"Size", l.Size, int64(len(big))},
		{"Skipped", l.Skipped, ""},
		{"has a zTOC", s.Blob(t, repository, l.Ztoc.Digest) != nil, true},
	}, "the indexed layer")
	if l := m.Layers[1]; l.Digest != digest.FromBytes(small) || l.Skipped != soci.SkipTooSmall {
		t.Errorf("skipped layer %+v, want %s", l, soci.SkipTooSmall)
	}
	if l := m.Layers[2]; l.Digest != digest.FromBytes(zstd) || l.Skipped != soci.SkipZstd {
		t.Errorf("skipped layer %+v, want %s", l, soci.SkipZstd)
	}

	lines := logged(t, out, "manifest finished")
	if len(lines) != 1 {
		t.Fatalf("log:\n%s", out)
	}
	line := lines[0]
	want := map[string]any{
		"repository": repository, "digest": r.Digest.String(), "tag": "v1", "platform": m.Platform,
		"manifest": r.Digest.String(),
		"outcome":  "indexed", "indexDigest": m.Index.Digest.String(), "layersIndexed": 1.0, "bytes": float64(len(big)),
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("log line: %s is %v, want %v", key, line[key], value)
		}
	}
	if skipped, ok := line["layersSkipped"].(map[string]any); !ok || skipped["zstd"] != 1.0 ||
		skipped["below-min-layer-size"] != 1.0 {
		t.Errorf("log line: layersSkipped is %v", line["layersSkipped"])
	}
	if skipped := logged(t, out, "layer skipped"); len(skipped) != 1 || skipped[0]["level"] != "WARN" ||
		skipped[0]["reason"] != "zstd" {
		t.Errorf("a zstd layer, and it alone, is worth a warning: %v", skipped)
	}
	if finished := logged(t, out, "image finished"); len(finished) != 1 || finished[0]["outcome"] != "indexed" {
		t.Errorf("log:\n%s", out)
	}

	// The same event comes twice.
	again, err := h.Handle(t.Context(), push(image.Manifest.Digest, "v1"))
	if err != nil {
		t.Fatalf("the second time: %v", err)
	}
	expect.Equal(t, expect.Facts{
		{"Outcome", again.Outcome, soci.OutcomeIndexed},
		{"BytesPushed", again.BytesPushed, 0},
		{"number of SOCI indexes", len(referrers(t, s, image.Manifest.Digest)), 1},
	}, "the second time")
}

func TestHandleOutcomes(t *testing.T) {
	s := registrytest.Start(t)
	big := registrytest.Layer{Content: layer(t, 1, 2*minSize)}
	small := registrytest.Layer{Content: layer(t, 2, 100)}
	arm := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/arm64/v8", Layers: []registrytest.Layer{big}})
	amd := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/amd64", Layers: []registrytest.Layer{small}, Docker: true})
	attestation := s.PushAttestation(t, repository, arm.Manifest)
	tests := []struct {
		name      string
		image     digest.Digest
		want      soci.Outcome
		manifests []soci.Outcome
	}{
		{"image index", s.PushIndex(t, repository, "v1", false, arm.Manifest, amd.Manifest,
			attestation.Manifest).Digest,
			soci.OutcomeIndexed, []soci.Outcome{soci.OutcomeIndexed, soci.OutcomeNoLayer, soci.OutcomePassedOver}},
		{"no layer to index", amd.Manifest.Digest, soci.OutcomeNoLayer, []soci.Outcome{soci.OutcomeNoLayer}},
		{"SOCI index", s.PushReferrer(t, repository, arm.Manifest, soci.ArtifactTypeV1, []byte("x")).Digest,
			soci.OutcomeOwnArtifact, nil},
		{"deleted meanwhile", digest.FromString("gone"), OutcomeImageGone, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, out := setup(t, s)
			r, err := h.Handle(t.Context(), push(tt.image, ""))
			if err != nil {
				t.Fatal(err)
			}
			var got []soci.Outcome
			for _, m := range r.Manifests {
				got = append(got, m.Outcome)
				if m.Outcome == soci.OutcomePassedOver && m.Reason == "" {
					t.Errorf("manifest %s is passed over without a reason", m.Digest)
				}
			}
			if r.Outcome != tt.want || fmt.Sprint(got) != fmt.Sprint(tt.manifests) {
				t.Errorf("outcome %s of %s, want %s of %s", r.Outcome, got, tt.want, tt.manifests)
			}
			if n := len(logged(t, out, "manifest finished")); n != len(tt.manifests) {
				t.Errorf("%d manifests are logged, want %d", n, len(tt.manifests))
			}
			last := "image finished"
			if tt.want == OutcomeImageGone {
				last = "image gone"
			}
			if len(logged(t, out, last)) != 1 {
				t.Errorf("no line %q in the log:\n%s", last, out)
			}
		})
	}
}

// The image goes between the first look at it and the layer.
func TestHandleDeletedWhileRead(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "v1",
		registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 2*minSize)}}})
	gone := registrytest.Status(http.StatusNotFound, "NOT_FOUND", "gone")
	blob := registrytest.Rule{Method: http.MethodGet, Path: "/blobs/" + image.Layers[0].Digest.String(), Fault: gone}

	t.Run("image", func(t *testing.T) {
		s.Add(blob, registrytest.Rule{Method: http.MethodHead, Path: "/manifests/", Skip: 1, Fault: gone})
		defer s.Clear()
		h, _ := setup(t, s)
		r, err := h.Handle(t.Context(), push(image.Manifest.Digest, "v1"))
		if err != nil || r.Outcome != OutcomeImageGone {
			t.Errorf("Handle = %+v, %v, want %s", r, err, OutcomeImageGone)
		}
	})
	t.Run("layer alone", func(t *testing.T) {
		s.Add(blob)
		defer s.Clear()
		h, _ := setup(t, s)
		r, err := h.Handle(t.Context(), push(image.Manifest.Digest, "v1"))
		if r != nil || !errors.Is(err, ecrclient.ErrNotFound) {
			t.Errorf("Handle = %+v, %v, want ErrNotFound", r, err)
		}
	})
}

func TestHandleFails(t *testing.T) {
	good := layer(t, 1, 4*minSize)
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-6] ^= 1 // in the CRC
	tests := []struct {
		name   string
		layer  []byte
		rule   registrytest.Rule
		edit   func(*Handler)
		want   error
		class  failure.Class
		reason failure.Reason
	}{
		{name: "corrupt layer", layer: corrupt, want: soci.ErrCorrupt, class: failure.Permanent,
			reason: failure.Corrupt},
		{name: "truncated layer", layer: good[:len(good)/2], want: soci.ErrTruncated, class: failure.Permanent,
			reason: failure.Truncated},
		{name: "memory limit", layer: good, want: soci.ErrLimit, class: failure.Permanent,
			reason: failure.LimitExceeded,
			edit:   func(h *Handler) { h.Options.Limits.MaxMemory = 1 }},
		{name: "invalid option", layer: good, want: soci.ErrInvalidOption, class: failure.Permanent,
			reason: failure.InvalidOption,
			edit:   func(h *Handler) { h.Options.SpanSize = -1 }},
		{name: "spoiled on the way", layer: good, want: soci.ErrDigestMismatch, class: failure.Transient,
			reason: failure.DigestMismatch,
			rule:   registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: registrytest.Corrupt(1000)}},
		{name: "denied", layer: good, want: ecrclient.ErrDenied, class: failure.Transient, reason: failure.AccessDenied,
			rule: registrytest.Rule{Fault: registrytest.Status(403, "DENIED", "no")}},
		{name: "throttled", layer: good, want: ecrclient.ErrThrottled, class: failure.Transient,
			reason: failure.Throttled,
			rule:   registrytest.Rule{Path: "/blobs/", Fault: registrytest.Status(429, "TOOMANYREQUESTS", "slowly")}},
		{name: "unavailable", layer: good, want: ecrclient.ErrUnavailable, class: failure.Transient,
			reason: failure.Unavailable,
			rule: registrytest.Rule{Method: http.MethodGet, Path: "/manifests/",
				Fault: registrytest.Status(500, "UNKNOWN", "oh")}},
		{name: "reset", layer: good, want: ecrclient.ErrUnavailable, class: failure.Transient,
			reason: failure.Unavailable,
			rule:   registrytest.Rule{Fault: registrytest.Reset()}},
		{name: "cannot push", layer: good, want: ecrclient.ErrDenied, class: failure.Transient,
			reason: failure.AccessDenied,
			rule: registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
				Fault: registrytest.Status(403, "DENIED", "no")}},
		{name: "no repository", layer: good, want: ecrclient.ErrInvalidReference, class: failure.Permanent,
			reason: failure.InvalidReference,
			edit: func(h *Handler) {
				h.Open = func(context.Context, *ecrevent.Event) (Repository, error) {
					return nil,
						ecrclient.ErrInvalidReference
				}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			image := s.PushImage(t, repository, "v1",
				registrytest.Image{Layers: []registrytest.Layer{{Content: tt.layer}}})
			if tt.rule.Fault != nil {
				s.Add(tt.rule)
			}
			h, out := setup(t, s)
			if tt.edit != nil {
				tt.edit(h)
			}
			r, err := h.Handle(t.Context(), push(image.Manifest.Digest, "v1"))
			if r != nil || !errors.Is(err, tt.want) {
				t.Fatalf("Handle = %+v, %v, want %v", r, err, tt.want)
			}
			var f *failure.Error
			if !errors.As(err, &f) || f.Class != tt.class || f.Reason != tt.reason {
				t.Errorf("the error is %#v, want class %s, reason %s", f, tt.class, tt.reason)
			}
			lines := logged(t, out, "image failed")
			if len(lines) != 1 {
				t.Fatalf("log lines %v, want class %s", lines, tt.class)
			}
			if lines[0]["class"] != string(tt.class) || lines[0]["level"] != "ERROR" ||
				lines[0]["digest"] != image.Manifest.Digest.String() {
				t.Errorf("log lines %v, want class %s", lines, tt.class)
			}
			if found := referrers(t, s, image.Manifest.Digest); len(found) != 0 {
				t.Errorf("a failed image has a SOCI index: %v", found)
			}
		})
	}
}

func TestHandleManifestTooLarge(t *testing.T) {
	s := registrytest.Start(t)
	image := s.PushImage(t, repository, "",
		registrytest.Image{Annotations: map[string]string{"a": strings.Repeat("x", 4<<20)}})
	h, _ := setup(t, s)
	r, err := h.Handle(t.Context(), push(image.Manifest.Digest, ""))
	var f *failure.Error
	if r != nil || !errors.As(err, &f) || f.Class != failure.Permanent {
		t.Errorf("Handle = %+v, %v, want a permanent error", r, err)
	}
}

func TestHandleInvalidEvent(t *testing.T) {
	s := registrytest.Start(t)
	h, out := setup(t, s)
	r, err := h.Handle(t.Context(), []byte(`{"source":"aws.s3"}`))
	var f *failure.Error
	if r != nil || !errors.Is(err, ecrevent.ErrInvalid) {
		t.Fatalf("Handle = %+v, %v, want a permanent ErrInvalid", r, err)
	}
	if !errors.As(err, &f) || f.Class != failure.Permanent {
		t.Errorf("Handle = %+v, %v, want a permanent ErrInvalid", r, err)
	}
	if len(s.Requests()) != 0 {
		t.Error("an invalid event leads to the registry")
	}
	if lines := logged(t, out, "image failed"); len(lines) != 1 || lines[0]["class"] != "permanent" {
		t.Errorf("log:\n%s", out)
	}
}

func TestHandleStopsInTime(t *testing.T) {
	s := registrytest.Start(t)
	content := layer(t, 1, 8*minSize)
	image := s.PushImage(t, repository, "v1", registrytest.Image{Layers: []registrytest.Layer{{Content: content}}})
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: s.StallAfter(4 * minSize)})
	h, out := setup(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := h.Handle(ctx, push(image.Manifest.Digest, "v1"))
	if ctx.Err() != nil {
		t.Error("the handler stops with its invocation, not before")
	}
	var f *failure.Error
	if r != nil || !errors.Is(err, failure.ErrOutOfTime) {
		t.Fatalf("Handle = %+v, %v, want a permanent failure.ErrOutOfTime", r, err)
	}
	if !errors.As(err, &f) || f.Class != failure.Permanent {
		t.Fatalf("Handle = %+v, %v, want a permanent failure.ErrOutOfTime", r, err)
	}
	if !strings.Contains(err.Error(), "0 layers were read to the end and 1 in part") {
		t.Errorf("the error does not say how far it came: %v", err)
	}
	lines := logged(t, out, "image failed")
	if len(lines) != 1 || lines[0]["layersBegun"] != 1.0 || lines[0]["bytesRead"].(float64) <= 0 {
		t.Errorf("log lines %v", lines)
	}
}

func TestStopInTime(t *testing.T) {
	tests := []struct {
		name         string
		margin, left time.Duration
		least, most  time.Duration // before the deadline
	}{
		{"a long invocation", 0, 15 * time.Minute, 10 * time.Second, 10 * time.Second},
		{"a short one", 0, 30 * time.Second, 2 * time.Second, 3 * time.Second},
		{"another margin", time.Minute, 15 * time.Minute, time.Minute, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.left)
			defer cancel()
			outer, _ := ctx.Deadline()
			ctx, cancel = (&Handler{Margin: tt.margin}).stopInTime(ctx)
			defer cancel()
			inner, _ := ctx.Deadline()
			if got := outer.Sub(inner); got < tt.least || got > tt.most {
				t.Errorf("stops %v before the deadline, want %v to %v", got, tt.least, tt.most)
			}
		})
	}
	ctx, cancel := (&Handler{}).stopInTime(context.Background())
	defer cancel()
	if _, ok := ctx.Deadline(); ok {
		t.Error("an invocation without a deadline gets one")
	}
}

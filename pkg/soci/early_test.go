package soci_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// A zTOC of an earlier build that has gone when all others are built is built
// again, and every SOCI index that is pushed has all of its zTOCs.
func TestReusedZtocGone(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(good(t, 0), good(t, 1))})
	first := index(t, s, "v1", both("v1")).Manifests[0]
	s.PushImage(t, repoName, "v2", registrytest.Image{Layers: layers(good(t, 0), good(t, 2))})

	s.Clear()
	gone := first.Layers[0].Ztoc
	s.Add(registrytest.Rule{Method: http.MethodHead, Path: gone.Digest.String(),
		Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
	o := both("v2")
	o.Catalog = &catalog{indexes: []ocispec.Descriptor{first.Index}}
	again := index(t, s, "v2", o)
	l := again.Manifests[0].Layers[0]
	if l.Reused || l.Ztoc.Digest != gone.Digest || again.Manifests[0].Outcome != soci.OutcomeIndexed {
		t.Errorf("%+v", l)
	}
	if n := s.Count(http.MethodGet, first.Layers[0].Layer.Digest.String()); n == 0 {
		t.Error("its layer was not read")
	}
	if n := s.Count(http.MethodPut, "/blobs/uploads/"); n != 3 { // two zTOCs and the config
		t.Errorf("%d blobs were pushed, want 3", n)
	}
	if status, err := soci.Examine(t.Context(), repo, again.Image, []string{"v2"}, soci.Options{MinLayerSize: 1},
		nil); err != nil || len(status.Manifests[0].Indexes) != 1 {
		t.Errorf("%v %+v", err, status)
	}
}

// refusing is a Destination that takes everything but zTOCs.
type refusing struct {
	*store

	mu    sync.Mutex
	tries int
}

var errRefused = errors.New("no room left")

func (r *refusing) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	if desc.MediaType == soci.ZtocMediaType {
		r.mu.Lock()
		r.tries++
		r.mu.Unlock()
		return errRefused
	}
	return r.store.Push(ctx, desc, content)
}

// A zTOC that cannot be pushed ends the work at once: the repository is at
// fault, not the layer, and other layers would be read for nothing.
func TestZtocRefused(t *testing.T) {
	s := newStore()
	var list []ocispec.Descriptor
	for i := range 6 {
		list = append(list, s.add(gz, good(t, i)))
	}
	o := everyLayer
	o.Concurrency = 1
	dst := &refusing{store: s}
	r, err := soci.IndexImage(t.Context(), s, dst, s.image("amd64", list...), o)
	var le *soci.LayerError
	if !errors.Is(err, errRefused) || errors.As(err, &le) || r != nil {
		t.Errorf("%v, %+v", err, r)
	}
	if dst.tries != 1 || len(s.leftNamed()) > 0 {
		t.Errorf("%d tries, left %+v", dst.tries, s.leftNamed())
	}
}

// A dry run pushes no zTOC, and returns the digests of the real run.
func TestDryRunPushesNothing(t *testing.T) {
	s := newStore()
	image := s.image("amd64", s.add(gz, good(t, 0)), s.add(gz, good(t, 1)))
	o := everyLayer
	o.DryRun = true
	dry, err := soci.IndexImage(t.Context(), s, nil, image, o)
	if err != nil || len(s.pushed) > 0 {
		t.Fatalf("%v, pushed %+v", err, s.pushed)
	}
	real, err := soci.IndexImage(t.Context(), s, s, image, everyLayer)
	if err != nil || real.Manifests[0].Index.Digest != dry.Manifests[0].Index.Digest {
		t.Errorf("%v: %s, the dry run said %s", err, real.Manifests[0].Index.Digest, dry.Manifests[0].Index.Digest)
	}
	for _, l := range real.Manifests[0].Layers {
		if !slices.ContainsFunc(s.pushed, func(d ocispec.Descriptor) bool { return d.Digest == l.Ztoc.Digest }) {
			t.Errorf("zTOC %s was not pushed", l.Ztoc.Digest)
		}
	}
	if bytes.Equal(s.content[real.Manifests[0].Index.Digest], nil) {
		t.Error("there is no SOCI index")
	}
}

// The config of SOCI indexes is pushed where it is lacking, also when no layer is
// read and so nothing was tried before.
func TestConfigLacking(t *testing.T) {
	s := newStore()
	layer := s.add(gz, good(t, 0))
	first, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", layer), everyLayer)
	if err != nil {
		t.Fatal(err)
	}
	delete(s.content, configDigest)
	s.pushed = nil
	o := everyLayer
	o.Catalog = &catalog{indexes: []ocispec.Descriptor{first.Manifests[0].Index}}
	second, err := soci.IndexImage(t.Context(), s, s, s.image("arm64", layer), o)
	if err != nil || !second.Manifests[0].Layers[0].Reused {
		t.Fatalf("%v %+v", err, second)
	}
	if len(s.pushed) != 2 || s.pushed[0].Digest != configDigest ||
		s.pushed[1].Digest != second.Manifests[0].Index.Digest {
		t.Errorf("pushed %+v", s.pushed)
	}
}

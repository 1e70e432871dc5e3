package soci_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func TestCheckBlobs(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	there := s.PushBlob(t, repoName, []byte("a zTOC"))
	other := there
	other.Size++
	blobs := []ocispec.Descriptor{
		there, other, there,
		{Digest: digest.FromString("nowhere"), Size: 7},
		{Digest: "sha256:short", Size: 7},
		{Digest: "", Size: 7},
		{Digest: there.Digest, Size: -1},
	}
	got, err := soci.CheckBlobs(t.Context(), repo, blobs)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []soci.BlobStatus{
		{State: soci.BlobPresent, Size: 6}, {State: soci.BlobSizeDiffers, Size: 6}, {State: soci.BlobPresent, Size: 6},
		{State: soci.BlobMissing}, {State: soci.BlobInvalid}, {State: soci.BlobInvalid}, {State: soci.BlobInvalid},
	} {
		if got[i] != want {
			t.Errorf("%d, %+v: %+v, want %+v", i, blobs[i], got[i], want)
		}
	}
	if n := s.Count(http.MethodHead, "/blobs/"); n != 2 {
		t.Errorf("asked %d times for two digests", n)
	}
	if n := s.Count(http.MethodGet, "/blobs/"); n != 0 {
		t.Errorf("read %d blobs", n)
	}
	s.Add(registrytest.Rule{Path: "/blobs/",
		Fault: registrytest.Status(http.StatusServiceUnavailable, "UNAVAILABLE", "")})
	if _, err := soci.CheckBlobs(t.Context(), repo, blobs); !errors.Is(err, ecrclient.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

// counting counts the requests that are under way at once.
type counting struct{ now, most atomic.Int64 }

func (c *counting) BlobSize(ctx context.Context, desc ocispec.Descriptor) (int64, error) {
	if n := c.now.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	defer c.now.Add(-1)
	time.Sleep(time.Millisecond)
	return desc.Size, ctx.Err()
}

func TestCheckBlobsIsBounded(t *testing.T) {
	var blobs []ocispec.Descriptor
	for i := range 200 {
		blobs = append(blobs, ocispec.Descriptor{Digest: digest.FromString(strings.Repeat("x", i)), Size: 1})
	}
	var c counting
	if _, err := soci.CheckBlobs(t.Context(), &c, blobs); err != nil {
		t.Fatal(err)
	}
	if n := c.most.Load(); n < 2 || n > 8 {
		t.Errorf("%d requests at once", n)
	}
}

// A layer may be named by another digest than sha256. The zTOC and its spans
// are named by sha256 all the same.
func TestDigestAlgorithms(t *testing.T) {
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		t.Run(a.String(), func(t *testing.T) {
			s := newStore()
			blob := good(t, 0)
			layer := ocispec.Descriptor{MediaType: gz, Digest: a.FromBytes(blob), Size: int64(len(blob))}
			s.content[layer.Digest] = blob
			image := s.image("amd64", layer)
			r, err := soci.IndexImage(t.Context(), s, s, image, everyLayer)
			if err != nil {
				t.Fatal(err)
			}
			b, err := buildBlob(blob)
			if err != nil {
				t.Fatal(err)
			}
			if l := r.Manifests[0].Layers[0]; l.Ztoc.Digest != digest.FromBytes(b) ||
				l.Ztoc.Annotations[soci.AnnotationLayerDigest] != layer.Digest.String() {
				t.Errorf("%+v", l)
			}
			// Content with another digest is refused.
			s.content[layer.Digest] = append(blob[:len(blob)-1:len(blob)-1], blob[len(blob)-1]^1)
			if _, err := soci.IndexImage(t.Context(), s, s, image, everyLayer); !errors.Is(err,
				soci.ErrDigestMismatch) {
				t.Errorf("%v, want ErrDigestMismatch", err)
			}
		})
	}
	for _, row := range []struct {
		digest digest.Digest
		want   error
	}{
		{digest.Digest("blake3:" + strings.Repeat("0", 64)), soci.ErrUnsupported},
		{digest.Digest("sha512:" + strings.Repeat("0", 64)), soci.ErrCorrupt}, // too short
		{"sha256", soci.ErrCorrupt},
	} {
		s := newStore()
		image := s.image("amd64", ocispec.Descriptor{MediaType: gz, Digest: row.digest, Size: 5})
		if _, err := soci.IndexImage(t.Context(), s, s, image, everyLayer); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.digest, err, row.want)
		}
	}
}

func buildBlob(blob []byte) ([]byte, error) {
	z, err := soci.BuildZtoc(strings.NewReader(string(blob)), soci.ZtocOptions{})
	if err != nil {
		return nil, err
	}
	return z.Marshal()
}

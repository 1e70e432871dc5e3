//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	upstream "github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/soci"
)

// convert makes our SOCI-enabled image.
func (r *repository) convert(t *testing.T, image ocispec.Descriptor) *soci.Result {
	t.Helper()
	r.Tags = map[string]ocispec.Descriptor{"v1": image}
	result, err := soci.IndexImage(t.Context(), r, r, image, soci.Options{
		SpanSize: testSpanSize, MinLayerSize: testMinSize, BuildToolIdentifier: buildTool, IndexVersion: soci.V2,
		Tag: "v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// upstreamConvert has upstream convert an image, all of its platforms.
func (r *repository) upstreamConvert(t *testing.T, image ocispec.Descriptor) (*ocispec.Descriptor, store.Store, error) {
	t.Helper()
	builder, blobs := r.upstreamBuilder(t, buildTool)
	all, err := images.Platforms(t.Context(), r.cs, image)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := builder.Convert(t.Context(), images.Image{Name: "image", Target: image},
		upstream.ConvertWithPlatforms(all...))
	return desc, blobs, err
}

func read(t *testing.T, s store.Store, d digest.Digest, size int64) []byte {
	t.Helper()
	rc, err := s.Fetch(t.Context(), ocispec.Descriptor{Digest: d, Size: size})
	if err != nil {
		t.Fatalf("upstream did not write %s: %v", d, err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestConvert holds SOCI-enabled images to upstream's, by digest. Attestations
// are the one difference that is meant.
func TestConvert(t *testing.T) {
	for _, c := range append(imageCases(), convertCases()...) {
		t.Run(c.name, func(t *testing.T) {
			r := newRepository(t)
			image := c.image(t, r)
			want, blobs, err := r.upstreamConvert(t, image)
			result := r.convert(t, image)
			if errors.Is(err, upstream.ErrEmptyIndex) {
				if result.Enabled.Outcome != soci.OutcomeNoLayer {
					t.Errorf("upstream finds no layer to index, our outcome is %s", result.Enabled.Outcome)
				}
				return
			}
			if err != nil {
				t.Fatalf("upstream: %v", err)
			}
			if result.Enabled.Outcome != soci.OutcomeTagged {
				t.Fatalf("our outcome is %s", result.Enabled.Outcome)
			}
			theirs := read(t, blobs, want.Digest, want.Size)
			ours := r.Blobs[result.Enabled.Image.Digest]
			if keepsAttestations(t, r, image, ours, &theirs) {
				t.Log("compared but for attestations")
			} else if result.Enabled.Image.Digest != want.Digest || result.Enabled.Image.MediaType != want.MediaType {
				t.Errorf("upstream's is %s %s, ours %s %s", want.MediaType, want.Digest, result.Enabled.Image.MediaType,
					result.Enabled.Image.Digest)
			}
			if !bytes.Equal(ours, theirs) {
				t.Fatalf("ours is\n%s\nupstream's\n%s", ours, theirs)
			}
			// All that is listed is there, with the same content.
			var index ocispec.Index
			if err := json.Unmarshal(ours, &index); err != nil {
				t.Fatal(err)
			}
			for _, d := range index.Manifests {
				if !images.IsManifestType(d.MediaType) || isAttestation(d) {
					continue
				}
				if got, want := r.Blobs[d.Digest], read(t, blobs, d.Digest, d.Size); !bytes.Equal(got, want) {
					t.Errorf("manifest %s is\n%s\nupstream's\n%s", d.Digest, got, want)
				}
				if d.ArtifactType == soci.ArtifactTypeV2 {
					checkReadIndex(t, r, d)
				}
			}
			readAsSnapshotter(t, r, index)
		})
	}
}

func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != ""
}

// keepsAttestations reports whether there are any. It looks at ours, which are
// as they were but for the digest they refer to, and puts them in the place of
// upstream's.
func keepsAttestations(t *testing.T, r *repository, image ocispec.Descriptor, ours []byte, theirs *[]byte) bool {
	t.Helper()
	if !images.IsIndexType(image.MediaType) {
		return false
	}
	var was, our, their ocispec.Index
	for b, index := range map[*ocispec.Index][]byte{&was: r.Blobs[image.Digest], &our: ours, &their: *theirs} {
		if err := json.Unmarshal(index, b); err != nil {
			t.Fatal(err)
		}
	}
	newDigest := make(map[string]string)
	for i, d := range was.Manifests {
		newDigest[d.Digest.String()] = our.Manifests[i].Digest.String()
	}
	found := false
	for i, want := range was.Manifests {
		if !isAttestation(want) {
			continue
		}
		found = true
		of := want.Annotations["vnd.docker.reference.digest"]
		if want.Annotations["vnd.docker.reference.digest"] = newDigest[of]; newDigest[of] == "" || newDigest[of] == of {
			t.Errorf("attestation %d is of %s, which was not rewritten", i, of)
		}
		if !reflect.DeepEqual(our.Manifests[i], want) {
			t.Errorf("attestation %d is %+v, want %+v", i, our.Manifests[i], want)
		}
		if isAttestation(their.Manifests[i]) {
			t.Errorf("upstream keeps attestations by now: %+v", their.Manifests[i])
		}
		their.Manifests[i] = want
	}
	b, err := json.Marshal(their)
	if err != nil {
		t.Fatal(err)
	}
	*theirs = b
	return found
}

// TestConvertDifferences lists the images that we convert and upstream does
// not, so that a change on either side is seen.
func TestConvertDifferences(t *testing.T) {
	for _, c := range []struct {
		name  string
		why   string
		image func(t *testing.T, r *repository) ocispec.Descriptor
	}{
		{"nested image index", "upstream takes each entry for an image manifest",
			func(t *testing.T, r *repository) ocispec.Descriptor {
				inner := r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{listed(r.image(t, false, arm64,
					r.layer(t, "writer/go-9", gzipLayer)), arm64)}})
				return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{inner,
					listed(r.image(t, false, amd64, r.layer(t, "writer/go-1", gzipLayer)), amd64)}})
			}},
		{"entry without a platform", "upstream does not look into the config",
			func(t *testing.T, r *repository) ocispec.Descriptor {
				return r.list(t, ocispec.Index{Manifests: []ocispec.Descriptor{r.image(t, false, arm64,
					r.layer(t, "writer/go-9", gzipLayer))}})
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRepository(t)
			image := c.image(t, r)
			if _, _, err := r.upstreamConvert(t, image); err == nil {
				t.Errorf("upstream converts it (%s)", c.why)
			}
			if result := r.convert(t, image); result.Enabled.Outcome != soci.OutcomeTagged {
				t.Errorf("our outcome is %s", result.Enabled.Outcome)
			}
		})
	}
}

// TestConvertSamePlatform holds what upstream makes of several manifests of one
// platform to ours, which has the SOCI indexes of the others besides: each of
// them is some client's choice.
func TestConvertSamePlatform(t *testing.T) {
	for _, c := range samePlatformCases() {
		t.Run(c.name, func(t *testing.T) {
			r := newRepository(t)
			image := c.image(t, r)
			want, blobs, err := r.upstreamConvert(t, image)
			if err != nil {
				t.Fatal(err)
			}
			result := r.convert(t, image)
			theirs := decode[ocispec.Index](t, read(t, blobs, want.Digest, want.Size))
			ours := decode[ocispec.Index](t, r.Blobs[result.Enabled.Image.Digest])
			// Theirs is ours without the SOCI index and the name of it.
			replaced := 0
			for i, d := range theirs.Manifests {
				if d.ArtifactType == soci.ArtifactTypeV2 {
					if !slices.ContainsFunc(ours.Manifests,
						func(o ocispec.Descriptor) bool { return reflect.DeepEqual(o, d) }) {
						t.Errorf("ours has no %+v", d)
					}
					continue
				}
				o := ours.Manifests[i]
				if o.Digest == d.Digest {
					continue
				}
				replaced++
				m := decode[ocispec.Manifest](t, r.Blobs[o.Digest])
				if m.Annotations[soci.AnnotationIndexDigest] == "" {
					t.Errorf("ours of entry %d has no SOCI index: %+v", i, m)
				}
				m.Annotations = nil
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				if got := digest.FromBytes(b); got != d.Digest {
					t.Errorf("ours of entry %d without its annotation is %s, upstream's %s", i, got, d.Digest)
				}
			}
			if replaced != 1 || len(ours.Manifests) != len(theirs.Manifests)+1 {
				t.Errorf("%d manifests are indexed besides; ours lists %d, upstream's %d", replaced,
					len(ours.Manifests), len(theirs.Manifests))
			}
			for _, d := range ours.Manifests {
				if d.ArtifactType == soci.ArtifactTypeV2 {
					checkReadIndex(t, r, d)
				}
			}
		})
	}
}

func decode[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

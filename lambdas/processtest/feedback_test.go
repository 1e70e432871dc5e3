package processtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// stack is a filter and a generator, as one template deploys them.
type stack struct {
	filter, indexgen *lambdaruntime.Function
	lambda           *awsLambda
}

// settings of a stack.
type settings struct{ suffix, minSize string }

// startStack starts a stack that indexes whatever it is told of.
func startStack(t *testing.T, s *registrytest.Server, k settings) *stack {
	t.Helper()
	l := newAWSLambda(t, http.StatusAccepted, "")
	env := map[string]string{"SOCI_TAG_SUFFIX": k.suffix}
	if k.minSize != "" {
		env["SOCI_MIN_LAYER_SIZE_MIB"] = k.minSize
	}
	return &stack{
		lambda: l,
		filter: startFilter(t, l, env, map[string]string{
			"SOCI_REPOSITORY_IMAGE_TAG_FILTERS": "*:*", "SOCI_INDEX_UNTAGGED_IMAGES": "true"}),
		indexgen: startIndexgen(t, s, lambdaruntime.Options{Env: env}),
	}
}

// handle passes an event to the filter and, if it is chosen, to the generator, and
// returns the outcome.
func (k *stack) handle(t *testing.T, event []byte) string {
	t.Helper()
	answer, err := k.filter.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	d := decode[decision](t, answer)
	if d.Decision != "matched" {
		return "filter: " + d.Decision
	}
	return "generator: " + k.index(t, <-k.lambda.payloads)
}

// index hands an event to the generator, past the filter.
func (k *stack) index(t *testing.T, event []byte) string {
	t.Helper()
	answer, err := k.indexgen.Invoke(t.Context(), event)
	if err != nil {
		t.Fatalf("the generator fails with %v over %s", err, event)
	}
	return decode[struct{ Outcome string }](t, answer).Outcome
}

var manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/(.+)$`)

// eventsOf returns every event that ECR could send of a manifest that was put
// under a tag or digest: of the kinds there are, with and without the tag, and
// with and without the media types, which are not promised.
func eventsOf(t *testing.T, s *registrytest.Server, reference string) [][]byte {
	t.Helper()
	b := s.Manifest(t, repository, reference)
	m := decode[struct {
		MediaType, ArtifactType string
		Config                  struct{ MediaType string }
	}](t, b)
	artifact := m.ArtifactType
	if artifact == "" {
		artifact = m.Config.MediaType
	}
	tags := []string{""}
	if !strings.Contains(reference, ":") {
		tags = append(tags, reference)
	}
	var events [][]byte
	for _, tag := range tags {
		for _, said := range []bool{true, false} {
			for _, kind := range []string{"Image", "Replication", "Pull Through Cache", "Referrer"} {
				detail := map[string]any{"repository-name": repository, "image-digest": digest.FromBytes(b),
					"image-tag": tag}
				switch kind {
				case "Image", "Referrer":
					maps.Copy(detail, map[string]any{"result": "SUCCESS", "action-type": "PUSH"})
				case "Replication":
					maps.Copy(detail,
						map[string]any{"result": "SUCCESS", "action-type": "REPLICATE",
							"source-account": "123456789012",
							"source-region":  "eu-west-1"})
				default:
					maps.Copy(detail, map[string]any{"sync-status": "SUCCESS", "ecr-repository-prefix": "team",
						"upstream-registry-url": "public.ecr.aws"})
				}
				if said {
					detail["manifest-media-type"], detail["artifact-media-type"] = m.MediaType, artifact
				}
				event, err := json.Marshal(map[string]any{"version": "0", "id": "1", "source": "aws.ecr",
					"account": "123456789012",
					"region":  "us-west-2", "time": "2026-01-02T03:04:05Z", "resources": []string{},
					"detail-type": "ECR " + kind + " Action", "detail": detail})
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, event)
			}
		}
	}
	return events
}

// puts returns the tags and digests under which manifests were put since the
// last call, each once.
func puts(s *registrytest.Server) []string {
	var references []string
	for _, r := range s.Requests() {
		if m := manifestPath.FindStringSubmatch(r.Path); m != nil && r.Method == http.MethodPut && m[1] == repository {
			references = append(references, m[2])
		}
	}
	s.Clear()
	slices.Sort(references)
	return slices.Compact(references)
}

// The generator's own pushes cause events too. Whatever the filters are, nothing
// but the original images is indexed, and the pushes soon end.
func TestOwnOutputIsNeverIndexed(t *testing.T) {
	tests := []struct {
		name   string
		stacks []settings // of those that work on the repository
		filter bool       // or else the events go to the generators at once
	}{
		{"one stack", []settings{{"-soci", ""}}, true},
		{"one stack, no filter", []settings{{"-soci", ""}}, false},
		{"two stacks of different suffixes", []settings{{"-soci", ""}, {"-lazy", ""}}, true},
		{"two stacks, no filter", []settings{{"-soci", ""}, {"-lazy", ""}}, false},
		{"a suffix that ends in another", []settings{{"-soci", ""}, {"-x-soci", ""}}, true},
		{"two minimum layer sizes", []settings{{"-soci", "1"}, {"-lazy", "3"}}, true},
		{"two minimum layer sizes, no filter", []settings{{"-soci", "1"}, {"-lazy", "3"}}, false},
		{"two minimum layer sizes, one tag", []settings{{"-soci", "1"}, {"-soci", "3"}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			arm := s.PushImage(t, repository, "",
				registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
			amd := s.PushImage(t, repository, "",
				registrytest.Image{Platform: "linux/amd64", Layers: []registrytest.Layer{layer(t, 2, 2<<20)},
					Docker: true})
			index := s.PushIndex(t, repository, "multi", false, arm.Manifest, amd.Manifest,
				s.PushAttestation(t, repository, arm.Manifest).Manifest)
			single := s.PushImage(t, repository, "single",
				registrytest.Image{Layers: []registrytest.Layer{layer(t, 3, 2<<20)}})
			small := s.PushImage(t, repository, "small",
				registrytest.Image{Layers: []registrytest.Layer{layer(t, 4, 1000)}})
			originals := map[string]digest.Digest{"multi": index.Digest, "single": single.Manifest.Digest,
				"small": small.Manifest.Digest}
			released := otherRelease(t, s, single.Manifest)
			s.Clear()

			var stacks []*stack
			for _, k := range tt.stacks {
				stacks = append(stacks, startStack(t, s, k))
			}
			outcomes := map[string]int{}
			tagged := map[string]bool{}
			made := released // by the generators, of this release and another
			references := slices.Concat(slices.Sorted(maps.Keys(originals)),
				[]string{arm.Manifest.Digest.String(), amd.Manifest.Digest.String()}, released)
			for round := 1; len(references) > 0; round++ {
				if round > 5 {
					t.Fatalf("still pushing in round %d: %s", round, references)
				}
				for _, reference := range references {
					for _, event := range eventsOf(t, s, reference) {
						for i, k := range stacks {
							outcome := ""
							if tt.filter {
								outcome = k.handle(t, event)
							} else {
								outcome = "generator: " + k.index(t, event)
							}
							outcomes[outcome]++
							if slices.Contains(made, reference) && slices.Contains([]string{
								"generator: indexed", "generator: no-layer-to-index", "generator: superseded"},
								outcome) {
								t.Fatalf("stack %s: %s: %s of our own output: %s", tt.stacks[i], reference, outcome,
									event)
							}
						}
					}
				}
				references = puts(s)
				made = append(made, references...)
				if round == 1 {
					// Somebody builds an image from a SOCI-enabled one.
					d := derived(t, s, "single"+tt.stacks[0].suffix)
					originals["derived"] = d.Digest
					references = append(references, "derived", d.Digest.String())
					s.Clear()
				}
				for _, reference := range references {
					if !strings.Contains(reference, ":") && reference != "derived" {
						tagged[reference] = true
					}
				}
			}
			incomplete(t, s, stacks, released[0])
			// The test has fed back what it should, and met the refusals.
			want := map[string]bool{}
			for tag := range originals {
				for _, k := range tt.stacks {
					want[tag+k.suffix] = true
				}
			}
			if !maps.Equal(tagged, want) {
				t.Errorf("tags made: %v, want %v", slices.Sorted(maps.Keys(tagged)), slices.Sorted(maps.Keys(want)))
			}
			for tag, was := range originals {
				if now := digest.FromBytes(s.Manifest(t, repository, tag)); now != was {
					t.Errorf("tag %s was moved from %s to %s", tag, was, now)
				}
			}
			if outcomes["generator: indexed"] == 0 || outcomes["generator: own-artifact"] == 0 {
				t.Errorf("outcomes %s", fmt.Sprint(outcomes))
			}
		})
	}
}

// otherRelease has another release of the builder index an image under a
// suffix of its own, and returns what it put there.
func otherRelease(t *testing.T, s *registrytest.Server, image ocispec.Descriptor) []string {
	t.Helper()
	repo, err := ecrclient.New(s.Registry.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	r, err := soci.IndexImage(t.Context(), repo, repo, image,
		soci.Options{IndexVersion: soci.Both, Tag: "single", TagSuffix: "-before",
			MinLayerSize: 1, BuildToolIdentifier: "soci-index-builder/before"})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Manifests[0]
	return []string{r.Enabled.Tag, m.Index.Digest.String(), m.IndexV2.Digest.String(), m.Enabled.Digest.String()}
}

// derived pushes an image that was built from a SOCI-enabled one, whose
// annotations it inherits.
func derived(t *testing.T, s *registrytest.Server, base string) ocispec.Descriptor {
	t.Helper()
	x := decode[ocispec.Index](t, s.Manifest(t, repository, base))
	m := decode[ocispec.Manifest](t, s.Manifest(t, repository, x.Manifests[0].Digest.String()))
	return s.PushImage(t, repository, "derived", registrytest.Image{Annotations: m.Annotations,
		Layers: []registrytest.Layer{layer(t, 3, 2<<20), layer(t, 5, 2<<20)}}).Manifest
}

// incomplete has the stacks told again of a SOCI-enabled image of which the
// SOCI index is late, as replication may bring it last, or gone.
func incomplete(t *testing.T, s *registrytest.Server, stacks []*stack, tag string) {
	t.Helper()
	x := decode[ocispec.Index](t, s.Manifest(t, repository, tag))
	last := len(x.Manifests) - 1
	references := []string{tag, x.Manifests[0].Digest.String(), x.Manifests[last].Digest.String()}
	var events [][]byte
	for _, reference := range references {
		events = append(events, eventsOf(t, s, reference)...)
	}
	s.Clear()
	s.Add(registrytest.Rule{Path: "/manifests/" + x.Manifests[last].Digest.String() + "$",
		Fault: registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")})
	for _, event := range events {
		for _, k := range stacks {
			if got := k.index(t, event); !slices.Contains([]string{"own-artifact", "image-gone", "referrer"}, got) {
				t.Errorf("%s of %s", got, event)
			}
		}
	}
	if references := puts(s); len(references) > 0 {
		t.Errorf("pushed: %s", references)
	}
}

package cleanup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const repository = "team/app"

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// account is ECR over a real registry. Everything in it was pushed 100 days
// ago, unless a test says otherwise.
type account struct {
	t        *testing.T
	registry *registrytest.Server
	aws      *awstest.Server
	ecr      *awstest.ECR
	gzip     []byte // a layer that can be indexed
}

func newAccount(t *testing.T) *account {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	all, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l testlayers.Layer) bool { return l.Name == "member/two" })
	a := &account{t: t, registry: registrytest.Start(t), aws: awstest.Start(t), gzip: all[i].Blob()}
	a.ecr = awstest.NewECR(a.registry)
	a.aws.Handle("ecr", a.ecr)
	return a
}

// index indexes an image, as the tool that is named.
func (a *account) index(reference, tool string, version soci.IndexVersion) *soci.Result {
	a.t.Helper()
	name, tag, _ := strings.Cut(reference, ":")
	return a.registry.Index(a.t, name, tag, soci.Options{
		IndexVersion: version, Tag: tag, TagUnindexed: true, MinLayerSize: 1, BuildToolIdentifier: tool,
	})
}

// image pushes an image that can be indexed; text makes it another one.
func (a *account) image(reference, text string, img registrytest.Image) registrytest.Pushed {
	a.t.Helper()
	name, tag, _ := strings.Cut(reference, ":")
	if img.Layers == nil {
		img.Layers = []registrytest.Layer{{Content: a.gzip}}
	}
	if img.Config == nil {
		platform := strings.Split(img.Platform+"///", "/")
		if img.Platform == "" {
			platform = []string{"linux", "amd64"}
		}
		img.Config = encode(a.t, map[string]any{"os": platform[0], "architecture": platform[1], "author": text})
	}
	return a.registry.PushImage(a.t, name, tag, img)
}

// unindexable is a layer that gets no zTOC.
func unindexable(text string) []registrytest.Layer {
	return []registrytest.Layer{{MediaType: ocispec.MediaTypeImageLayerZstd,
		Content: append([]byte{0x28, 0xb5, 0x2f, 0xfd}, text...)}}
}

// settle sets when everything was pushed.
func (a *account) settle() {
	for _, s := range a.registry.Stored() {
		a.ecr.PushedAt(s.Repository, s.Digest, now.Add(-100*24*time.Hour))
	}
}

// repo is the repository as ECR's API shows it, asked again without a pause.
func (a *account) repo(name string) cleanup.Repository {
	return cleanup.ECR(inventory.ECR(a.aws.RetryingConfig(10), inventory.WithArchived(),
		inventory.WithClientOptions(ecrclient.WithEndpoint(a.registry.URL()))), "", name)
}

// content returns all manifests of a repository with their tags.
func (a *account) content(name string) map[digest.Digest]string {
	a.t.Helper()
	images, err := a.repo(name).List(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	out := map[digest.Digest]string{}
	for _, i := range images {
		out[i.Digest] = strings.Join(i.Tags, ",")
	}
	return out
}

func options() cleanup.Options {
	return cleanup.Options{
		Now:   func() time.Time { return now },
		Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

// look plans.
func look(t *testing.T, repo cleanup.Repository, o cleanup.Options) *cleanup.Plan {
	t.Helper()
	plan, err := cleanup.Look(t.Context(), repo, o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// clean deletes, and wants everything deleted that was planned.
func clean(t *testing.T, repo cleanup.Repository, o cleanup.Options) map[digest.Digest]cleanup.Result {
	t.Helper()
	results := carryOut(t, look(t, repo, o))
	for _, r := range results {
		if r.Outcome != cleanup.Deleted {
			t.Errorf("%s %s is %s: %s", r.Kind, r.Digest, r.Outcome, r.Reason)
		}
	}
	return results
}

func carryOut(t *testing.T, plan *cleanup.Plan) map[digest.Digest]cleanup.Result {
	t.Helper()
	results := map[digest.Digest]cleanup.Result{}
	err := plan.Delete(t.Context(), func(r cleanup.Result) {
		if _, twice := results[r.Digest]; twice {
			t.Errorf("%s is told of twice", r.Digest)
		}
		results[r.Digest] = r
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(plan.Items) {
		t.Errorf("told of %d items, planned were %d", len(results), len(plan.Items))
	}
	return results
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// kinds counts the items of a plan.
func kinds(plan *cleanup.Plan) string {
	n := map[soci.Kind]int{}
	for _, i := range plan.Items {
		n[i.Kind]++
	}
	var parts []string
	for kind, count := range n {
		parts = append(parts, fmt.Sprintf("%d %s", count, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func imageIndex(manifests []ocispec.Descriptor, annotations map[string]string) ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: manifests, Annotations: annotations,
	}
}

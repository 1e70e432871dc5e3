package cleanup_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// spans indexes an image with each of the span sizes, and returns the SOCI
// indexes v1.
func (a *account) spans(tag, tool string, version soci.IndexVersion, sizes ...int64) (indexes []digest.Digest) {
	a.t.Helper()
	for _, size := range sizes {
		r := a.registry.Index(a.t, repository, tag, soci.Options{IndexVersion: version, Tag: tag, MinLayerSize: 1,
			SpanSize: size, BuildToolIdentifier: tool})
		indexes = append(indexes, r.Manifests[0].Index.Digest)
	}
	return indexes
}

// Of several SOCI indexes v1 of one image, by one tool, that of the last build
// stays, and so does everything else.
func TestSurplus(t *testing.T) {
	const mib = 1 << 20
	for name, plain := range map[string]bool{"ECR": false, "a registry without times": true} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.image("team/app:single", "single", registrytest.Image{})
			a.index("team/app:single", ours, soci.Both)
			// The last build of this one found its SOCI index v1 in the repository.
			a.image("team/app:both", "both", registrytest.Image{})
			both := a.spans("both", ours, soci.Both, 4*mib, 1*mib, 2*mib, 4*mib)
			a.image("team/app:v1", "v1", registrytest.Image{})
			v1 := a.spans("v1", ours, soci.V1, 1*mib, 2*mib)
			other := a.spans("v1", "another tool", soci.V1, 1*mib, 2*mib)
			a.settle()
			for i, d := range v1 {
				a.ecr.PushedAt(repository, d, now.Add(-50*24*time.Hour+time.Duration(i)*time.Minute))
			}
			before := a.stored(repository)
			repo := a.repo(repository)
			want := map[digest.Digest]bool{both[1]: true, both[2]: true, v1[0]: true}
			if plain {
				repo = a.plain(repository)
				delete(want, v1[0]) // nothing tells which is the newer
			}
			o := options()
			o.Surplus = true
			results := clean(t, repo, o)
			for d := range results {
				if !want[d] {
					t.Errorf("%s went", d)
				}
				delete(before, d)
			}
			if len(results) != len(want) {
				t.Errorf("%d went, want %d", len(results), len(want))
			}
			if left := a.stored(repository); len(left) != len(before) {
				t.Errorf("%d are left, want %d", len(left), len(before))
			}
			plan := look(t, repo, o)
			if len(plan.Items) > 0 {
				t.Errorf("a second run would have %s go", kinds(plan))
			}
			for _, k := range plan.Kept {
				switch {
				case k.Digest == both[0] && k.Reason != cleanup.KeptCurrent,
					(k.Digest == other[0] || k.Digest == other[1]) && k.Reason != cleanup.KeptOtherTool,
					plain && k.Digest == v1[0] && k.Reason != cleanup.KeptUncertain:
					t.Errorf("%s is kept as %s", k.Digest, k.Reason)
				}
			}
		})
	}
}

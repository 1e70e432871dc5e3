package generator

import (
	"encoding/json"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// The label of an image has its files prefetched where that is allowed, whether
// one function builds the image or several do. A file that is not there is told
// of.
func TestPrefetchLabel(t *testing.T) {
	const config = `{"os":"linux","architecture":"amd64","config":{"Labels":{` +
		`"soci-index-builder.prefetch":"/file-1,/not/there"}}}`
	image := registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, 300_000)},
		{Content: layer(t, 2, 200_000)}}, Config: []byte(config)}
	for _, row := range []struct {
		name    string
		allowed bool
		steps   bool
	}{{"not allowed", false, false}, {"not allowed, steps", false, true}, {"allowed", true, false},
		{"allowed, steps", true, true}} {
		t.Run(row.name, func(t *testing.T) {
			r := registrytest.Start(t)
			event := push(r.PushImage(t, repository, "v1", image).Manifest.Digest, "v1")
			s := newStepper(t, r)
			s.Options.PrefetchLabel, s.Options.IndexVersion = row.allowed, soci.Both
			var (
				answer any
				err    error
			)
			if row.steps {
				answer, err = s.all(t, event)
			} else {
				answer, err = s.Handler.Handle(t.Context(), event)
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(b), `"prefetch":{"fileCount":1,"layerCount":1,"spanCount":`); got != row.allowed {
				t.Errorf("the answer is %s", b)
			}
			warnings := logged(t, s.out, "not prefetched")
			if got := len(warnings) > 0; got != row.allowed || len(warnings) > 1 {
				t.Errorf("%d warnings: %v", len(warnings), warnings)
			}
			for _, w := range warnings {
				expect.Equal(t, expect.Facts{
					{"level", w["level"], "WARN"},
					{"detail", w["detail"],
						`linux/amd64: "/not/there" is not prefetched: it is in no layer that has a zTOC`},
				}, "logged")
			}
			var enabled ocispec.Index
			if err := json.Unmarshal(r.Manifest(t, repository, "v1-soci"), &enabled); err != nil {
				t.Fatal(err)
			}
			var index ocispec.Manifest
			last := enabled.Manifests[len(enabled.Manifests)-1]
			if err := json.Unmarshal(r.Manifest(t, repository, last.Digest.String()), &index); err != nil {
				t.Fatal(err)
			}
			if n := len(soci.ContentOf(&index).Prefetch); (n == 1) != row.allowed || len(index.Layers) != 2+n {
				t.Errorf("the SOCI index lists %d prefetch artifacts among %d blobs", n, len(index.Layers))
			}
		})
	}
}

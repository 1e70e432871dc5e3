package imagefile

import (
	"errors"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// "oras cp -r" and "oras cp" push a layout to a registry as the image with both
// SOCI indexes.
func TestPushByORAS(t *testing.T) {
	for _, from := range []string{"layout", "docker save"} {
		t.Run(from, func(t *testing.T) {
			c, _ := image(t)
			s := open(t, c.folder(t))
			if from != "layout" {
				c := dockerSave(t, false, "app:1")
				c["b/layer.tar"] = c["a/layer.tar"]
				s = open(t, c.archive(t))
			}
			desc, err := s.Resolve(t.Context(), "1")
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			l, err := CreateLayout(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, ierr := soci.IndexImage(t.Context(), l, l, desc, soci.Options{})
			if ierr == nil {
				t.Error("an image that is not there was indexed")
			}
			if err := l.Copy(t.Context(), s, desc, "1", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := soci.IndexImage(t.Context(), l, l, desc, soci.Options{IndexVersion: soci.Both, Tag: "1",
				MinLayerSize: 1, SpanSize: 64 << 10, TagSuffix: soci.DefaultTagSuffix}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Finish(), l.Close()); err != nil {
				t.Fatal(err)
			}

			store, err := oci.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			server := registrytest.Start(t)
			to, err := remote.NewRepository(server.Host() + "/team/app")
			if err != nil {
				t.Fatal(err)
			}
			to.PlainHTTP = true
			if _, err := oras.ExtendedCopy(t.Context(), store, "1", to, "1",
				oras.DefaultExtendedCopyOptions); err != nil {
				t.Fatal(err)
			}
			if _, err := oras.Copy(t.Context(), store, "1-soci", to, "1-soci", oras.DefaultCopyOptions); err != nil {
				t.Fatal(err)
			}
			repo, err := ecrclient.New(server.Host() + "/team/app:1")
			if err != nil {
				t.Fatal(err)
			}
			pushed, err := inspect.LoadVersions(t.Context(), repo, desc, "1", soci.DefaultTagSuffix)
			if err != nil {
				t.Fatal(err)
			}
			report, err := verify.New(repo, verify.Options{}).Versions(t.Context(), pushed, soci.Both)
			if err != nil || report.Differences() != 0 || report.Suffixed.State != soci.EnabledMatches {
				t.Errorf("%v, %+v", err, report)
			}
		})
	}
}

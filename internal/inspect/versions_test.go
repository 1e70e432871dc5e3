package inspect_test

import (
	"bytes"
	"strings"
	"testing"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// An image that index runs leave alone may still have a suffixed tag, of an image
// that had its tag before.
func TestLeftAlone(t *testing.T) {
	server := registrytest.Start(t)
	repo, err := ecrclient.New(server.Host() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	img := registrytest.Image{
		Layers: []registrytest.Layer{{Content: stored(t, "writer/go-6")}},
		Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"` + soci.LabelSkip + `":"true"}}}`),
	}
	pushed := server.PushImage(t, "team/app", "1", img)
	text := func() string {
		t.Helper()
		v, err := inspect.LoadVersions(t.Context(), repo, pushed.Manifest, "1", "-soci")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := v.WriteText(&b, true); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := text(); !strings.HasSuffix(got, "\nSOCI index v2: there is no tag 1-soci\n") {
		t.Errorf("%s", got)
	}
	server.PushImage(t, "team/app", "1-soci", registrytest.Image{Layers: img.Layers})
	if got := text(); !strings.Contains(got, "\nSOCI index v2: 1-soci is left as it is: ") ||
		!strings.Contains(got, soci.LabelSkip) {
		t.Errorf("%s", got)
	}
	v, err := inspect.LoadVersions(t.Context(), repo, pushed.Manifest, strings.Repeat("x", 128), "-soci")
	if err != nil || v.Suffixed.State != soci.EnabledAbsent {
		t.Errorf("%v, %+v", err, v)
	}
}

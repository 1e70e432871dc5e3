package processtest

import (
	"net/http"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/registrytest"
)

// One platform of an image is corrupt: the other has its SOCI index v1, the
// event goes to the failure queue, whose message names the failed manifest, the
// failure alone is announced, and the result tells of both.
func TestOnePlatformFails(t *testing.T) {
	s := registrytest.Start(t)
	bad := s.PushImage(t, repository, "",
		registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{corruptLayer(t)}})
	good := s.PushImage(t, repository, "", registrytest.Image{Layers: []registrytest.Layer{layer(t, 1, 2<<20)}})
	image := s.PushIndex(t, repository, "half", false, bad.Manifest, good.Manifest)
	queue, bus := newQueue(t), newBus(t)
	indexgen := startIndexgen(t, s, lambdaruntime.Options{Env: reporting(queue, bus)})

	answer, err := indexgen.Invoke(t.Context(), push(t, image.Digest, "half", ""))
	if err != nil {
		t.Fatal(err)
	}
	r := decode[struct {
		Outcome, Reason string
		Manifests       []struct {
			Digest, Outcome, Reason string
			Index                   *struct{ Digest string }
		}
	}](t, answer)
	if r.Outcome != "failed" || r.Reason != "corrupt" || len(r.Manifests) != 2 {
		t.Fatalf("%s of two manifests, want failed, corrupt: %s", r.Outcome, answer)
	}
	if m := r.Manifests[0]; m.Outcome != "failed" || m.Index != nil {
		t.Fatalf("the first manifest is %+v, want one that failed", m)
	}
	if m := r.Manifests[1]; m.Outcome != "indexed" || m.Index == nil {
		t.Fatalf("the second manifest is %+v, want one that is indexed", m)
	}
	if s.Manifest(t, repository, r.Manifests[1].Index.Digest) == nil {
		t.Error("the SOCI index v1 of the sound platform is not there")
	}
	if n := s.Count(http.MethodPut, "/manifests/half-soci"); n != 0 {
		t.Error("the suffixed tag was made")
	}
	all := takeMessages(t, queue)
	if len(all) != 1 || !strings.Contains(string(all[0]), bad.Manifest.Digest.String()) ||
		strings.Contains(string(all[0]), "manifest "+good.Manifest.Digest.String()) {
		t.Errorf("the queue has %s", all)
	}
	events := takeEvents(t, bus)
	if len(events) != 1 || events[0].DetailType != "SOCI Index Failed" {
		t.Errorf("announced: %v", events)
	}
}

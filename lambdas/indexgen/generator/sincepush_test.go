package generator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/internal/testkit/emfcheck"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
)

// The seconds from push to index are logged and measured by the generator and
// by the steps, once for each image, if the event tells when the push was.
func TestSincePush(t *testing.T) {
	const ago = 100 // seconds
	pushed := time.Now().Add(-ago * time.Second).UTC().Format(time.RFC3339)
	s := registrytest.Start(t)
	image := func(seed uint64, more ...registrytest.Layer) func(id, at string) []byte {
		p := s.PushImage(t, repository, "", registrytest.Image{
			Layers: append(more, registrytest.Layer{Content: layer(t, seed, 2*minSize)})})
		return func(id, at string) []byte {
			return bytes.Replace(push(p.Manifest.Digest, ""), []byte("{"),
				fmt.Appendf(nil, `{"id":%q,"time":%q,`, id, at), 1)
		}
	}
	var measured bytes.Buffer
	h, out := setup(t, s)
	steps := newStepper(t, s)
	for _, h := range []*Handler{h, steps.Handler} {
		h.Metrics = metrics.New(&measured, "my-stack", time.Now)
	}
	whole := func(event []byte) error {
		_, err := h.Handle(context.Background(), event)
		return err
	}
	parts := func(event []byte) error {
		_, err := steps.all(t, event)
		return err
	}
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, testlayers.Noise(9, 2*minSize)...)
	first, second, third := image(1), image(2), image(8, registrytest.Layer{Content: zstd})
	for _, tt := range []struct {
		name  string
		build func([]byte) error
		log   *bytes.Buffer
		event []byte
		want  float64 // seconds; negative: none
	}{
		{"one function", whole, out, first("1", pushed), ago},
		{"its duplicate", whole, out, first("1", pushed), -1},
		{"the steps", parts, steps.out, second("2", pushed), ago},
		{"their duplicate", parts, steps.out, second("2", pushed), -1},
		{"the steps, with a layer of zstd", parts, steps.out, third("8", pushed), ago},
		{"its duplicate, for which that layer is read again", parts, steps.out, third("8", pushed), -1},
		{"a backfill", whole, out, image(3)("backfill-20260102T030405Z-000001", pushed), -1},
		{"no time", whole, out, image(4)("4", ""), -1},
		{"a time that is none", whole, out, image(5)("5", "yesterday"), -1},
		{"a clock that is ahead", whole, out, image(6)("6", "2999-01-01T00:00:00Z"), 0},
		{"nothing to index", whole, out, bytes.Replace(push(s.PushImage(t, repository, "v7",
			registrytest.Image{}).Manifest.Digest, "v7"), []byte("{"), []byte(`{"time":"`+pushed+`",`), 1), -1},
	} {
		tt.log.Reset()
		measured.Reset()
		if err := tt.build(tt.event); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		finished := logged(t, tt.log, "image finished")
		if len(finished) != 1 {
			t.Fatalf("%s: %d lines", tt.name, len(finished))
		}
		if err := emfcheck.Line([]byte(strings.TrimSpace(measured.String()))); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var line map[string]any
		if err := json.Unmarshal(measured.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for where, value := range map[string]any{"log": finished[0]["pushToIndexSeconds"],
			"metric": line["PushToIndex"]} {
			got, ok := value.(float64)
			if ok != (tt.want >= 0) || got < tt.want || got > tt.want+60 {
				if ok || tt.want >= 0 {
					t.Errorf("%s: the %s has %v, want %v", tt.name, where, value, tt.want)
				}
			}
		}
	}
}

package soci_test

import (
	"errors"
	"net/http"
	"testing"

	"soci-index-builder/pkg/soci"
)

// A dry run tells what would become of the suffixed tag.
func TestDryRunForeseesTag(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  func(w *world)
		want    soci.Outcome
		failure error
	}{
		{"free", func(*world) {}, soci.OutcomeTagged, nil},
		{"there", func(w *world) {
			if _, err := w.index(w.old); err != nil {
				w.t.Fatal(err)
			}
		}, soci.OutcomeAlreadyTagged, nil},
		{"somebody's own", func(w *world) {
			w.s.PushIndex(w.t, repoName, "v1-soci", false, w.new.Manifest)
		}, soci.OutcomeTagTaken, soci.ErrTagTaken},
		{"image without its tag", func(w *world) { w.take(w.new) }, soci.OutcomeSuperseded, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.before(w)
			puts := w.s.Count(http.MethodPut, "") + w.s.Count(http.MethodPost, "")
			o := both("v1")
			o.DryRun = true
			image := w.old.Manifest
			image.Platform = nil
			repo := openRepo(t, w.s)
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if !errors.Is(err, tt.failure) || r == nil || r.Enabled.Outcome != tt.want {
				t.Fatalf("%v, %+v; want %s, %v", err, r, tt.want, tt.failure)
			}
			if n := w.s.Count(http.MethodPut, "") + w.s.Count(http.MethodPost, "") - puts; n != 0 {
				t.Errorf("%d requests that write", n)
			}
		})
	}
}

package backfill_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

// layer packs one file.
func layer(t *testing.T, content []byte) registrytest.Layer {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return registrytest.Layer{Content: b.Bytes()}
}

func push(t *testing.T, s *registrytest.Server, repository, tag string,
	layers ...registrytest.Layer) registrytest.Pushed {
	t.Helper()
	return s.PushImage(t, repository, tag, registrytest.Image{Layers: layers})
}

var rules = func() filters.Rules {
	f, err := filters.Parse("team/*:*")
	if err != nil {
		panic(err)
	}
	return filters.Rules{Filters: f, TagSuffix: "-soci"}
}()

// plan is what is left to do.
func plan(t *testing.T, src inventory.Source) *backfill.Plan {
	t.Helper()
	p, err := backfill.NewPlan(t.Context(),
		inventory.Survey(t.Context(), src, inventory.Options{Rules: rules, MinLayerSize: 1}), soci.Both, 0)
	if err != nil || len(p.Errors) > 0 {
		t.Fatal(err, p)
	}
	return p
}

func namesOf(items []backfill.Item) []string {
	all := []string{}
	for _, i := range items {
		all = append(all, i.Name())
	}
	return all
}

func TestLocal(t *testing.T) {
	s := registrytest.Start(t)
	push(t, s, "team/app", "v1", layer(t, testlayers.Noise(1, 1<<20)))
	push(t, s, "team/app", "v2", layer(t, testlayers.Noise(1, 1<<20)), layer(t, testlayers.Noise(2, 1<<20)))
	// 256 checkpoints of 32 KiB are more than a third of the memory.
	large := push(t, s, "team/large", "v1", layer(t, testlayers.Text(3, 16<<20)))
	push(t, s, "other/app", "v1", layer(t, testlayers.Noise(4, 1<<20)))
	src := inventory.Registry(s.Host(), []string{"team/app", "team/large", "other/app"})
	todo := plan(t, src)
	if got, want := namesOf(todo.Items),
		[]string{"team/app:v1", "team/app:v2", "team/large:v1"}; !slices.Equal(got, want) {
		t.Fatalf("to do %q, want %q", got, want)
	}
	l := &backfill.Local{Source: src, Parallel: 3, Options: soci.Options{
		IndexVersion: soci.Both, TagSuffix: "-soci", MinLayerSize: 1, SpanSize: 64 << 10,
		Limits: soci.Limits{MaxMemory: 18 << 20},
	}}
	done := []string{}
	err := l.Run(t.Context(), todo.Items, func(r backfill.Result) {
		if r.Err != nil || r.Index.Outcome() != soci.OutcomeIndexed {
			t.Errorf("%s: %v", r.Name(), r.Err)
		}
		done = append(done, r.Name())
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != 3 || done[2] != "team/large:v1" {
		t.Errorf("done %q, want the large one last, when it has the memory for itself", done)
	}
	reads := 0
	for _, r := range s.Requests() {
		if r.Method == http.MethodGet &&
			strings.HasSuffix(r.Path, "/team/large/blobs/"+large.Layers[0].Digest.String()) {
			reads++
		}
	}
	if reads < 2 {
		t.Errorf("the large layer was read %d times, want a second time with more memory", reads)
	}
	if left := namesOf(plan(t, src).Items); len(left) != 0 {
		t.Errorf("a second backfill finds %q", left)
	}
}

func TestLocalFails(t *testing.T) {
	s := registrytest.Start(t)
	good := layer(t, testlayers.Noise(1, 1<<20))
	push(t, s, "team/app", "v1", good)
	push(t, s, "team/bad", "v1", registrytest.Layer{Content: good.Content[:len(good.Content)/2]})
	push(t, s, "team/large", "v1", layer(t, testlayers.Text(3, 16<<20)))
	src := inventory.Registry(s.Host(), []string{"team/app", "team/bad", "team/large"})
	l := &backfill.Local{Source: src, Parallel: 2, Options: soci.Options{
		IndexVersion: soci.Both, TagSuffix: "-soci", MinLayerSize: 1, SpanSize: 64 << 10,
		Limits: soci.Limits{MaxMemory: 6 << 20},
	}}
	became := map[string]error{}
	err := l.Run(t.Context(), plan(t, src).Items, func(r backfill.Result) { became[r.Name()] = r.Err })
	if !errors.Is(err, backfill.ErrFailed) {
		t.Errorf("Run = %v, want ErrFailed", err)
	}
	for name, want := range map[string]error{"team/app:v1": nil, "team/bad:v1": soci.ErrTruncated,
		"team/large:v1": soci.ErrLimit} {
		if err, ok := became[name]; !ok || !errors.Is(err, want) || len(became) != 3 {
			t.Errorf("%s: %v, want %v, of 3: %v", name, err, want, became)
		}
	}
	if left, want := namesOf(plan(t, src).Items), []string{"team/bad:v1", "team/large:v1"}; !slices.Equal(left, want) {
		t.Errorf("a second backfill finds %q, want %q", left, want)
	}
}

func TestLocalInterrupted(t *testing.T) {
	s := registrytest.Start(t)
	push(t, s, "team/a", "v1", layer(t, testlayers.Noise(1, 1<<20)))
	push(t, s, "team/b", "v1", layer(t, testlayers.Noise(2, 1<<20)))
	push(t, s, "team/c", "v1", layer(t, testlayers.Noise(3, 1<<20)))
	src := inventory.Registry(s.Host(), []string{"team/a", "team/b", "team/c"})
	todo := plan(t, src)
	ctx, cancel := context.WithCancel(t.Context())
	s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/team/b/blobs/",
		Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			cancel()
			next.ServeHTTP(w, r)
		}})
	l := &backfill.Local{Source: src,
		Options: soci.Options{IndexVersion: soci.Both, TagSuffix: "-soci", MinLayerSize: 1}}
	done := []string{}
	err := l.Run(ctx, todo.Items, func(r backfill.Result) {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Name(), r.Err)
		}
		done = append(done, r.Name())
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(done, []string{"team/a:v1"}) {
		t.Errorf("Run = %v, done %q, want team/a alone", err, done)
	}
	// Running it again goes on where it stopped.
	if left, want := namesOf(plan(t, src).Items), []string{"team/b:v1", "team/c:v1"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

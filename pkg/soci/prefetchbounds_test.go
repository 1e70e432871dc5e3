package soci_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/soci"
)

func TestPrefetchOptions(t *testing.T) {
	s := newStore()
	image := s.image("amd64", s.add(gz, good(t, 0)))
	many := make([]string, soci.MaxPrefetchPatterns+1)
	for i := range many {
		many[i] = fmt.Sprint("/a", i)
	}
	for _, row := range []struct {
		paths []string
		want  string
	}{
		{[]string{"/"}, `path to prefetch "/" names no file`},
		{[]string{"/ok", ""}, `path to prefetch "" names no file`},
		{[]string{"/a\x00b"}, "has a NUL byte"},
		{[]string{strings.Repeat("a", 4096)}, "has 4096 bytes, more than 4095"},
		{many, "10001 paths to prefetch, more than 10000"},
	} {
		o := everyLayer
		o.Prefetch = row.paths
		if _, err := soci.IndexImage(t.Context(), s, s, image, o); !errors.Is(err, soci.ErrInvalidOption) ||
			!strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
	o := everyLayer
	o.Prefetch = many[1:]
	r, err := soci.IndexImage(t.Context(), s, s, image, o)
	if err != nil || len(r.Warnings) != 101 || !strings.HasSuffix(r.Warnings[99],
		": 9900 more of what was asked for are not prefetched") {
		t.Errorf("%v, %d warnings, the last is %q", err, len(r.Warnings), r.Warnings[len(r.Warnings)-1])
	}
}

// The search goes no further than its bounds, and says so.
func TestPrefetchBounds(t *testing.T) {
	tiny := make([]string, soci.MaxPrefetchFiles+1)
	for i := range tiny {
		tiny[i] = fmt.Sprintf("d/%06d=1", i)
	}
	for _, row := range []struct {
		name    string
		span    int64
		members []string
		paths   []string
		files   int
		warning string
	}{
		{"spans", 512, []string{"a", fmt.Sprintf("b=%d", soci.MaxPrefetchSpans*512), "c"},
			[]string{"/a", "/b", "/c"}, 1,
			`there are more than 16384 spans to prefetch, so not all of "/b" is prefetched, and nothing that was ` +
				`asked for after it`},
		{"files", 1 << 20, tiny, []string{"/**", "/d/000000"}, soci.MaxPrefetchFiles,
			`there are more than 100000 files to prefetch, so not all of "/**" is prefetched`},
		{"search", 1 << 20, []string{"a", strings.Repeat("ab", 500) + "=1", "b"},
			[]string{"/a", "/**/*a*b*a*b*c", "/b"}, 1,
			"the search for the files to prefetch takes too long, so not all of \"/**/*a*b*a*b*c\" is prefetched"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.name == "search" {
				defer soci.SetMaxPrefetchSteps(1000)()
			}
			s := newStore()
			layer := s.add(tarred, archiveOfMembers(1, row.members...))
			o := everyLayer
			o.SpanSize, o.Prefetch = row.span, row.paths
			o.Limits.MaxMemory = 4 << 30 // which that many spans count for, though an archive's are small
			r, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", layer), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], row.warning) {
				t.Errorf("%.500q, want %q", r.Warnings, row.warning)
			}
			if p := r.Manifests[0].Prefetch; p == nil || p.Files != row.files {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A search that takes long ends when it is stopped: what was found until then is
// not taken for all there is.
func TestPrefetchStops(t *testing.T) {
	names := make([]string, 20_000)
	for i := range names {
		names[i] = strings.Repeat("ab", 60) + fmt.Sprintf("%06d", i)
	}
	asked := 0
	_, _, _, err := soci.NewSearch(names).Find(func() error {
		if asked++; asked == 2 {
			return context.Canceled
		}
		return nil
	}, "/**/*a*b*a*b*a*c")
	if !errors.Is(err, context.Canceled) || asked != 2 {
		t.Errorf("%v after %d questions", err, asked)
	}
}

// When the names of all files take too much memory, nothing is prefetched, in
// whatever order the layers are built.
func TestPrefetchMemory(t *testing.T) {
	many := make([]string, 12_000)
	for i := range many {
		many[i] = fmt.Sprintf("%s/%d=300", strings.Repeat("d", 60), i)
	}
	s := newStore()
	one, two := s.add(gz, membersLayer(2, many...)), s.add(gz, membersLayer(3, many...))
	o := everyLayer
	o.Prefetch, o.Limits.MaxMemory = []string{"/" + strings.Repeat("d", 60) + "/**"}, 16<<20
	r, err := soci.IndexImage(t.Context(), s, s, s.image("amd64", one), o)
	if err != nil || len(r.Warnings) != 0 || r.Manifests[0].Prefetch.Files != len(many) {
		t.Fatalf("%v %+v", err, r)
	}
	r, err = soci.IndexImage(t.Context(), s, s, s.image("amd64", one, two), o)
	if err != nil || r.Manifests[0].Prefetch != nil {
		t.Fatalf("%v %+v, want that nothing is prefetched", err, r)
	}
	const want = "nothing is prefetched: the names of all files take more than 2.0 MiB of memory, an eighth of the " +
		"memory limit: with --max-memory 19MiB, or a larger GeneratorMemorySize, there is room for them"
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], want) {
		t.Errorf("warnings %q, want %q", r.Warnings, want)
	}
}

// What one function had the memory to build, the function that publishes has the memory
// to read back.
func TestPrefetchReadsBackLargeZtoc(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	layer := testlayers.GoGzip(archive(t, "large", testlayers.Noise(1, 3<<20)), 6, 0)
	image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(layer)}).Manifest
	o := smallSpans("/large")
	o.SpanSize, o.Limits.MaxMemory = 64<<10, 5<<20
	w, err := soci.Plan(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := soci.BuildLayer(t.Context(), repo, repo, w.Layers()[0], o)
	if err != nil {
		t.Fatal(err)
	}
	if n := out.Result.Ztoc.Size; 4*n <= o.Limits.MaxMemory || n < o.Limits.MaxMemory/5 {
		t.Fatalf("the zTOC has %d bytes", n)
	}
	r, err := soci.Publish(t.Context(), repo, repo, image, o, []soci.LayerOutcome{out})
	if err != nil || len(r.Warnings) != 0 || len(r.Manifests[0].Prefetch.Artifacts) != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	// A number of spans that is not that of the zTOC is a sign of another one.
	s = registrytest.Start(t)
	repo = openRepo(t, s)
	s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(layer)})
	if out, err = soci.BuildLayer(t.Context(), repo, repo, w.Layers()[0], o); err != nil {
		t.Fatal(err)
	}
	out.Result.Spans++
	r, err = soci.Publish(t.Context(), repo, repo, image, o, []soci.LayerOutcome{out})
	if err != nil || len(r.Warnings) == 0 || !strings.Contains(r.Warnings[0], "spans, not") {
		t.Errorf("%v %+v", err, r)
	}
}

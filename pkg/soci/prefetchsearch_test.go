package soci_test

import (
	"fmt"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// manyNames are those of n files, as those of installed packages.
func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("usr/lib/a%d/site-packages/a%d/b/ab%d.py", i%100, i/100%100, i)
	}
	return names
}

// longLabel fills a label with patterns, of which each gets its number.
func longLabel(pattern string) (all []string) {
	for size, i := 0, 0; ; i++ {
		p := fmt.Sprintf(pattern, i)
		if size += len(p) + 1; size > soci.MaxPrefetchLabel {
			return all
		}
		all = append(all, p)
	}
}

// A search goes only where a pattern leads, and takes each name once for each
// pattern.
func TestPrefetchSearchSteps(t *testing.T) {
	const n = 20_000
	search := soci.NewSearch(manyNames(n))
	for _, row := range []struct {
		patterns []string
		files    int
		most     int64 // steps
	}{
		{[]string{"/usr/lib/a7/**"}, n / 100, n / 100 * 500},
		{longLabel("/z%d*"), 0, 2500 * 500},
		{longLabel("/usr/z%d*/**"), 0, 2500 * 1000},
		{[]string{"/usr/*/a7/**"}, n / 100, 110 * 800},
		{[]string{"/**/ab19.py"}, 1, n * 100},
		{[]string{"/**/a*/**/b/a*"}, n, n * 500},
		{[]string{"/**/a*/**/b*"}, 0, n * 200},
		{[]string{"/" + strings.Repeat("**/a*/**/b*/", 300) + "c"}, 0, n * 200},
		{[]string{"/" + strings.Repeat("**/", 1000) + "c"}, 0, n * 200},
	} {
		files, steps, full, err := search.Find(nil, row.patterns...)
		if err != nil || full != "" || files != row.files || steps > row.most {
			t.Errorf("%.40q: %v, %s, %d files in %d steps, want %d in at most %d", row.patterns, err, full, files,
				steps, row.files, row.most)
		}
	}
}

// Whatever a label names, and an image has, the search ends at its bound.
func TestPrefetchSearchEnds(t *testing.T) {
	defer soci.SetMaxPrefetchSteps(10_000_000)()
	search := soci.NewSearch(manyNames(5000), manyNames(5000), manyNames(5000))
	for _, pattern := range []string{"**/z%d*", "**/a*/**/b*/**/c%d", "**/*a*%d", "*/*/*/*/*/*/ab%d*"} {
		_, steps, full, err := search.Find(nil, longLabel(pattern)...)
		if err != nil || full == "" || steps > *soci.MaxPrefetchSteps+1_000_000 {
			t.Errorf("%s: %v, %q after %d steps", pattern, err, full, steps)
		}
	}
}

// All image manifests of an image share a bound, in their order, and what is
// left out for its sake is always the same.
func TestPrefetchStepsOfImage(t *testing.T) {
	defer soci.SetMaxImagePrefetchSteps(3_000)()
	var before string
	for range 2 {
		s := registrytest.Start(t)
		repo := openRepo(t, s)
		image := pushPlatforms(t, s, "v1", "linux/amd64", "linux/arm64", "linux/s390x")
		o := both("v1")
		o.Prefetch = []string{"/**"}
		r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
		if err != nil {
			t.Fatal(err)
		}
		var files []int
		for _, m := range r.Manifests {
			files = append(files, m.Prefetch.Files)
		}
		if files[0] == 0 || files[2] != 0 {
			t.Errorf("%d files are found, want some of the first image and none of the last", files)
		}
		const want = "linux/s390x: the search for the files to prefetch takes too long"
		if n := len(r.Warnings); n == 0 || !strings.HasPrefix(r.Warnings[n-1], want) {
			t.Errorf("the warnings are %q, want %q as the last", r.Warnings, want)
		}
		after := fmt.Sprint(files, r.Warnings, r.Enabled.Image.Digest)
		if before != "" && before != after {
			t.Errorf("%s, before %s", after, before)
		}
		before = after
	}
}

// BenchmarkPrefetchSearch takes the longest searches that a label may ask for.
// The seconds in docs/format.md are from here.
func BenchmarkPrefetchSearch(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		search := soci.NewSearch(manyNames(n))
		for _, pattern := range []string{"**/z%d*", "**/a*/**/b*/**/c%d", "**/*a*%d", "usr/lib/a%d/**"} {
			patterns := longLabel(pattern)
			b.Run(fmt.Sprintf("%d/%s", n, strings.ReplaceAll(pattern, "/", "|")), func(b *testing.B) {
				for b.Loop() {
					if _, steps, _, err := search.Find(nil, patterns...); err != nil || steps == 0 {
						b.Fatal(steps, err)
					}
				}
			})
		}
	}
}

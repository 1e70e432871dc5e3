package soci_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/pkg/soci"
)

// searchOf returns a search of the layers, and their zTOCs.
func searchOf(t *testing.T, span int64, layers ...[]byte) (*soci.FileSearch, []digest.Digest, []*soci.Ztoc) {
	t.Helper()
	digests := make([]digest.Digest, len(layers))
	ztocs := make([]*soci.Ztoc, len(layers))
	for i, l := range layers {
		digests[i] = digest.FromBytes(l)
		var err error
		if ztocs[i], err = soci.BuildZtoc(bytes.NewReader(l), soci.ZtocOptions{SpanSize: span}); err != nil {
			t.Fatal(err)
		}
	}
	s := soci.NewFileSearch(digests)
	for i := range layers {
		if err := s.Add(digests[i], ztocs[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s, digests, ztocs
}

func TestFileSearch(t *testing.T) {
	for _, row := range []struct {
		path   string
		glob   bool
		layer  int    // that has the file
		name   string // of the file in it
		reason soci.FileReason
	}{
		{path: "/app/server", layer: 1, name: "./app/server"},
		{path: "/usr/bin/python3", layer: 0, name: "usr/bin/python3.12"},
		{path: "/usr/bin/python", layer: 0, name: "usr/bin/python3.12"},
		{path: "/app/config.json", layer: 2, name: "app/config.json"},
		{path: "/lib/libm.so", layer: 0, name: "usr/lib/libm.so.1"},
		{path: "/app/data*1", layer: 1, name: "./app/data*1"},
		{path: "/opt/old/*", glob: true, layer: 2, name: "opt/old/new"},
		{path: "/app/serv*", reason: soci.FileAbsent},
		{path: "/app/*.txt", glob: true, reason: soci.FileAbsent},
		{path: "/proc/self/maps", reason: soci.FileAbsent},
		{path: "/opt/gone/b", reason: soci.FileRemoved},
		{path: "/usr/lib", reason: soci.FileDirectory},
		{path: "/lib", reason: soci.FileDirectory},
		{path: "/etc/loop", reason: soci.FileUnreachable},
	} {
		s, digests, ztocs := searchOf(t, 16<<10, rootFS()...)
		find := s.File
		if row.glob {
			find = s.Match
		}
		err := find(row.path)
		if row.reason != "" {
			missing, ok := errors.AsType[*soci.FileNotFoundError](err)
			if !ok || missing.Reason != row.reason || missing.Path != row.path {
				t.Errorf("%s: %v, want %s", row.path, err, row.reason)
			}
			if n := len(s.Spans()); n > 0 {
				t.Errorf("%s: %d spans, want none", row.path, n)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.path, err)
			continue
		}
		found := s.Spans()
		one, ok := found[digests[row.layer]]
		if !ok || len(found) != 1 || one.Files != 1 {
			t.Errorf("%s: %v", row.path, found)
			continue
		}
		z := ztocs[row.layer]
		header := int64(0)
		for _, e := range z.Entries {
			if e.Name == row.name {
				read, content := touched(z, header, e.Offset+e.Size), touched(z, e.Offset, e.Offset+e.Size)
				if !slices.Equal(one.Read, read) || !slices.Equal(one.Prefetch, content) {
					t.Errorf("%s: read %d, want %d; prefetched %d, want %d", row.path, one.Read, read, one.Prefetch,
						content)
				}
			}
			header = (e.Offset + e.Size + 511) / 512 * 512
		}
	}
}

// A link or file in the place of a directory hides the files that lower layers have
// in it, as it does in the container.
func TestFileSearchReplaced(t *testing.T) {
	blobs := [][]byte{
		membersLayer(1, "opt/v1/x", "opt/v2/x", "opt/v2/y", "opt/f/x", "run>opt/v2", "opt/deep/a/b/c"),
		membersLayer(50, "opt/v1>v2", "opt/f", "run/x", "opt/deep@opt/f"),
		membersLayer(90, "opt/f/new"),
	}
	for _, row := range []struct {
		pattern string
		want    string // layers and numbers of files
		reason  soci.FileReason
	}{
		{pattern: "/opt/v1/x", want: "0:opt/v2/x"},
		{pattern: "/opt/v1/y", want: "0:opt/v2/y"},
		{pattern: "/opt/v1/*", want: "0:opt/v2/x 0:opt/v2/y"},
		{pattern: "/opt/v*/x", want: "0:opt/v2/x"},
		{pattern: "/opt/**", want: "0:opt/v2/x 0:opt/v2/y 1:opt/f 2:opt/f/new"},
		{pattern: "/run/x", want: "1:run/x"}, // a directory in the place of a link
		{pattern: "/opt/f/new", want: "2:opt/f/new"},
		{pattern: "/opt/f/x", reason: soci.FileRemoved},
		{pattern: "/opt/deep/a/b/c", reason: soci.FileRemoved},
	} {
		s, digests, ztocs := searchOf(t, 16<<10, blobs...)
		err := s.Match(row.pattern)
		if row.reason == "" && err != nil {
			t.Errorf("%s: %v", row.pattern, err)
		}
		missing, ok := errors.AsType[*soci.FileNotFoundError](err)
		if row.reason != "" && (!ok || missing.Reason != row.reason) {
			t.Errorf("%s: %v, want %q", row.pattern, err, row.reason)
		}
		const by = "it is removed by layer sha256:"
		if row.reason != "" && ok && !strings.Contains(missing.Detail, by) {
			t.Errorf("%s: %q, want %q in it", row.pattern, missing.Detail, by)
		}
		want := make(map[digest.Digest][]int32)
		for _, file := range strings.Fields(row.want) {
			layer, name, _ := strings.Cut(file, ":")
			i := int(layer[0] - '0')
			for _, e := range ztocs[i].Entries {
				if e.Name == name {
					want[digests[i]] = append(want[digests[i]], touched(ztocs[i], e.Offset, e.Offset+e.Size)...)
				}
			}
		}
		found := s.Spans()
		if len(found) != len(want) {
			t.Errorf("%s: %v", row.pattern, found)
		}
		for layer, spans := range want {
			slices.Sort(spans)
			if got := found[layer].Prefetch; !slices.Equal(got, slices.Compact(spans)) {
				t.Errorf("%s: layer %s: %d, want %d", row.pattern, layer, got, spans)
			}
		}
	}
}

// touched returns the spans that have a byte from first to last of the archive, by
// looking at each.
func touched(z *soci.Ztoc, first, last int64) (spans []int32) {
	for i, s := range z.Spans() {
		end := s.OutEnd
		if end < 0 {
			end = z.UncompressedSize + 1<<20
		}
		if s.OutStart <= last && first < end {
			spans = append(spans, int32(i))
		}
	}
	return spans
}

// A header in the span before its content is read too, but not prefetched; of an
// empty file nothing is read.
func TestFileSearchHeaders(t *testing.T) {
	layer := archiveOfMembers(7, "first=3584", "second=100", "empty=0", "last=9000")
	s, digests, _ := searchOf(t, 4096+512, layer) // where the content of "second" begins
	for _, path := range []string{"/second", "/empty", "/second"} {
		if err := s.File(path); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Spans()[digests[0]]
	if !slices.Equal(got.Read, []int32{0, 1}) || !slices.Equal(got.Prefetch, []int32{1}) || got.Files != 2 {
		t.Errorf("%+v", got)
	}
}

func TestFileSearchRefuses(t *testing.T) {
	s, _, _ := searchOf(t, 1<<20, rootFS()[1])
	for _, path := range []string{"", "/", "/a\x00", "/" + strings.Repeat("a", 4095)} {
		if err := s.File(path); !errors.Is(err, soci.ErrInvalidOption) {
			t.Errorf("%.20q: %v", path, err)
		}
	}
	// A zTOC of which each file is said to be the whole layer.
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("f%d=1024", i)
	}
	layer := archiveOfMembers(3, many...)
	z, err := soci.BuildZtoc(bytes.NewReader(layer), soci.ZtocOptions{SpanSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	for i := range z.Entries {
		z.Entries[i].Offset, z.Entries[i].Size = 512, 1<<62
	}
	defer soci.SetMaxPrefetchSteps(1_000_000)()
	s = soci.NewFileSearch([]digest.Digest{digest.FromBytes(layer)})
	if err := s.Add(digest.FromBytes(layer), z); err != nil {
		t.Fatal(err)
	}
	if err := s.File("/f3"); err != nil {
		t.Errorf("one file: %v", err)
	}
	if err := s.Match("/**"); !errors.Is(err, soci.ErrLimit) || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("all files: %v", err)
	}
	// Names beyond what is kept.
	for i := range z.Entries {
		z.Entries[i].Linkname = strings.Repeat("l", 100<<10)
	}
	if err := soci.NewFileSearch([]digest.Digest{"a"}).Add("a", z); !errors.Is(err, soci.ErrLimit) {
		t.Errorf("names: %v", err)
	}
}

func TestPrefetchLabelOf(t *testing.T) {
	if label, err := soci.PrefetchLabel([]string{"/a", "/b/**"}); err != nil || label != "/a,/b/**" {
		t.Errorf("%q %v", label, err)
	}
	for _, row := range []struct {
		paths []string
		want  error
	}{
		{[]string{"/a,b"}, soci.ErrInvalidOption},
		{[]string{"/a "}, soci.ErrInvalidOption},
		{[]string{"/" + strings.Repeat("a", soci.MaxPrefetchLabel)}, soci.ErrLimit},
		{slices.Repeat([]string{"a"}, soci.MaxPrefetchPatterns+1), soci.ErrLimit},
	} {
		if label, err := soci.PrefetchLabel(row.paths); !errors.Is(err, row.want) {
			t.Errorf("%.20q: %q %v, want %v", row.paths, label, err, row.want)
		}
	}
}

// The SOCI index names exactly the files that the search reports as prefetched.
func TestFileSearchIsPrefetch(t *testing.T) {
	s := newStore()
	paths := []string{"/app/**", "/usr/bin/python3"}
	o := everyLayer
	o.SpanSize, o.Prefetch = 16<<10, paths
	search, digests, _ := searchOf(t, 16<<10, rootFS()...)
	for _, p := range paths {
		if err := search.Match(p); err != nil {
			t.Fatal(err)
		}
	}
	image := s.image("amd64", s.add(gz, rootFS()[0]), s.add(gz, rootFS()[1]), s.add(gz, rootFS()[2]))
	r, err := soci.IndexImage(t.Context(), s, s, image, o)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, a := range r.Manifests[0].Prefetch.Artifacts {
		p, err := soci.ParsePrefetch(s.content[a.Blob.Digest])
		if err != nil {
			t.Fatal(err)
		}
		var named []int32
		for _, r := range p.Ranges {
			for n := r.First; n <= r.Last; n++ {
				named = append(named, int32(n))
			}
		}
		if got := search.Spans()[a.Layer].Prefetch; !slices.Equal(got, named) {
			t.Errorf("layer %s: %d, the artifact has %d", a.Layer, got, named)
		}
		compared++
	}
	if compared != len(digests) || compared != len(search.Spans()) {
		t.Errorf("%d artifacts, %d layers", compared, len(search.Spans()))
	}
}

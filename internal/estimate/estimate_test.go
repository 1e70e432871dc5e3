package estimate_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const spanSize = 32 << 10

// archive is a tar archive of files of these sizes, "name=bytes", and of links,
// "name>target".
func archive(t *testing.T, seed uint64, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, m := range members {
		h := tar.Header{Name: m, Mode: 0o755, Typeflag: tar.TypeReg}
		if name, size, ok := strings.Cut(m, "="); ok {
			h.Name = name
			if _, err := fmt.Sscan(size, &h.Size); err != nil {
				t.Fatal(err)
			}
		} else if name, target, ok := strings.Cut(m, ">"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(testlayers.Mixed(seed+uint64(i), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(archive []byte) []byte { return testlayers.GoGzip(archive, 6, 0) }

type image struct {
	server *registrytest.Server
	repo   *ecrclient.Repository
	pushed registrytest.Pushed
}

// push stores an image, whose second layer is not compressed and whose third is
// small, and with versions its SOCI indexes.
func push(t *testing.T, versions soci.IndexVersion) *image {
	t.Helper()
	s := registrytest.Start(t)
	repo, err := ecrclient.New(s.Host()+"/team/app", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	i := &image{server: s, repo: repo, pushed: s.PushImage(t, "team/app", "1", registrytest.Image{
		Layers: []registrytest.Layer{
			{Content: compressed(archive(t, 1, "usr/lib/libc.so.6=300000", "usr/bin/python3>python3.12",
				"usr/bin/python3.12=700000",
				"usr/lib/python3/os.py=40000", "usr/lib/python3/re.py=1", "usr/lib/python3/none.py=0",
				"usr/share/big=900000"))},
			// A span begins between header and content of app/server.
			{Content: archive(t, 50, "app/before=31744", "app/server=200000", "app/data=500000", "app/end=100")},
			{Content: compressed(archive(t, 90, "etc/small=100"))},
		},
	})}
	if versions != "" {
		o := soci.Options{SpanSize: spanSize, MinLayerSize: 10_000, IndexVersion: versions, Tag: "1"}
		if _, err := soci.IndexImage(t.Context(), repo, repo, i.pushed.Manifest, o); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func (i *image) load(t *testing.T) *inspect.Versions {
	t.Helper()
	v, err := inspect.LoadVersions(t.Context(), i.repo, i.pushed.Manifest, "1", soci.DefaultTagSuffix)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (i *image) run(t *testing.T, o estimate.Options) *estimate.Image {
	t.Helper()
	all, err := estimate.Run(t.Context(), i.repo, i.load(t), o)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d images, %v", len(all), err)
	}
	return all[0]
}

// recorder notes which ranges of blobs are fetched.
type recorder struct {
	verify.Ranger
	ranges []estimate.Span
}

func (r *recorder) FetchRange(ctx context.Context, desc ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r.ranges = append(r.ranges, estimate.Span{Offset: off, Size: n})
	return r.Ranger.FetchRange(ctx, desc, off, n)
}

// The estimate names exactly the spans that a reader fetches to read a file with
// its tar header and the byte after it.
func TestWhatTheReaderFetches(t *testing.T) {
	i := push(t, soci.Both)
	v := i.load(t)
	compared, several, headers := 0, 0, 0
	for _, b := range v.SociIndexes[0].Ztocs {
		z, err := verify.FetchZtoc(t.Context(), i.repo, ocispec.Descriptor{Digest: b.Digest, Size: b.Size})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(i.pushed.Layers, func(l ocispec.Descriptor) bool { return l.Digest == b.Layer })
		header := int64(0)
		for _, e := range z.Entries {
			begin := header
			header = (e.Offset + e.Size + 511) / 512 * 512
			if e.Type != "reg" || e.Size == 0 {
				continue
			}
			r := &recorder{Ranger: i.repo}
			lazy, err := verify.NewLazyLayer(r, i.pushed.Layers[at], z)
			if err != nil {
				t.Fatal(err)
			}
			whole := soci.Entry{Name: e.Name, Offset: begin, Size: e.Offset + e.Size + 1 - begin}
			fetched, err := lazy.ReadFile(t.Context(), whole, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			layer := i.run(t, estimate.Options{Files: []string{"/" + e.Name}}).Layers[at]
			var read []estimate.Span
			for _, s := range layer.Spans {
				if s.Read {
					read = append(read, estimate.Span{Offset: s.Offset, Size: s.Size})
				}
				if !s.Prefetch {
					headers++
				}
			}
			if !slices.Equal(read, r.ranges) || layer.ReadBytes != fetched || layer.ReadSpans != len(read) {
				t.Errorf("%s: estimated %d bytes in %v, fetched %d in %v", e.Name, layer.ReadBytes, read, fetched,
					r.ranges)
			}
			if compared++; len(read) > 1 {
				several++
			}
		}
	}
	if compared != 9 || several < 3 || headers != 1 {
		t.Errorf("%d files compared, %d in several spans, %d spans with a header alone", compared, several, headers)
	}
}

func TestSources(t *testing.T) {
	files := []string{"/usr/bin/python3", "/app/server", "/proc/self/maps", "/dev/null", "/gone", "/usr/lib", "/"}
	var figures []string
	for _, row := range []struct {
		there, asked soci.IndexVersion
		want         estimate.Source
		tag          string
		err          error
	}{
		{soci.Both, "", estimate.SourceV2, "1-soci", nil},
		{soci.Both, soci.V1, estimate.SourceV1, "", nil},
		{soci.Both, soci.V2, estimate.SourceV2, "1-soci", nil},
		{soci.V1, "", estimate.SourceV1, "", nil},
		{soci.V2, "", estimate.SourceV2, "1-soci", nil},
		{soci.V1, soci.V2, "", "", verify.ErrNoIndex},
		{soci.V2, soci.V1, "", "", verify.ErrNoIndex},
		{"", soci.V1, "", "", verify.ErrNoIndex},
		{"", "", estimate.SourceBuilt, "", nil},
	} {
		i := push(t, row.there)
		before := len(i.server.Requests())
		built := ""
		all, err := estimate.Run(t.Context(), i.repo, i.load(t), estimate.Options{Files: files, Version: row.asked,
			MinLayerSize: 10_000, Building: func(platform string, layers []ocispec.Descriptor) {
				built += fmt.Sprint(platform, " ", len(layers))
			}})
		if row.err != nil {
			if !errors.Is(err, row.err) {
				t.Errorf("%s of %s: %v", row.asked, row.there, err)
			}
			continue
		}
		if err != nil || len(all) != 1 {
			t.Errorf("%s of %s: %d images, %v", row.asked, row.there, len(all), err)
			continue
		}
		e := all[0]
		if e.Source != row.want || e.Tag != row.tag ||
			(built == "linux/amd64 2") != (row.want == estimate.SourceBuilt) {
			t.Errorf("%s of %s: from %s, tag %q, built %q", row.asked, row.there, e.Source, e.Tag, built)
		}
		f := e.Files
		if m := f.Missing; len(m) != 3 || m[2].Path != "/gone" || m[2].Reason != soci.FileAbsent {
			t.Errorf("missing are %+v, want three, the last /gone, which is %s", m, soci.FileAbsent)
		}
		f.Missing = nil
		want := estimate.Files{Asked: 7, Found: 2, Different: 2, Directories: 2, NotFound: 3, Kernel: 2}
		expect.Equal(t, expect.Facts{{"Files", f, want}}, "%s of %s", row.asked, row.there)
		if e.Label != "/usr/bin/python3,/app/server" || len(e.PrefetchFiles) != 2 || e.PrefetchLimits != nil {
			t.Errorf("label %q, files %q, limits %q", e.Label, e.PrefetchFiles, e.PrefetchLimits)
		}
		if row.want != estimate.SourceBuilt {
			figures = append(figures, fmt.Sprint(e.Layers[1].Spans, e.Layers[0].ReadBytes))
			for _, r := range i.server.Requests()[before:] {
				for _, l := range i.pushed.Layers {
					if strings.Contains(r.Path, l.Digest.String()) || r.Method != "GET" && r.Method != "HEAD" {
						t.Errorf("%s %s was requested", r.Method, r.Path)
					}
				}
			}
		}
		checkSums(t, i, e)
	}
	if len(figures) != 5 || len(slices.Compact(figures)) != 1 {
		t.Errorf("different figures: %q", figures)
	}
}

// checkSums checks the sums of an estimate.
func checkSums(t *testing.T, i *image, e *estimate.Image) {
	t.Helper()
	l := e.Layers
	if len(l) != 3 || l[0].Ztoc == nil || l[1].Ztoc == nil || l[2].Ztoc != nil || l[2].Spans != nil {
		t.Fatalf("%d layers, want two with a zTOC and one without: %+v", len(l), l)
	}
	full := i.pushed.Layers[0].Size + i.pushed.Layers[1].Size + i.pushed.Layers[2].Size
	lazy := e.Index.Size + l[0].Ztoc.Size + l[1].Ztoc.Size + l[2].Size + l[0].ReadBytes + l[1].ReadBytes
	if e.Full.Bytes != full || e.Lazy.Bytes != lazy || e.Prefetch.Bytes != lazy {
		t.Errorf("full %d, want %d; lazy %d and %d, want %d", e.Full.Bytes, full, e.Lazy.Bytes, e.Prefetch.Bytes, lazy)
	}
	spans := l[0].ReadSpans + l[1].ReadSpans
	ahead := l[0].PrefetchSpans + l[1].PrefetchSpans
	expect.Equal(t, expect.Facts{
		{"Full.Turns", e.Full.Turns, 1},
		{"Lazy.Turns", e.Lazy.Turns, 5 + spans},
		{"Prefetch.Turns", e.Prefetch.Turns, 5 + (ahead+1)/2 + spans - ahead},
		{"Full.Requests", e.Full.Requests, 3},
		{"Lazy.Requests", e.Lazy.Requests, 8 + spans},
		{"Prefetch.Requests", e.Prefetch.Requests, 10 + spans},
	}, "turns %d, %d, %d of %d spans, %d ahead", e.Full.Turns, e.Lazy.Turns, e.Prefetch.Turns, spans, ahead)
	for _, s := range []estimate.Start{e.Full, e.Lazy, e.Prefetch} {
		want := float64(s.Bytes)/(64<<20) + 0.05*float64(s.Turns)
		if d := s.Seconds - want; d > 1e-9 || d < -1e-9 {
			t.Errorf("%+v: want %v s", s, want)
		}
	}
}

func TestNetworkAndPatterns(t *testing.T) {
	i := push(t, soci.Both)
	e := i.run(t, estimate.Options{Patterns: []string{"/usr/lib/python3/**", "/nothing/**"},
		Network: estimate.Network{Bandwidth: 1 << 20, Latency: time.Second}})
	expect.Equal(t, expect.Facts{
		{"Files.Different", e.Files.Different, 2},
		{"Files.Found", e.Files.Found, 1},
		{"Files.NotFound", e.Files.NotFound, 1},
		{"Label", e.Label, "/usr/lib/python3/**"},
	}, "%+v, label %q", e.Files, e.Label)
	if want := float64(e.Full.Bytes)/(1<<20) + 1; e.Full.Seconds != want {
		t.Errorf("%v s, want %v", e.Full.Seconds, want)
	}
}

func TestRefuses(t *testing.T) {
	i := push(t, soci.Both)
	for _, row := range []struct {
		o    estimate.Options
		want error
		text string
	}{
		{estimate.Options{Files: []string{"/proc/1", "/gone"}}, estimate.ErrNoFile,
			`none of the 2 that were asked for in a layer that has a zTOC; the first, "/proc/1": it is in no layer`},
		{estimate.Options{Files: []string{"/usr", "/app"}}, estimate.ErrNoFile, "all 2 are directories"},
		{estimate.Options{Files: []string{"/app/end"}, Platforms: []string{"linux/s390x"}}, estimate.ErrNoPlatform,
			`the image has no platform "linux/s390x"; it has linux/amd64`},
		{estimate.Options{Files: []string{"/app/end\x00"}}, soci.ErrInvalidOption, "NUL"},
	} {
		_, err := estimate.Run(t.Context(), i.repo, i.load(t), row.o)
		if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%v, want %v", err, row.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := i.load(t)
	cancel()
	if _, err := estimate.Run(ctx, i.repo, v, estimate.Options{Files: []string{"/a"}}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A list that prefetching does not take says so.
func TestPrefetchLimits(t *testing.T) {
	i := push(t, soci.V1)
	var files []string
	for n := range soci.MaxPrefetchPatterns + 1 {
		files = append(files, "/app"+strings.Repeat("/.", n%100)+strings.Repeat("/", n/100)+"/end")
	}
	e := i.run(t, estimate.Options{Files: files})
	expect.Equal(t, expect.Facts{{"Files.Found", e.Files.Found, len(files)}, {"Files.Different", e.Files.Different, 1},
		{"Label", e.Label, ""}}, "more paths than allowed")
	if len(e.PrefetchLimits) != 1 || !strings.HasPrefix(e.PrefetchLimits[0], "10001 paths are more than the 10000") {
		t.Errorf("the limits are %q", e.PrefetchLimits)
	}
	e = i.run(t, estimate.Options{Files: files[1:]})
	if e.Files.Found != len(files)-1 || e.Label != "" || len(e.PrefetchLimits) != 1 {
		t.Fatalf("%+v, label of %d bytes, %q", e.Files, len(e.Label), e.PrefetchLimits)
	}
	if !strings.HasPrefix(e.PrefetchLimits[0], "a label has at most 16384 bytes: ") {
		t.Errorf("%+v, label of %d bytes, %q", e.Files, len(e.Label), e.PrefetchLimits)
	}
}

// No layer is large enough: there is nothing to search, and nothing is gained.
func TestNothingLazy(t *testing.T) {
	i := push(t, "")
	e := i.run(t, estimate.Options{Files: []string{"/app/end"}})
	if l := e.Layers[0]; l.Ztoc != nil || l.Skipped != soci.SkipTooSmall {
		t.Errorf("the layer has the zTOC %v, and is skipped for %q", l.Ztoc, l.Skipped)
	}
	expect.Equal(t, expect.Facts{{"Lazy", e.Lazy, e.Full}, {"Prefetch", e.Prefetch, e.Full},
		{"Files.Found", e.Files.Found, 0}, {"LeftAlone", e.LeftAlone, ""}}, "nothing lazy")
	i.pushed = i.server.PushImage(t, "team/app", "1", registrytest.Image{
		Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Labels":{"` + soci.LabelSkip + `":"true"}}}`),
		Layers: []registrytest.Layer{{Content: compressed(archive(t, 1, "a=100000"))}}})
	e = i.run(t, estimate.Options{Files: []string{"/a"}, MinLayerSize: 1})
	if e.Lazy != e.Full || !strings.Contains(e.LeftAlone, soci.LabelSkip) || e.Layers[0].Ztoc != nil {
		t.Errorf("%+v", e)
	}
}

// hostile replaces the zTOC of the image's first layer.
func (i *image) hostile(t *testing.T, change func(z *soci.Ztoc)) {
	t.Helper()
	v := i.load(t)
	b := v.SociIndexes[0].Ztocs[0]
	z, err := verify.FetchZtoc(t.Context(), i.repo, ocispec.Descriptor{Digest: b.Digest, Size: b.Size})
	if err != nil {
		t.Fatal(err)
	}
	change(z)
	raw, err := z.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	i.server.PushBlob(t, "team/app", raw)
	m := *v.SociIndexes[0].Manifest
	m.Layers = slices.Clone(m.Layers)
	m.Layers[0].Digest, m.Layers[0].Size = digest.FromBytes(raw), int64(len(raw))
	index, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	i.server.PushManifest(t, "team/app", "", m.MediaType, index)
	if err := i.repo.DeleteManifest(t.Context(),
		ocispec.Descriptor{MediaType: m.MediaType, Digest: v.SociIndexes[0].Digest,
			Size: v.SociIndexes[0].Size}); err != nil {
		t.Fatal(err)
	}
}

func TestHostileZtoc(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*soci.Ztoc)
		want   error
		text   string
	}{
		{"of another layer", func(z *soci.Ztoc) { z.CompressedSize++ }, verify.ErrDifference,
			"the zTOC is for a layer of"},
		{"spans behind the layer", func(z *soci.Ztoc) { z.Checkpoints[1].In = 1 << 40 }, verify.ErrDifference,
			"checkpoint 1 is at"},
		{"spans in a wrong order", func(z *soci.Ztoc) { z.Checkpoints[1].Out = 1 << 50 }, verify.ErrDifference,
			"checkpoint 2 is at"},
		{"files beyond the archive", func(z *soci.Ztoc) {
			for n := range z.Entries {
				z.Entries[n].Offset, z.Entries[n].Size = 1<<62, 1<<62
			}
		}, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := push(t, soci.V1)
			i.hostile(t, row.change)
			all, err := estimate.Run(t.Context(), i.repo, i.load(t),
				estimate.Options{Files: []string{"/usr/share/big"}})
			if row.want != nil {
				if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) ||
					!strings.Contains(err.Error(), "zTOC") {
					t.Errorf("%v, want %v with %q", err, row.want, row.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			l := all[0].Layers[0]
			if l.ReadSpans < 1 || l.ReadSpans > l.SpanCount || l.ReadBytes > l.Size+int64(l.SpanCount) {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestReadList(t *testing.T) {
	for _, row := range []struct {
		in   string
		want []string
		text string // of the error
	}{
		{"/a\n/b\n", []string{"/a", "/b"}, ""},
		{"\uFEFF/a\r\n\r\n  \n/b c\r\n/a\n/b c", []string{"/a", "/b c"}, ""},
		{"/" + strings.Repeat("a", 4094) + "\r\n", []string{"/" + strings.Repeat("a", 4094)}, ""},
		{"/a\nopenat(AT_FDCWD, \"/b\") = 3\n", nil,
			`line 2 is "openat(AT_FDCWD, \"/b\") = 3"; a line is an absolute path`},
		{"/a\n./b\n", nil, `line 2 is "./b"`},
		{"/a\x00/b\n", nil, "line 1 has a NUL byte"},
		{"/a\n/" + strings.Repeat("a", 4095), nil, "line 2 has more than 4095 bytes"},
		{"/a\n/" + strings.Repeat("a", 1<<20), nil, "line 2 has more than 4095 bytes"},
		{"\n \n", nil, "it names no file"},
		{"", nil, "it names no file"},
	} {
		got, err := estimate.ReadList(strings.NewReader(row.in))
		if !slices.Equal(got, row.want) || (err != nil) != (row.text != "") ||
			err != nil && (!errors.Is(err, estimate.ErrInvalidList) || !strings.Contains(err.Error(), row.text)) {
			t.Errorf("%.40q: %.40q %v, want %.40q %q", row.in, got, err, row.want, row.text)
		}
	}
	var many strings.Builder
	for n := range estimate.MaxListed + 1 {
		fmt.Fprintf(&many, "/f%d\n/f%d\n", n, n)
	}
	if _, err := estimate.ReadList(strings.NewReader(many.String())); !errors.Is(err, estimate.ErrInvalidList) {
		t.Errorf("too many: %v", err)
	}
	failing := errors.New("failing")
	if _, err := estimate.ReadList(io.MultiReader(strings.NewReader("/a\n"), failingReader{failing})); !errors.Is(err,
		failing) || errors.Is(err, estimate.ErrInvalidList) {
		t.Errorf("%v", cmp.Or(err, errors.New("no error")))
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// A layer that an image lists twice is fetched once.
func TestRepeatedLayer(t *testing.T) {
	i := push(t, "")
	large := compressed(archive(t, 1, "a=100000"))
	small := compressed(archive(t, 2, "b=100"))
	estimated := func(layers ...[]byte) *estimate.Image {
		var image registrytest.Image
		for _, content := range layers {
			image.Layers = append(image.Layers, registrytest.Layer{Content: content})
		}
		i.pushed = i.server.PushImage(t, "team/app", "1", image)
		return i.run(t, estimate.Options{Files: []string{"/a", "/b"}, MinLayerSize: 10_000})
	}
	once, twice := estimated(large, small), estimated(large, small, large, small)
	if len(twice.Layers) != 4 || twice.Files.Different != once.Files.Different || once.Files.Different != 1 {
		t.Fatalf("%d layers with %d files", len(twice.Layers), twice.Files.Different)
	}
	if twice.Full != once.Full || twice.Full.Bytes != int64(len(large)+len(small)) {
		t.Errorf("full pull %+v, of each layer once %+v", twice.Full, once.Full)
	}
	if twice.Lazy.Requests != once.Lazy.Requests || twice.Lazy.Turns != once.Lazy.Turns ||
		twice.Lazy.Bytes-twice.Index.Size != once.Lazy.Bytes-once.Index.Size {
		t.Errorf("lazy start %+v, of each layer once %+v", twice.Lazy, once.Lazy)
	}
}

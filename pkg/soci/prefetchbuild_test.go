package soci_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// membersLayer returns a layer of these members: "name", a file of 100 KiB;
// "name=64", one of 64 bytes; "name>target", a symbolic link; "name@target", a
// hard link; "name/", a directory.
func membersLayer(seed uint64, members ...string) []byte {
	return testlayers.GoGzip(archiveOfMembers(seed, members...), 6, 0)
}

func archiveOfMembers(seed uint64, members ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, m := range members {
		h := tar.Header{Name: m, Mode: 0o755, Typeflag: tar.TypeReg, Size: 100 << 10}
		if name, size, ok := strings.Cut(m, "="); ok {
			h.Name = name
			if _, err := fmt.Sscan(size, &h.Size); err != nil {
				panic(err)
			}
		} else if name, target, ok := strings.Cut(m, ">"); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = name, target, tar.TypeSymlink, 0
		} else if name, target, ok := strings.Cut(m, "@"); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = name, target, tar.TypeLink, 0
		} else if strings.HasSuffix(m, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write(testlayers.Noise(seed+uint64(i), int(h.Size))); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// rootFS are layers like those of an image: the lowest is a system, the middle
// one an application, and the uppermost changes both.
var rootFS = sync.OnceValue(func() [][]byte {
	return [][]byte{
		membersLayer(1, "usr/", "usr/lib/", "lib>usr/lib", "usr/lib/libc.so.6", "usr/lib/libm.so>libm.so.1",
			"usr/lib/libm.so.1", "usr/bin/python3>python3.12", "usr/bin/python3.12",
			"usr/bin/python@usr/bin/python3.12",
			"usr/lib/python3/os.py", "usr/lib/python3/json/decoder.py", "usr/lib/python3/json/empty.py=0",
			"etc/loop>/etc/pool", "etc/pool>loop", "opt/old/a", "opt/gone/b", "srv/x"),
		membersLayer(100, "./app/", "./app/server", "./app/data*1", "./app/data-1", "./app/current>../usr/bin/python3",
			"./usr/lib/python3/os.py", "app/config.json", "./app/nowhere>/not/there", "./app/dir>/usr/lib"),
		membersLayer(200, "opt/.wh.gone", "opt/old/.wh..wh..opq", "opt/old/new", "srv/.wh.x", "app/config.json"),
	}
})

// prefetched says of which files a SOCI index has clients fetch the content:
// those, as layer:name, all of whose spans its prefetch artifacts name. The
// layers are those of the image. It returns the media types of what the SOCI
// index lists, too.
func prefetched(t *testing.T, s *registrytest.Server, index digest.Digest, layers []ocispec.Descriptor) (names []string,
	media []string) {
	t.Helper()
	m := readManifest(t, s, index)
	ztocs := make(map[string]*soci.Ztoc)
	for _, l := range m.Layers {
		of := l.Annotations[soci.AnnotationLayerDigest]
		media = append(media, l.MediaType)
		if l.MediaType == soci.ZtocMediaType {
			z, err := soci.ParseZtoc(s.Blob(t, repoName, l.Digest))
			if err != nil {
				t.Fatal(err)
			}
			ztocs[of] = z
			continue
		}
		if len(l.Annotations) != 1 {
			t.Errorf("annotations %v", l.Annotations)
		}
		p, err := soci.ParsePrefetch(s.Blob(t, repoName, l.Digest))
		if err != nil {
			t.Fatal(err)
		}
		z := ztocs[of]
		if err := p.Check(len(z.Checkpoints)); err != nil {
			t.Error(err)
		}
		named := make(map[int]bool)
		for i, r := range p.Ranges {
			if i > 0 && r.First <= p.Ranges[i-1].Last+1 {
				t.Errorf("ranges %v", p.Ranges)
			}
			for n := r.First; n <= r.Last; n++ {
				named[int(n)] = true
			}
		}
		at := slices.IndexFunc(layers, func(d ocispec.Descriptor) bool { return d.Digest.String() == of })
		spans := z.Spans()
		for _, e := range z.Entries {
			if e.Type != "reg" || e.Size == 0 {
				continue
			}
			all := true
			for n, span := range spans {
				if span.OutStart < e.Offset+e.Size && (span.OutEnd < 0 || span.OutEnd > e.Offset) {
					all = all && named[n]
				}
			}
			if all {
				names = append(names, fmt.Sprintf("%d:%s", at, e.Name))
			}
		}
	}
	slices.Sort(names)
	return names, media
}

// smallSpans has a span end within each file of membersLayer.
func smallSpans(paths ...string) soci.Options {
	o := both("v1")
	o.SpanSize, o.Prefetch = 16<<10, paths
	return o
}

func TestPrefetchFinds(t *testing.T) {
	for _, row := range []struct {
		paths   string
		want    string // of the three layers
		warning string
	}{
		{"/usr/lib/libc.so.6", "0:usr/lib/libc.so.6", ""},
		{"usr/lib/../lib//libc.so.6", "0:usr/lib/libc.so.6", ""},
		{"/app/server", "1:./app/server", ""},
		{"/usr/lib/python3/os.py", "1:./usr/lib/python3/os.py", ""}, // the uppermost
		{"/usr/bin/python3", "0:usr/bin/python3.12", ""},
		{"/usr/bin/python", "0:usr/bin/python3.12", ""}, // a hard link
		{"/app/current", "0:usr/bin/python3.12", ""},    // two links, over two layers
		{"/lib/libm.so", "0:usr/lib/libm.so.1", ""},     // a directory and a file that are links
		{"/app/dir/libc.so.6", "0:usr/lib/libc.so.6", ""},
		{"/app/data*1", "1:./app/data*1", ""}, // is there by that name
		{"/app/d*", "1:./app/data*1 1:./app/data-1", ""},
		{"/usr/lib/python3/**", "0:usr/lib/python3/json/decoder.py 1:./usr/lib/python3/os.py", ""},
		{"/lib/python3/*.py", "1:./usr/lib/python3/os.py", ""},
		{"/usr/**/*.py", "0:usr/lib/python3/json/decoder.py 1:./usr/lib/python3/os.py", ""},
		{"**/server", "1:./app/server", ""},
		{"/usr/lib/*", "0:usr/lib/libc.so.6 0:usr/lib/libm.so.1", ""},
		{"/opt/**", "2:opt/old/new", ""},
		{"/app/config.json", "2:app/config.json", ""},
		{"/app/server /usr/lib/libc.so.6", "0:usr/lib/libc.so.6 1:./app/server", ""},

		{"/srv/x", "", `"/srv/x" is not prefetched: it is removed by layer sha256:`},
		{"/opt/gone/b", "", "it is removed by layer"},
		{"/opt/old/a", "", "it is removed by layer"},
		{"/app/missing", "", `"/app/missing" is not prefetched: it is in no layer that has a zTOC`},
		{"/app/nowhere", "", "it leads to /not/there, which is in no layer that has a zTOC"},
		{"/etc/loop", "", "it leads over more than 40 links"},
		{"/app", "", "it is a directory; end it with /** for the files in it"},
		{"/opt/old", "", "it is a directory"},
		{"/app/dir", "", "it leads to /usr/lib, which is a directory"},
		{"/srv/**", "", "no file in a layer that has a zTOC matches it"},
		{"/etc/loop/*", "", "it leads over more than 40 links"},
	} {
		t.Run(row.paths, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			pushed := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(rootFS()...)})
			o := smallSpans(strings.Fields(row.paths)...)
			r, err := soci.IndexImage(t.Context(), repo, repo, pushed.Manifest, o)
			if err != nil {
				t.Fatal(err)
			}
			m := r.Manifests[0]
			for _, index := range []digest.Digest{m.Index.Digest, m.IndexV2.Digest} {
				names, media := prefetched(t, s, index, pushed.Layers)
				if got := strings.Join(names, " "); got != row.want {
					t.Errorf("%s, want %s", got, row.want)
				}
				for i, m := range media {
					if (m == soci.ZtocMediaType) != (i < 3) {
						t.Errorf("the three zTOCs do not come first: %v", media)
					}
				}
			}
			if m.Prefetch == nil || (len(m.Prefetch.Artifacts) > 0) != (row.want != "") ||
				m.Prefetch.Files != len(strings.Fields(row.want)) {
				t.Errorf("%+v", m.Prefetch)
			}
			switch {
			case row.warning == "" && len(r.Warnings) > 0:
				t.Error(r.Warnings)
			case row.warning != "" && (len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "linux/amd64: ") ||
				!strings.Contains(r.Warnings[0], row.warning)):
				t.Errorf("%q, want %q", r.Warnings, row.warning)
			}
		})
	}
}

// The same files come out however the image is built, and once more changes
// nothing. BuildLayer's zTOCs cannot be read until a manifest names them.
func TestPrefetchIsTheSame(t *testing.T) {
	paths := []string{"/app/server", "/usr/lib/**", "/app/current", "/not/there"}
	var first *soci.Result
	for _, row := range []struct {
		name  string
		build func(repo *ecrclient.Repository, image ocispec.Descriptor, o soci.Options) (*soci.Result, error)
	}{
		{"at once", func(repo *ecrclient.Repository, image ocispec.Descriptor, o soci.Options) (*soci.Result, error) {
			return soci.IndexImage(t.Context(), repo, repo, image, o)
		}},
		{"in parts", func(repo *ecrclient.Repository, image ocispec.Descriptor, o soci.Options) (*soci.Result, error) {
			return inParts(t.Context(), repo, image, o)
		}},
		{"after one without", func(repo *ecrclient.Repository, image ocispec.Descriptor, o soci.Options) (*soci.Result,
			error) {
			without := o
			without.Prefetch = nil
			if _, err := soci.IndexImage(t.Context(), repo, repo, image, without); err != nil {
				return nil, err
			}
			r, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err == nil && r.BytesRead != 0 {
				err = fmt.Errorf("%d bytes of layers read", r.BytesRead)
			}
			return r, err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			image := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(rootFS()...)}).Manifest
			o := smallSpans(paths...)
			o.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: "v1", TagSuffix: "-soci"})
			r, err := row.build(repo, image, o)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = r
			}
			a, b := r.Manifests[0], first.Manifests[0]
			expect.Equal(t, expect.Facts{
				{"Index", a.Index.Digest, b.Index.Digest},
				{"IndexV2", a.IndexV2.Digest, b.IndexV2.Digest},
				{"the SOCI-enabled image", r.Enabled.Image.Digest, first.Enabled.Image.Digest},
				{"Warnings", r.Warnings, first.Warnings},
				{"number of prefetch artifacts", len(a.Prefetch.Artifacts), 2},
			}, "against the first way")
			again, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatalf("once more: %v", err)
			}
			checkIdle(t, again, "once more")
		})
	}
}

// When the zTOCs of BuildLayer cannot be read, their files are not prefetched,
// which is said; another failure of the registry fails the image.
func TestPrefetchReadsBack(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		times  int
		want   string // a warning; "" is an error
	}{
		{"not there", http.StatusNotFound, 0, ": its zTOC cannot be read back: fetching: "},
		{"not there yet", http.StatusNotFound, 2, ""}, {"unavailable", 503, 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			pushed := s.PushImage(t, repoName, "v1", registrytest.Image{Layers: layers(rootFS()...)})
			image := pushed.Manifest
			o := smallSpans("/app/server", "/usr/lib/libc.so.6")
			w, err := soci.Plan(t.Context(), repo, repo, image, o)
			if err != nil {
				t.Fatal(err)
			}
			var outcomes []soci.LayerOutcome
			for _, l := range w.Layers() {
				out, err := soci.BuildLayer(t.Context(), repo, repo, l, o)
				if err != nil {
					t.Fatal(err)
				}
				outcomes = append(outcomes, out)
			}
			// The largest layer is the system.
			s.Add(registrytest.Rule{Method: http.MethodGet, Path: outcomes[0].Result.Ztoc.Digest.String(),
				Times: row.times, Fault: registrytest.Text(row.status, "no")})
			r, err := soci.Publish(t.Context(), repo, repo, image, o, outcomes)
			if row.times > 0 {
				if err != nil || len(r.Warnings) != 0 || len(r.Manifests[0].Prefetch.Artifacts) != 2 {
					t.Errorf("%v %+v", err, r)
				}
				return
			}
			if row.want == "" {
				if err == nil ||
					!strings.Contains(err.Error(), "reading zTOC of layer "+outcomes[0].Layer.String()+" back") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || len(r.Warnings) != 2 {
				t.Fatalf("%v, warnings %q, want two", err, r.Warnings)
			}
			for i, want := range []string{row.want, `"/usr/lib/libc.so.6" is not prefetched`} {
				if !strings.Contains(r.Warnings[i], want) {
					t.Fatalf("warning %d is %q, want %q in it", i, r.Warnings[i], want)
				}
			}
			names, _ := prefetched(t, s, r.Manifests[0].Index.Digest, pushed.Layers)
			if len(names) != 1 || names[0] != "1:./app/server" {
				t.Errorf("%q", names)
			}
			// What the zTOCs were read by is no referrer, and a SOCI index v2 that
			// nothing lists.
			found, err := repo.Referrers(t.Context(), image, soci.ArtifactTypeV1)
			if err != nil || len(found) != 1 || found[0].Digest != r.Manifests[0].Index.Digest {
				t.Errorf("%v %v", err, found)
			}
			// The next run, once they are served, has what this one lacked, without reading
			// a layer, whoever does it; one after that finds nothing to do.
			s.Clear()
			o.Catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: "v1", TagSuffix: "-soci"})
			next, err := soci.IndexImage(t.Context(), repo, repo, image, o)
			if err != nil || len(next.Manifests[0].Prefetch.Artifacts) != 2 {
				t.Fatalf("the next run: %v %+v", err, next)
			}
			expect.Equal(t, expect.Facts{
				{"number of warnings", len(next.Warnings), 0},
				{"BytesRead", next.BytesRead, 0},
			}, "the next run")
			names, _ = prefetched(t, s, next.Manifests[0].Index.Digest, pushed.Layers)
			if !slices.Equal(names, []string{"0:usr/lib/libc.so.6", "1:./app/server"}) {
				t.Errorf("the next run has %q", names)
			}
			if got := tagged(t, s, "v1-soci"); got != next.Enabled.Image.Digest || got == r.Enabled.Image.Digest {
				t.Errorf("the suffixed tag names %s, not %s", got, next.Enabled.Image.Digest)
			}
			steps, err := soci.Publish(t.Context(), repo, repo, image, o, outcomes)
			if err != nil || steps.Manifests[0].Index.Digest != next.Manifests[0].Index.Digest {
				t.Fatalf("the last step once more: %v %+v", err, steps)
			}
			checkIdle(t, steps, "the last step once more")
		})
	}
}

// checkIdle checks that a run found nothing to do.
func checkIdle(t *testing.T, r *soci.Result, run string) {
	t.Helper()
	expect.Equal(t, expect.Facts{
		{"BytesPushed", r.BytesPushed, 0},
		{"BytesRead", r.BytesRead, 0},
		{"Enabled.Outcome", r.Enabled.Outcome, soci.OutcomeAlreadyTagged},
	}, "%s", run)
}

// labelled is an image whose config has the label.
func labelled(label string) []byte { return labelledOn("amd64", label) }

func labelledOn(arch, label string) []byte {
	b, err := json.Marshal(map[string]any{"os": "linux", "architecture": arch,
		"config": map[string]any{"Labels": map[string]string{soci.LabelPrefetch: label}}})
	if err != nil {
		panic(err)
	}
	return b
}

func TestPrefetchLabel(t *testing.T) {
	for _, row := range []struct {
		name, label string
		allowed     bool
		paths       string
		want        string
		warning     string
	}{
		{"heeded", " /app/server , usr/lib/python3/**,", true, "",
			"0:usr/lib/python3/json/decoder.py 1:./app/server 1:./usr/lib/python3/os.py", ""},
		{"not allowed", "/app/server", false, "", "", ""},
		{"beside an option", "/app/server", true, "/usr/lib/libc.so.6", "0:usr/lib/libc.so.6 1:./app/server", ""},
		{"empty", " , ", true, "", "", ""},
		{"too long", strings.Repeat("/app/server,", soci.MaxPrefetchLabel/12+1), true, "/usr/lib/libc.so.6",
			"0:usr/lib/libc.so.6", "the label soci-index-builder.prefetch is not heeded: 16392 bytes, more than 16384"},
		{"a path too long", "/app/server,/" + strings.Repeat("a", soci.MaxPrefetchPattern), true, "", "",
			"has 4096 bytes, more than 4095"},
		{"the root", "/app/server,/.", true, "", "", `"/." names no file, but the root directory`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := registrytest.Start(t)
			repo := openRepo(t, s)
			pushed := s.PushImage(t, repoName, "v1",
				registrytest.Image{Layers: layers(rootFS()...), Config: labelled(row.label)})
			o := smallSpans(strings.Fields(row.paths)...)
			o.PrefetchLabel = row.allowed
			r, err := soci.IndexImage(t.Context(), repo, repo, pushed.Manifest, o)
			if err != nil {
				t.Fatal(err)
			}
			names, _ := prefetched(t, s, r.Manifests[0].IndexV2.Digest, pushed.Layers)
			if got := strings.Join(names, " "); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			if got := len(r.Warnings) > 0; got != (row.warning != "") || len(r.Warnings) > 1 {
				t.Fatalf("warnings %q, want %q", r.Warnings, row.warning)
			}
			if row.warning != "" && !strings.Contains(r.Warnings[0], row.warning) {
				t.Errorf("the warning is %q, want %q in it", r.Warnings[0], row.warning)
			}
		})
	}
}

// Each image manifest has the files of its own config's label.
func TestPrefetchOfPlatforms(t *testing.T) {
	s := registrytest.Start(t)
	repo := openRepo(t, s)
	blobs := rootFS()
	a := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(blobs...), Config: labelled("/app/server")})
	b := s.PushImage(t, repoName, "", registrytest.Image{Layers: layers(blobs[0]), Platform: "linux/arm64"})
	image := s.PushIndex(t, repoName, "v1", false, a.Manifest, b.Manifest)
	o := smallSpans()
	o.PrefetchLabel = true
	r, err := inParts(t.Context(), repo, image, o)
	if err != nil || len(r.Warnings) > 0 {
		t.Fatal(err, r)
	}
	if r.Manifests[0].Prefetch == nil || r.Manifests[1].Prefetch != nil {
		t.Errorf("%+v", r.Manifests)
	}
	for i, n := range []int{4, 1} {
		if m := readManifest(t, s, r.Manifests[i].Index.Digest); len(m.Layers) != n {
			t.Errorf("%d blobs, want %d", len(m.Layers), n)
		}
	}
}

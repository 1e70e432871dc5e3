package processtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/lambdaruntime"
	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
)

var (
	largeGB = flag.Float64("large-gb", 0,
		"TestLargeImage: compressed size of the image, in GB; 0 leaves the test out")
	largeLayers = flag.Int("large-layers", 8, "TestLargeImage: layers of the image")
	largeMemory = flag.Int("large-memory", 1769, "TestLargeImage: memory of the function, in MB")
	largeFolder = flag.String("large-folder", "/usr/lib", "TestLargeImage: the files of the layers are from here")
)

// An image as large as wanted, which nobody stores: each layer is a first
// gzip member of its own, then the same member of real files again and again.
//
//	go test ./lambdas -run TestLargeImage -large-gb 14 -v -timeout 1h
func TestLargeImage(t *testing.T) {
	if *largeGB == 0 {
		t.Skip("measures for minutes; ask for it with -large-gb")
	}
	files, uncompressed, entries := member(t, *largeFolder)
	blobs := map[digest.Digest]*repeated{}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var times int64
	for i := range *largeLayers {
		r := &repeated{parts: [][]byte{head(t, i), files, tail(t)}}
		r.times = max(int64(*largeGB*1e9)/int64(*largeLayers)/int64(len(files)), 1)
		times += r.times
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(r, 0, r.size())); err != nil {
			t.Fatal(err)
		}
		d := digest.NewDigest(digest.SHA256, h)
		blobs[d] = r
		m.Layers = append(m.Layers,
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: r.size()})
	}
	var reads int64
	store := t.TempDir()
	s := registrytest.StartWith(t, localregistry.Config{Dir: store}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			d := digest.Digest(req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:])
			if r := blobs[d]; r != nil {
				w.Header().Set("Docker-Content-Digest", d.String())
				w.Header().Set("Content-Type", "application/octet-stream")
				http.ServeContent(w, req, "", time.Time{}, io.NewSectionReader(r, 0, r.size()))
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	m.Config = s.PushBlob(t, repository,
		[]byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`))
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for _, l := range m.Layers {
		// The registry only looks whether the file is there.
		path := filepath.Join(store, repository, "blobs", l.Digest.Algorithm().String(), l.Digest.Encoded())
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	image := s.PushManifest(t, repository, "large", ocispec.MediaTypeImageManifest, content)

	f := startIndexgen(t, s, lambdaruntime.Options{Env: map[string]string{
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(*largeMemory),
		"GOMAXPROCS":                      "2", // what Lambda shows up to 3,008 MB
		"SOCI_MIN_LAYER_SIZE_MIB":         "10",
		"SOCI_SPAN_SIZE_MIB":              "4",
	}})
	answer, err := f.Invoke(t.Context(), push(t, image.Digest, "large", ""))
	if err != nil {
		t.Fatal(err)
	}
	result := decode[struct {
		Outcome   string
		BytesRead int64
		Seconds   float64
		Manifests []struct {
			Layers []struct{ Ztoc struct{ Digest string } }
		}
	}](t, answer)
	for _, l := range m.Layers {
		reads += l.Size
	}
	// A layer that had to make way for an older one is read again.
	if result.Outcome != "indexed" || result.BytesRead < reads || len(result.Manifests) != 1 {
		t.Fatalf("%d bytes of %d read; the generator answers %.2000s", result.BytesRead, reads, answer)
	}
	if n := len(result.Manifests[0].Layers); n != *largeLayers {
		t.Fatalf("%d layers, want %d", n, *largeLayers)
	}
	for i, l := range result.Manifests[0].Layers {
		if l.Ztoc.Digest == "" {
			t.Fatalf("layer %d has no zTOC: the generator answers %.2000s", i, answer)
		}
	}
	peak, cpu := usage(t, f.PID())
	if limit := int64(*largeMemory) << 20; peak > limit {
		t.Errorf("the peak of memory is %d bytes, more than the function's %d", peak, limit)
	}
	var pushed float64
	for _, line := range f.Log(t) {
		if line["message"] == "image finished" {
			pushed, _ = line["bytesPushed"].(float64)
		}
	}
	t.Logf("%.1f GB compressed, %.1f GB uncompressed, %d layers, %d entries; %.0f s, %.0f s of CPU, peak %d MiB of "+
		"%d, %.1f GB read, %.0f MB pushed",
		float64(reads)/1e9, float64(times*uncompressed)/1e9, *largeLayers, times*entries, result.Seconds, cpu, peak>>20,
		*largeMemory, float64(result.BytesRead)/1e9, pushed/1e6)
}

// member packs up to 256 MiB of real files, without the end of an archive,
// and returns the archive's size and entries too.
func member(t *testing.T, folder string) (content []byte, uncompressed, entries int64) {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(io.MultiWriter(z, counter{&uncompressed}))
	errEnough := errors.New("enough")
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		file, err := os.ReadFile(path)
		if err != nil || len(file) > 32<<20 {
			return nil //nolint:nilerr // the same
		}
		entries++
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644,
			Size: int64(len(file))}); err != nil {
			return err
		}
		if _, err := w.Write(file); err != nil {
			return err
		}
		if uncompressed > 256<<20 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if err := errors.Join(w.Flush(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), uncompressed, entries
}

// counter counts what is written.
type counter struct{ n *int64 }

func (c counter) Write(p []byte) (int, error) { *c.n += int64(len(p)); return len(p), nil }

// head is a gzip member with one file that makes a layer differ from others.
func head(t *testing.T, i int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("layer-%d", i), Mode: 0o644})
	if err := errors.Join(err, w.Flush(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tail is a gzip member with the end of an archive.
func tail(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := errors.Join(tar.NewWriter(z).Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// repeated reads as its first part, its second n times, and its third.
type repeated struct {
	parts [][]byte
	times int64
}

func (r *repeated) size() int64 {
	return int64(len(r.parts[0])) + r.times*int64(len(r.parts[1])) + int64(len(r.parts[2]))
}

func (r *repeated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		part := r.at(off + int64(n))
		if len(part) == 0 {
			return n, io.EOF
		}
		n += copy(p[n:], part)
	}
	return n, nil
}

// at returns what of a part follows an offset, nothing at the end.
func (r *repeated) at(off int64) []byte {
	first, second := int64(len(r.parts[0])), int64(len(r.parts[1]))
	switch middle := first + r.times*second; {
	case off < first:
		return r.parts[0][off:]
	case off < middle:
		return r.parts[1][(off-first)%second:]
	case off < r.size():
		return r.parts[2][off-middle:]
	}
	return nil
}

// usage reads the most memory, in bytes, that a process has had, and the
// seconds of CPU that it took.
func usage(t *testing.T, pid int) (peak int64, cpu float64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("only Linux tells what a process took: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscanf(rest, "%d kB", &peak); err != nil {
				t.Fatal(err)
			}
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] { // utime and stime, in hundredths
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		cpu += ticks / 100
	}
	return peak << 10, cpu
}

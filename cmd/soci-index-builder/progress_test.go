package main

import (
	"archive/tar"
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
)

// manyLayers pushes an image of different layers to a slow registry, and returns
// its reference.
func manyLayers(t *testing.T, layers int, bytesPerSecond int64) string {
	t.Helper()
	server := registrytest.Start(t)
	img := registrytest.Image{}
	for i := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		content := testlayers.Noise(uint64(i), 100<<10)
		if err := w.WriteHeader(&tar.Header{Name: "file", Size: int64(len(content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		img.Layers = append(img.Layers, registrytest.Layer{Content: testlayers.GoGzip(b.Bytes(), 1, b.Len())})
	}
	server.PushImage(t, "team/app", "1", img)
	if bytesPerSecond > 0 {
		server.Add(registrytest.Rule{Method: "GET", Path: "/blobs/sha256",
			Fault: registrytest.Throttle(bytesPerSecond, 10*time.Millisecond)})
	}
	return server.Host() + "/team/app:1"
}

// barLeft is what no screen has when the bars are gone.
var barLeft = regexp.MustCompile(`\[[=>#-]*-*\]|\d+ of \d+ layers|iB/s|s left`)

// On a terminal of 24 rows an image of 32 layers leaves nothing but the result,
// and no picture is higher than the terminal.
func TestProgressOnATerminal(t *testing.T) {
	ref := manyLayers(t, 32, 100<<10)
	for _, o := range sizes {
		s := onTerminal(t, o, "index", "--min-layer-size", "0", "--force", "--concurrency", "32", ref)
		if s.code != 0 {
			t.Fatalf("exit code %d: %s", s.code, s.screen.text())
		}
		text := s.screen.text()
		if !strings.HasPrefix(text, "✓ "+ref+": indexed, ") {
			t.Errorf("the screen begins with %.300q", text)
		}
		if !regexp.MustCompile(`[0-9 ]\d of 32 layers +\[.*\] +\d+ %  .* KiB / 3\.\d MiB  .*s left`).MatchString(
			s.raw) {
			t.Errorf("no line of the total: %.2000q", s.raw)
		}
		if !regexp.MustCompile(`sha256:[0-9a-f]{12} +\[.*\] .* KiB / .* KiB  .*iB/s`).MatchString(s.raw) {
			t.Errorf("no line of a layer: %.2000q", s.raw)
		}
		for _, m := range regexp.MustCompile(`\x1b\[(\d+)A`).FindAllStringSubmatch(s.raw, -1) {
			if n, err := strconv.Atoi(m[1]); err != nil || n >= int(o.rows) {
				t.Errorf("a picture of %s lines on %d rows", m[1], o.rows)
			}
		}
		if left := barLeft.FindString(text); left != "" || s.hidesCursor() {
			t.Errorf("%q is left of the bars; that the cursor is hidden is %t", left, s.hidesCursor())
		}
		if s.screen.wrapped > 0 {
			t.Errorf("too wide: %q", tooWide(s.raw, int(o.columns)))
		}
	}
	if s := onTerminal(t, sizes[0], "index", "-q", "--concurrency", "32", "--min-layer-size", "0",
		"--force", ref); strings.Contains(s.raw, "\x1b[J") ||
		strings.Contains(s.raw, "left") {
		t.Errorf("with -q: %q", s.raw)
	}
}

// The bars fit a terminal that is made narrower and lower, or wider, and nothing
// of them is left.
func TestProgressResized(t *testing.T) {
	ref := manyLayers(t, 16, 100<<10)
	for i, o := range sizes {
		to := sizes[1-i]
		o.resizeAt, o.resized = "[2-6] of 16 layers", pty.Winsize{Cols: to.columns, Rows: to.rows}
		s := onTerminal(t, o, "index", "--min-layer-size", "0", "--force", "--concurrency", "4", ref)
		text := s.screen.text()
		expect.Equal(t, expect.Facts{
			{"code", s.code, exitOK},
			{`strings.HasPrefix(text, "✓ "+ref+": indexed, ")`, strings.HasPrefix(text, "✓ "+ref+": indexed, "), true},
			{"barLeft.MatchString(text)", barLeft.MatchString(text), false},
			{"hidesCursor", s.hidesCursor(), false},
		}, "from %d to %d columns: exit code %d, that the cursor is hidden is %t:\n%s", o.columns, to.columns, s.code,
			s.hidesCursor(), text)
		if wide := tooWide(s.raw[len(s.raw)/2:], int(to.columns)); len(wide) > 0 {
			t.Errorf("too wide for %d columns: %q", to.columns, wide)
		}
	}
}

// Ctrl-C leaves a clean screen, and says what was pushed.
func TestInterruptedOnATerminal(t *testing.T) {
	ref := manyLayers(t, 8, 100<<10) // the layers take four seconds
	for at, pushed := range map[string]string{
		"0 of 8 layers":     "nothing was pushed",
		"[3-6] of 8 layers": `[2-7] zTOCs and 0 SOCI indexes were pushed, [1-9][0-9.]+ KiB`,
	} {
		o := sizes[len(at)%2] // each of them on another terminal
		o.interruptAt = at
		s := onTerminal(t, o, "index", "--min-layer-size", "0", "--force", "--concurrency", "2", ref)
		if s.code != exitInterrupted || s.hidesCursor() {
			t.Errorf("exit code %d; that the cursor is hidden is %t", s.code, s.hidesCursor())
		}
		want := regexp.MustCompile("^" + programName + ": interrupted: " + ref + " is not complete, " + pushed +
			": index it again$")
		// The line is broken between words.
		if got := strings.Join(strings.Fields(s.screen.text()), " "); !want.MatchString(got) {
			t.Errorf("the screen is\n%s\nwant\n%s", got, want)
		}
	}
}

// Off a terminal a line says how far it is.
func TestProgressLines(t *testing.T) {
	var b lockedBuffer
	cmd := &cobra.Command{}
	cmd.SetErr(&b)
	p := newProgress(cmd)
	p.every = 20 * time.Millisecond
	all := []ocispec.Descriptor{{Digest: digest.FromString("a"), Size: 3 << 20},
		{Digest: digest.FromString("b"), Size: 1 << 20}}
	p.begin(all)
	p.layer(all[1], 1<<20)
	p.layer(all[0], 2<<20)
	p.layer(all[0], 1<<20) // it is begun again
	for deadline := time.Now().Add(10 * time.Second); b.String() == "" && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	p.end()
	p.end()
	if got := b.String(); !regexp.MustCompile(
		`^(50 %: 1 of 2 layers, 2\.0 MiB of 4\.0 MiB, about 1 s left\n)+$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	after := b.String()
	time.Sleep(50 * time.Millisecond)
	if b.String() != after {
		t.Errorf("it goes on: %q", b.String())
	}
}

// lockedBuffer may be written and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

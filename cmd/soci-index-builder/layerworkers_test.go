package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
)

// Commands that build zTOCs decode a large layer with as many goroutines as
// --layer-workers says, and by default with one for each processor.
func TestLayerWorkers(t *testing.T) {
	const processors = 4
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	layer := largeLayer(t)
	file := filepath.Join(t.TempDir(), "layer.tar.gz")
	if err := os.WriteFile(file, layer, 0o600); err != nil {
		t.Fatal(err)
	}
	registry := registrytest.Start(t)
	registry.PushImage(t, "team/app", "1", registrytest.Image{Layers: []registrytest.Layer{{Content: layer}}})
	for _, verb := range []string{"ztoc create -o " + file + ".ztoc " + file,
		"index --force " + registry.Host() + "/team/app:1"} {
		for flags, want := range map[string]int{
			"": processors, "--layer-workers 0": processors, "--layer-workers 1": 0, "--layer-workers 2": 2,
			"--layer-workers 3": 3,
		} {
			cmd := newRootCommand()
			cmd.SetArgs(append(strings.Fields(verb), strings.Fields(flags)...))
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			done := make(chan error, 1)
			go func() { done <- cmd.ExecuteContext(t.Context()) }()
			most, running := 0, true
			for running {
				most = max(most, decodingWorkers())
				select {
				case err := <-done:
					if err != nil {
						t.Errorf("%s %s: %v", verb, flags, err)
					}
					running = false
				case <-time.After(time.Millisecond):
				}
			}
			if most != want {
				t.Errorf("%s %s: %d workers decode the layer, not %d", verb, flags, most, want)
			}
		}
	}
}

// decodingWorkers are the goroutines that are there to decode one layer with
// others.
func decodingWorkers() int {
	b := make([]byte, 1<<20)
	return bytes.Count(b[:runtime.Stack(b, true)], []byte("inflate.(*Parallel).work("))
}

// largeLayer is a gzip layer of more than 16 MiB.
func largeLayer(t *testing.T) []byte {
	t.Helper()
	content := testlayers.Noise(1, 32<<20)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "noise", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return testlayers.GoGzip(b.Bytes(), 0, 0)
}

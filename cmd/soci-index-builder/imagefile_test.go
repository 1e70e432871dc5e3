package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// The commands of scripts that make files with images:
//
//	archive FILE DIR                 a tar file of a folder: an OCI archive of an OCI layout
//	dockersave FILE NAME:TAG LAYER...  what docker save writes of uncompressed layers, those of
//	                                 testlayers unpacked; one that was there before is a link

func archive(ts *testscript.TestScript, _ bool, args []string) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	ts.Check(t.AddFS(os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(t.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

func (w *world) dockerSave(ts *testscript.TestScript, _ bool, args []string) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	write := func(name string, content []byte) {
		ts.Check(t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err := t.Write(content)
		ts.Check(err)
	}
	var ids []digest.Digest
	var paths []string
	written := map[string]string{}
	for i, name := range args[2:] {
		path := fmt.Sprintf("%d/layer.tar", i)
		paths = append(paths, path)
		z, err := gzip.NewReader(bytes.NewReader(w.blob(ts, name)))
		ts.Check(err)
		content, err := io.ReadAll(z)
		ts.Check(err)
		ids = append(ids, digest.FromBytes(content))
		if at, ok := written[name]; ok {
			ts.Check(t.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeSymlink, Linkname: "../" + at}))
			continue
		}
		written[name] = path
		write(path, content)
	}
	config, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{
		"type": "layers", "diff_ids": ids}})
	ts.Check(err)
	write("config.json", config)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{args[1]},
		"Layers": paths}})
	ts.Check(err)
	write("manifest.json", manifest)
	ts.Check(t.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

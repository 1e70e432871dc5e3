package lambdaimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// draft is an image that Lambda takes, to be spoilt.
type draft struct {
	manifest  ocispec.Manifest
	mediaType string
	config    ocispec.Image
	entries   []tar.Header
	program   []byte
	plain     bool // the layer is not compressed
	lie       bool // the layer is another one than the manifest says
}

// check assembles the image and judges it.
func (d *draft) check(t *testing.T) error {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range d.entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(d.program))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(d.program); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i, id := range d.config.RootFS.DiffIDs {
		if id == "" {
			d.config.RootFS.DiffIDs[i] = digest.FromBytes(layer.Bytes())
		}
	}
	if !d.plain {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(layer.Bytes())
		_ = z.Close()
		layer = packed
	}
	blobs := map[digest.Digest][]byte{}
	add := func(mediaType string, v any) ocispec.Descriptor {
		content, ok := v.([]byte)
		if !ok {
			var err error
			if content, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		b := newBlob(mediaType, content)
		blobs[b.Digest] = content
		return b.Descriptor
	}
	d.manifest.Config = add(d.manifest.Config.MediaType, d.config)
	for i := range d.manifest.Layers {
		d.manifest.Layers[i] = add(d.manifest.Layers[i].MediaType, layer.Bytes())
		if d.lie {
			blobs[d.manifest.Layers[i].Digest] = append(bytes.Clone(layer.Bytes()), 0)
		}
	}
	return Check(add(d.mediaType, d.manifest), func(want ocispec.Descriptor) ([]byte, error) {
		if content, ok := blobs[want.Digest]; ok {
			return content, nil
		}
		return nil, fmt.Errorf("%s is not there", want.Digest)
	})
}

func good(t *testing.T) *draft {
	folder := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	d := &draft{
		mediaType: ocispec.MediaTypeImageManifest,
		config: ocispec.Image{Created: &created, Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
			Config:  ocispec.ImageConfig{Entrypoint: []string{"/var/task/bootstrap"}},
			RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{""}},
			History: []ocispec.History{{EmptyLayer: true}, {}}},
		entries: []tar.Header{folder("var/"), folder("var/task/"),
			{Typeflag: tar.TypeReg, Name: "var/task/bootstrap", Mode: 0o755}},
		program: program(t, elf.EM_X86_64, false, "x"),
	}
	d.manifest.Config.MediaType = ocispec.MediaTypeImageConfig
	d.manifest.Layers = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerGzip}}
	return d
}

// Docker and the emulator of Lambda's runtime take most of these.
func TestCheckRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*draft)
		text  string
	}{
		"image index": {func(d *draft) { d.mediaType = ocispec.MediaTypeImageIndex }, "one platform"},
		"artifact": {func(d *draft) { d.manifest.Config.MediaType = "application/vnd.in-toto+json" },
			"config"},
		"Windows":           {func(d *draft) { d.config.OS = "windows" }, "windows/amd64"},
		"32 bits":           {func(d *draft) { d.config.Architecture = "386" }, "linux/386"},
		"Lambda's own name": {func(d *draft) { d.config.Architecture = "x86_64" }, "linux/x86_64"},
		"no diff id":        {func(d *draft) { d.config.RootFS.DiffIDs = nil }, "0 diff ids for 1"},
		"wrong diff id":     {func(d *draft) { d.config.RootFS.DiffIDs[0] = digest.FromString("x") }, "diff id"},
		"no history":        {func(d *draft) { d.config.History = nil }, "history"},
		"no time":           {func(d *draft) { d.config.Created = nil }, "time of creation"},
		"no entrypoint":     {func(d *draft) { d.config.Config.Entrypoint = nil }, "entrypoint"},
		"relative":          {func(d *draft) { d.config.Config.Entrypoint[0] = "bootstrap" }, "absolute"},
		"entrypoint away":   {func(d *draft) { d.config.Config.Entrypoint[0] = "/bootstrap" }, "is not in it"},
		"no layer": {func(d *draft) {
			d.manifest.Layers, d.config.RootFS.DiffIDs, d.config.History = nil, nil, nil
		}, "no layer"},
		"Docker's plain layer": {func(d *draft) {
			d.manifest.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar"
			d.plain = true
		}, "not gzip"},
		"zstd": {func(d *draft) { d.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd },
			"not gzip"},
		"plain, said gzip":     {func(d *draft) { d.plain = true }, "layer 0"},
		"another layer":        {func(d *draft) { d.lie = true }, "another one"},
		"no parent":            {func(d *draft) { d.entries = d.entries[2:] }, `"var"`},
		"parent too late":      {func(d *draft) { d.entries[0], d.entries[2] = d.entries[2], d.entries[0] }, `"var"`},
		"second parent":        {func(d *draft) { d.entries = append(d.entries[:1:1], d.entries[2]) }, `"var/task"`},
		"closed folder":        {func(d *draft) { d.entries[1].Mode = 0o750 }, "cannot enter"},
		"unreadable":           {func(d *draft) { d.entries[2].Mode = 0o711 }, "cannot read"},
		"not executable":       {func(d *draft) { d.entries[2].Mode = 0o644 }, "cannot run"},
		"outside":              {func(d *draft) { d.entries[0].Name = "../var/" }, "within the image"},
		"absolute":             {func(d *draft) { d.entries[0].Name = "/var/" }, "within the image"},
		"device":               {func(d *draft) { d.entries[2].Typeflag = tar.TypeChar }, "neither file nor folder"},
		"script":               {func(d *draft) { d.program = []byte("#!/bin/sh\n") }, "bootstrap"},
		"another architecture": {func(d *draft) { d.program = program(t, elf.EM_AARCH64, false, "x") }, "EM_AARCH64"},
		"dynamic":              {func(d *draft) { d.program = program(t, elf.EM_X86_64, true, "x") }, "not static"},
	} {
		t.Run(name, func(t *testing.T) {
			d := good(t)
			tt.spoil(d)
			if err := d.check(t); !errors.Is(err, ErrLambda) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error is %v, want ErrLambda with %s", err, tt.text)
			}
		})
	}
	if err := good(t).check(t); err != nil {
		t.Error(err)
	}
	docker := good(t)
	docker.mediaType, docker.manifest.Config.MediaType = dockerManifest, dockerConfig
	docker.manifest.Layers[0].MediaType = dockerLayer
	if err := docker.check(t); err != nil {
		t.Error(err)
	}
}

// Package lambdaimage makes container images of the functions, in the process
// and without Docker, as Lambda takes them: one manifest of one platform with
// one gzip layer. The same input produces the same bytes.
//
// Start with [Build], or with [New] for an executable that is not in the
// binary. [Check] says what Lambda would refuse.
package lambdaimage

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/pkg/soci"
)

// LabelECR is reserved: it holds the repository that an image was made for and
// the build id of its executable, "<repository URI>:<build id>". Images without
// it are none of the program's.
const LabelECR = "soci-index-builder.ecr"

// buildIDLength is how many hexadecimal digits a build id has.
const buildIDLength = 12

// Paths in the image.
const (
	workFolder = "/var/task"
	executable = workFolder + "/bootstrap"
	rootsFile  = "/etc/ssl/certs/ca-certificates.crt"
)

// maxExecutable bounds an unpacked executable, as Lambda bounds a zip file's.
const maxExecutable = 250 << 20 // 250 MiB

// created is the time of the image and of all that is in it.
var created = time.Unix(0, 0).UTC()

// ErrZip: the code is not a zip file with the executable bootstrap in it.
var ErrZip = errors.New("not the zip file of a function")

// Image is an image that was made.
type Image struct {
	Manifest   []byte
	Descriptor ocispec.Descriptor // of the manifest
	BuildID    string             // the first hexadecimal digits of the executable's SHA-256

	config, layer blob
}

type blob struct {
	ocispec.Descriptor
	content []byte
}

// Build makes the image of a function that is in the binary, for an
// architecture as Go names it and for the repository that it will go to. Errors
// are those of [embedded.Function].
func Build(architecture, function, repository string) (*Image, error) {
	code, err := embedded.Function(architecture, function)
	if err != nil {
		return nil, err
	}
	i, err := New(architecture, repository, code)
	if err != nil {
		return nil, fmt.Errorf("the image of %s for %s: %w", function, architecture, err)
	}
	return i, nil
}

// New makes the image of a function that comes as a zip file. The error matches
// ErrZip or embedded.ErrArchitecture.
func New(architecture, repository string, code []byte) (*Image, error) {
	if architecture != "arm64" && architecture != "amd64" {
		return nil, fmt.Errorf("%.100q %w", architecture, embedded.ErrArchitecture)
	}
	program, err := unzip(code)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrZip, err)
	}
	layer, diffID, err := pack([]file{
		{rootsFile, 0o644, roots()},
		{executable, 0o755, program},
	})
	if err != nil {
		return nil, err
	}
	i := &Image{BuildID: fmt.Sprintf("%x", sha256.Sum256(program))[:buildIDLength]}
	i.layer = newBlob(ocispec.MediaTypeImageLayerGzip, layer)
	config, err := json.Marshal(ocispec.Image{
		Created:  &created,
		Author:   "soci-index-builder",
		Platform: ocispec.Platform{Architecture: architecture, OS: "linux"},
		Config: ocispec.ImageConfig{
			Entrypoint: []string{executable},
			WorkingDir: workFolder,
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=" + rootsFile},
			Labels: map[string]string{
				LabelECR:       repository + ":" + i.BuildID,
				soci.LabelSkip: "true",
			},
		},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
		History: []ocispec.History{{Created: &created, CreatedBy: "soci-index-builder deploy",
			Comment: "a static executable and the roots of TLS"}},
	})
	if err != nil {
		return nil, err
	}
	i.config = newBlob(ocispec.MediaTypeImageConfig, config)
	i.Manifest, err = json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    i.config.Descriptor,
		Layers:    []ocispec.Descriptor{i.layer.Descriptor},
	})
	if err != nil {
		return nil, err
	}
	i.Descriptor = newBlob(ocispec.MediaTypeImageManifest, i.Manifest).Descriptor
	return i, nil
}

func newBlob(mediaType string, content []byte) blob {
	return blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))},
		content}
}

// Tag is what the image is pushed under: its digest, without the algorithm, so
// that it is no tag of the referrers tag schema.
func (i *Image) Tag() string { return i.Descriptor.Digest.Encoded() }

// Size is how many bytes the image has in a registry.
func (i *Image) Size() int64 { return i.Descriptor.Size + i.config.Size + i.layer.Size }

// Fetch returns the content of a descriptor of the image, for [Check].
func (i *Image) Fetch(d ocispec.Descriptor) ([]byte, error) {
	for _, b := range []blob{{i.Descriptor, i.Manifest}, i.config, i.layer} {
		if b.Digest == d.Digest {
			return b.content, nil
		}
	}
	return nil, fmt.Errorf("%s is no part of the image", d.Digest)
}

// unzip returns the executable.
func unzip(code []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(code), int64(len(code)))
	if err != nil {
		return nil, err
	}
	f, err := z.Open("bootstrap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	program, err := io.ReadAll(io.LimitReader(f, maxExecutable+1))
	switch {
	case err != nil:
		return nil, err
	case len(program) > maxExecutable:
		return nil, fmt.Errorf("bootstrap has more than %d bytes", maxExecutable)
	case len(program) == 0:
		return nil, errors.New("bootstrap is empty")
	}
	return program, nil
}

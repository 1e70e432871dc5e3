package lambdaimage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
)

// Errors about a repository.
var (
	// ErrRepository: Lambda cannot take images from there.
	ErrRepository = errors.New("is not a repository for the functions' images")

	// ErrTag: under the image's tag, which is its digest, there is another one.
	ErrTag = errors.New("names another image")
)

// CheckRepository checks, without asking AWS, whether functions in an account and
// region can have their images in the repository that uri names,
// "<account>.dkr.ecr.<region>.amazonaws.com/<name>". The error matches
// ErrRepository.
func CheckRepository(uri, account, region string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%.300q %w: %s", uri, ErrRepository, fmt.Sprintf(format, args...))
	}
	image, err := names.ParseHosted(uri)
	if err != nil {
		return bad("it must be %s.dkr.ecr.%s.<suffix>/<name>", account, region)
	}
	host, ok := ecrclient.ParseECRHost(image.Host)
	switch {
	case !ok || image.Repository == "":
		return bad("it must be %s.dkr.ecr.%s.<suffix>/<name>", account, region)
	case image.Tag != "" || image.Digest != "":
		return bad("it must have neither tag nor digest")
	case host.FIPS || host.DualStack:
		return bad("Lambda does not take images from FIPS or dual-stack hosts: name it as %s",
			ecrclient.ECRHost{Account: host.Account, Region: host.Region})
	case host.Account != account:
		return bad("it is in account %s, the stack in %s", host.Account, account)
	case host.Region != region:
		return bad("it is in %s, the stack in %s", host.Region, region)
	}
	return nil
}

// URI is how a function names the image: by digest, since Lambda looks at a tag
// once alone.
func (i *Image) URI(repository string) string { return repository + "@" + i.Descriptor.Digest.String() }

// There reports whether the repository has the image under its tag, so that
// nothing is to be sent. The error matches ErrTag, or is an *ecrclient.Error;
// a repository that does not exist has no image.
func (i *Image) There(ctx context.Context, to *ecrclient.Repository) (bool, error) {
	d, err := to.Resolve(ctx, i.Tag())
	switch {
	case errors.Is(err, ecrclient.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case d.Digest != i.Descriptor.Digest:
		return false, fmt.Errorf("the tag %s of %s %w: %s", i.Tag(), to.Name(), ErrTag, d.Digest)
	}
	return true, nil
}

// Push stores the image under its tag, unless it is there, and sends only what
// the repository lacks. It returns the image's URI, and whether anything was
// sent. The tag comes last: a failure leaves nothing behind that looks like an
// image. The error is as that of [Image.There].
func (i *Image) Push(ctx context.Context, to *ecrclient.Repository) (uri string, sent bool, err error) {
	there, err := i.There(ctx, to)
	if err != nil {
		return "", false, err
	}
	if there {
		return i.URI(to.Name()), false, nil
	}
	for _, b := range []blob{i.layer, i.config} {
		if there, err := to.Exists(ctx, b.Descriptor); err != nil {
			return "", false, err
		} else if there {
			continue
		}
		if err := to.Push(ctx, b.Descriptor, bytes.NewReader(b.content)); err != nil {
			return "", false, err
		}
	}
	if err := to.PushTag(ctx, i.Descriptor, bytes.NewReader(i.Manifest), i.Tag()); err != nil {
		return "", false, err
	}
	return i.URI(to.Name()), true, nil
}

// WriteLayout writes the image as an OCI layout into a folder, which is made if
// need be. A layout that is there is replaced; a folder with anything else in
// it is an error, as is what the file system says.
func (i *Image) WriteLayout(folder string) error {
	if err := ClearLayout(folder); err != nil {
		return err
	}
	blobs := filepath.Join(folder, ocispec.ImageBlobsDir, "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	for _, b := range []blob{i.layer, i.config, {i.Descriptor, i.Manifest}} {
		if err := os.WriteFile(filepath.Join(blobs, b.Digest.Encoded()), b.content, 0o644); err != nil {
			return err
		}
	}
	named := i.Descriptor
	named.Annotations = map[string]string{ocispec.AnnotationRefName: i.Tag()}
	for name, document := range map[string]any{
		ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
		ocispec.ImageIndexFile: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{named}},
	} {
		content, err := json.Marshal(document)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ClearLayout removes what WriteLayout has written into a folder, if it is there,
// and refuses a folder of another kind.
func ClearLayout(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, ocispec.ImageBlobsDir:
		default:
			return fmt.Errorf("the folder %s has %q in it: an OCI layout goes into an empty one", folder, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

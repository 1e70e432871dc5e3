package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/imagefile"
	"soci-index-builder/pkg/ecrclient"
)

// Image is one that there is already, in a file or a registry.
type Image struct {
	Name     string // for people
	From     imagefile.From
	Manifest ocispec.Descriptor
}

// source copies the image as it is.
func (i *Image) source() *source {
	return &source{what: i.Name, push: func(ctx context.Context, ref string) error {
		to, err := ecrclient.New(ref, ecrclient.WithPlainHTTP(true))
		if err != nil {
			return err
		}
		from := &gaps{From: i.From}
		err = imagefile.Copy(ctx, from, to, i.Manifest, nil)
		if e, ok := errors.AsType[*ecrclient.Error](err); ok && from.found && e.Repository == to.Name() {
			return fmt.Errorf("its image index lists manifests that are not there: name one of its images by the "+
				"digest, as REPOSITORY@DIGEST or PATH@DIGEST; \"inspect\" shows which there are: %w", err)
		}
		if err != nil {
			return err
		}
		raw, err := i.From.FetchManifest(ctx, i.Manifest)
		if err != nil {
			return err
		}
		return to.PushTag(ctx, i.Manifest, bytes.NewReader(raw), to.Reference())
	}}
}

// gaps notes whether a manifest is not there: the demo's registry takes no image
// index that lists one.
type gaps struct {
	imagefile.From
	found bool
}

func (g *gaps) FetchManifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	raw, err := g.From.FetchManifest(ctx, desc)
	g.found = g.found || errors.Is(err, ecrclient.ErrNotFound)
	return raw, err
}

// imageSource is for an image that is made here.
func imageSource(what string, img v1.Image) *source {
	return &source{what: what, push: func(ctx context.Context, to string) error {
		ref, err := name.ParseReference(to, name.Insecure)
		if err != nil {
			return err
		}
		return remote.Write(ref, img, remote.WithContext(ctx))
	}}
}

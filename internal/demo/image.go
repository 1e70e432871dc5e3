package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// openImage finds what the user named.
func openImage(ctx context.Context, named string) (*source, error) {
	info, err := os.Stat(named)
	switch {
	case err == nil && info.IsDir():
		return openLayout(named)
	case err == nil:
		img, err := tarball.ImageFromPath(named, nil)
		if err != nil {
			return nil, fmt.Errorf("reading %s as a docker-save tar: %w", named, err)
		}
		return imageSource(named, img), nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case strings.HasPrefix(named, "."), strings.HasPrefix(named, "/"):
		return nil, fmt.Errorf("image %s: %w", named, fs.ErrNotExist)
	}
	ref, err := name.ParseReference(named)
	if err != nil {
		return nil, fmt.Errorf("image %q is no file, no directory and no reference: %w", named, err)
	}
	got, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", named, err)
	}
	if got.MediaType.IsIndex() {
		index, err := got.ImageIndex()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", named, err)
		}
		return indexSource(named, index), nil
	}
	img, err := got.Image()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", named, err)
	}
	return imageSource(named, img), nil
}

// openLayout takes the one image or image index of an OCI layout.
func openLayout(dir string) (*source, error) {
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s as an OCI layout: %w", dir, err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading %s as an OCI layout: %w", dir, err)
	}
	if n := len(manifest.Manifests); n != 1 {
		return nil, fmt.Errorf("the OCI layout %s holds %d images, it must be one", dir, n)
	}
	desc := manifest.Manifests[0]
	if desc.MediaType.IsIndex() {
		index, err := all.ImageIndex(desc.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", dir, err)
		}
		return indexSource(dir, index), nil
	}
	img, err := all.Image(desc.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, err)
	}
	return imageSource(dir, img), nil
}

func imageSource(what string, img v1.Image) *source {
	return &source{what: what, push: func(ctx context.Context, to string) error {
		ref, err := name.ParseReference(to, name.Insecure)
		if err != nil {
			return err
		}
		return remote.Write(ref, img, remote.WithContext(ctx))
	}}
}

func indexSource(what string, index v1.ImageIndex) *source {
	return &source{what: what, push: func(ctx context.Context, to string) error {
		ref, err := name.ParseReference(to, name.Insecure)
		if err != nil {
			return err
		}
		return remote.WriteIndex(ref, index, remote.WithContext(ctx))
	}}
}

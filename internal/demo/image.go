package demo

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"soci-index-builder/internal/text/netfailure"
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
			return nil, fmt.Errorf("reading %s as a docker-save tar: %w", named, plain(err))
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
		return nil, fmt.Errorf("image %s: %w", named, plain(err))
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
		return nil, fmt.Errorf("reading %s as an OCI layout: %w", dir, plain(err))
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading %s as an OCI layout: %w", dir, plain(err))
	}
	if n := len(manifest.Manifests); n != 1 {
		return nil, fmt.Errorf("the OCI layout %s holds %d images, it must be one", dir, n)
	}
	desc := manifest.Manifests[0]
	if desc.MediaType.IsIndex() {
		index, err := all.ImageIndex(desc.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", dir, plain(err))
		}
		return indexSource(dir, index), nil
	}
	img, err := all.Image(desc.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, plain(err))
	}
	return imageSource(dir, img), nil
}

// plainError is an error of go-containerregistry in plain words.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// plain says in plain words why an image could not be read.
func plain(err error) error {
	if answer, ok := errors.AsType[*transport.Error](err); ok && answer.StatusCode != 0 {
		text := fmt.Sprintf("the registry answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
		switch answer.StatusCode {
		case http.StatusNotFound:
			text = "the registry has no such repository or tag"
		case http.StatusUnauthorized, http.StatusForbidden:
			if answer.Request != nil {
				text += fmt.Sprintf("; log in with \"docker login %s\"", answer.Request.URL.Host)
			}
		}
		return &plainError{text, err}
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		return &plainError{"it lacks the file " + path.Path, err}
	}
	_, ofNetwork := errors.AsType[*url.Error](err)
	_, noJSON := errors.AsType[*json.SyntaxError](err)
	if !ofNetwork && (noJSON || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, tar.ErrHeader)) {
		return &plainError{"it is damaged, or something else", err}
	}
	if text := netfailure.Text("", err); ofNetwork && text != "" {
		return &plainError{text, err}
	}
	return err
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

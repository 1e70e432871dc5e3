package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/testkit/localregistry"
)

type registryIn struct {
	Dir   string
	Speed int64 // of each connection to the slow one, bytes per second
}

type registryHosts struct{ Fast, Slow string }

// serveRegistry serves a directory, at two speeds, until it is stopped.
func serveRegistry(ctx context.Context, in json.RawMessage) (any, error) {
	var q registryIn
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	registry, err := localregistry.New(localregistry.Config{Dir: q.Dir})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	slow := &http.Server{Handler: registry.Handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- slow.Serve(slowListener{listener, q.Speed}) }()
	if err := child.Send(registryHosts{registry.Host(), listener.Addr().String()}); err != nil {
		return nil, err
	}
	<-ctx.Done()
	err = slow.Close()
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return nil, errors.Join(err, registry.Close())
}

// slowListener limits the speed at which each connection sends.
type slowListener struct {
	net.Listener
	speed int64
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &slowConn{Conn: c, speed: l.speed}, nil
}

type slowConn struct {
	net.Conn
	speed int64
	free  time.Time // when what was sent so far would be through
}

func (c *slowConn) Write(p []byte) (int, error) {
	const piece = 64 << 10
	written := 0
	for len(p) > 0 {
		n, err := c.Conn.Write(p[:min(len(p), piece)])
		written, p = written+n, p[n:]
		if now := time.Now(); c.free.Before(now) {
			c.free = now
		}
		c.free = c.free.Add(time.Duration(int64(n) * int64(time.Second) / c.speed))
		time.Sleep(time.Until(c.free))
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// tag of the image in each repository.
const tag = "latest"

// writeRepository stores an image of the layers as a repository of a registry's
// directory. The layers are hard links where the file system lets them be.
func writeRepository(dir string, layers []*corpus.Layer) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers,
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: l.Digest, Size: l.Size})
		// Nobody here unpacks the image, so nobody misses the true diff ID.
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
		if err := linkOrCopy(l.Path, filepath.Join(blobs, l.Digest.Encoded())); err != nil {
			return err
		}
	}
	add := func(mediaType string, v any) (ocispec.Descriptor, error) {
		b, err := json.Marshal(v)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		return d, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), b, 0o600)
	}
	var err error
	if manifest.Config, err = add(ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	desc, err := add(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{desc},
	})
	if err != nil {
		return err
	}
	layout := fmt.Sprintf(`{"imageLayoutVersion":%q}`, ocispec.ImageLayoutVersion)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o600),
		os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layout), 0o600))
}

func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, os.ErrExist) {
		return nil // an image can have a layer twice
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close())
}

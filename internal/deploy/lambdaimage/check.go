package lambdaimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrLambda: Lambda would refuse the image, or could not run it.
var ErrLambda = errors.New("not an image that Lambda takes")

// Media types of Docker that Lambda takes too.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Limits of what Check reads.
const (
	maxDocument = 4 << 20   // bytes of a manifest or config
	maxUnpacked = 512 << 20 // bytes of all layers, unpacked
)

// Check judges an image by Lambda's rules, some of which Docker does not have:
// one manifest of one platform, gzip layers, a complete config, every folder in
// the layers and readable by everybody, an executable where the entrypoint
// says. fetch returns the content of a descriptor, which is verified. The error
// matches ErrLambda, or is that of fetch.
func Check(manifest ocispec.Descriptor, fetch func(ocispec.Descriptor) ([]byte, error)) error {
	r := reader(fetch)
	if t := manifest.MediaType; t != ocispec.MediaTypeImageManifest && t != dockerManifest {
		return bad("its media type is %.100q, not that of a manifest of one platform", t)
	}
	var m ocispec.Manifest
	if err := r.document(manifest, &m); err != nil {
		return err
	}
	if t := m.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != dockerConfig {
		return bad("the media type of its config is %.100q", t)
	}
	var c ocispec.Image
	if err := r.document(m.Config, &c); err != nil {
		return err
	}
	if err := checkConfig(&m, &c); err != nil {
		return bad("%w", err)
	}
	all, err := r.layers(&m, c.RootFS.DiffIDs)
	if err != nil {
		return err
	}
	if err := all.checkEntrypoint(c.Config.Entrypoint[0], c.Architecture); err != nil {
		return bad("%w", err)
	}
	return nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrLambda, fmt.Errorf(format, args...))
}

// reader returns the content of a descriptor, not yet verified.
type reader func(ocispec.Descriptor) ([]byte, error)

func (r reader) verified(d ocispec.Descriptor) ([]byte, error) {
	content, err := r(d)
	if err != nil {
		return nil, err
	}
	if err := verify(d, content); err != nil {
		return nil, bad("%w", err)
	}
	return content, nil
}

// document decodes a manifest or a config.
func (r reader) document(d ocispec.Descriptor, into any) error {
	if d.Size > maxDocument {
		return bad("%s has %d bytes", d.Digest, d.Size)
	}
	content, err := r.verified(d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return bad("%s: %w", d.Digest, err)
	}
	return nil
}

// layers reads the layers, one after the other, and returns their files.
func (r reader) layers(m *ocispec.Manifest, diffIDs []digest.Digest) (files, error) {
	all, left := files{}, int64(maxUnpacked)
	for i, l := range m.Layers {
		if l.MediaType != ocispec.MediaTypeImageLayerGzip && l.MediaType != dockerLayer {
			return nil, bad("the media type of layer %d is %.100q, not gzip", i, l.MediaType)
		}
		if l.Size > maxUnpacked {
			return nil, bad("layer %d has %d bytes", i, l.Size)
		}
		content, err := r.verified(l)
		if err != nil {
			return nil, err
		}
		n, err := all.add(content, diffIDs[i], left)
		if err != nil {
			return nil, bad("layer %d: %w", i, err)
		}
		left -= n
	}
	return all, nil
}

func verify(d ocispec.Descriptor, content []byte) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %.100q: %w", d.Digest, err)
	}
	if int64(len(content)) != d.Size || d.Digest.Algorithm().FromBytes(content) != d.Digest {
		return fmt.Errorf("the content of %s is another one", d.Digest)
	}
	return nil
}

// checkConfig compares an image's config with its manifest.
func checkConfig(m *ocispec.Manifest, c *ocispec.Image) error {
	history := 0
	for _, h := range c.History {
		if !h.EmptyLayer {
			history++
		}
	}
	switch {
	case c.OS != "linux" || c.Architecture != "arm64" && c.Architecture != "amd64":
		return fmt.Errorf("its platform is %.50q, not linux/arm64 or linux/amd64", c.OS+"/"+c.Architecture)
	case len(m.Layers) == 0:
		return errors.New("it has no layer")
	case len(c.RootFS.DiffIDs) != len(m.Layers):
		return fmt.Errorf("its config has %d diff ids for %d layers", len(c.RootFS.DiffIDs), len(m.Layers))
	case history != len(m.Layers):
		return fmt.Errorf("its config has a history of %d layers of %d", history, len(m.Layers))
	case c.Created == nil:
		return errors.New("its config has no time of creation")
	case len(c.Config.Entrypoint) == 0 || !path.IsAbs(c.Config.Entrypoint[0]):
		return errors.New("its entrypoint is not an absolute path")
	}
	return nil
}

// files are what layers unpack to, by their absolute paths.
type files map[string]*unpacked

type unpacked struct {
	folder  bool
	mode    int64
	content []byte // of executables
}

// add unpacks a layer, of at most limit bytes, and returns its size.
func (fs files) add(layer []byte, diffID digest.Digest, limit int64) (int64, error) {
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return 0, err
	}
	content, err := io.ReadAll(io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return 0, err
	case int64(len(content)) > limit:
		return 0, fmt.Errorf("the layers have more than %d bytes", maxUnpacked)
	case digest.FromBytes(content) != diffID:
		return 0, fmt.Errorf("it unpacks to %s, not to the diff id %.100s", digest.FromBytes(content), diffID)
	}
	t := tar.NewReader(bytes.NewReader(content))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return int64(len(content)), nil
		}
		if err != nil {
			return 0, err
		}
		if err := fs.entry(h, t); err != nil {
			return 0, fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

// entry takes one entry of a layer.
func (fs files) entry(h *tar.Header, r io.Reader) error {
	name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	if path.IsAbs(name) || name != path.Clean(name) || name == ".." || strings.HasPrefix(name, "../") {
		return errors.New("not a path within the image")
	}
	for _, folder := range parents(name) {
		if p := fs["/"+folder]; p == nil || !p.folder {
			return fmt.Errorf("the folder %q has no entry before it", folder)
		}
	}
	u := &unpacked{mode: h.Mode, folder: h.Typeflag == tar.TypeDir}
	switch {
	case u.folder && h.Mode&0o005 != 0o005:
		return fmt.Errorf("mode %#o: others cannot enter", h.Mode)
	case !u.folder && h.Typeflag != tar.TypeReg:
		return fmt.Errorf("of type %q, neither file nor folder", h.Typeflag)
	case !u.folder && h.Mode&0o004 == 0:
		return fmt.Errorf("mode %#o: others cannot read it", h.Mode)
	}
	if !u.folder && h.Mode&0o001 != 0 {
		var err error
		if u.content, err = io.ReadAll(r); err != nil {
			return err
		}
	}
	fs["/"+name] = u
	return nil
}

var machines = map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}

// checkEntrypoint looks for a static executable of the architecture.
func (fs files) checkEntrypoint(name, architecture string) error {
	u := fs[name]
	switch {
	case u == nil || u.folder:
		return fmt.Errorf("the entrypoint %.200q is not in it", name)
	case u.mode&0o001 == 0:
		return fmt.Errorf("the entrypoint %.200q has the mode %#o: others cannot run it", name, u.mode)
	}
	f, err := elf.NewFile(bytes.NewReader(u.content))
	if err != nil {
		return fmt.Errorf("the entrypoint %.200q: %w", name, err)
	}
	if want := machines[architecture]; f.Machine != want {
		return fmt.Errorf("the entrypoint %.200q is for %v, the image for %s", name, f.Machine, architecture)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("the entrypoint %.200q is not static", name)
	}
	return nil
}

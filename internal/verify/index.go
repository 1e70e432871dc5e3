package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/pkg/soci"
)

// pair is a layer of the image and the zTOC that is said to be its own.
type pair struct{ layer, ztoc ocispec.Descriptor }

// checkIndex compares a SOCI index with the image manifest that it is for,
// and returns the layers that have a zTOC. The error is that of a transfer.
func checkIndex(ctx context.Context, repo Repository, image *inspect.Node, index *inspect.SociIndex,
	report *IndexReport) ([]pair, error) {
	var diffs differences
	defer func() { report.Differences, report.Omitted = diffs.list, diffs.omitted }()
	differs := func(format string, args ...any) { diffs.addf("", format, args...) }

	switch {
	case index.Missing:
		differs("the SOCI index that the image names is not in the repository")
		return nil, nil
	case index.Manifest == nil:
		differs("the SOCI index cannot be read: %s", index.Invalid)
		return nil, nil
	}
	m := index.Manifest
	if err := checkBytes(index.Raw); err != nil {
		differs("%v", err)
	}
	artifactType := soci.ArtifactTypeV1
	if index.Version == "v2" {
		artifactType = soci.ArtifactTypeV2
	}
	if m.Config.MediaType != artifactType {
		differs("its config is of type %q, that of a %s index is %q", m.Config.MediaType, index.Version, artifactType)
	}
	if err := checkConfig(ctx, repo, m.Config); errors.Is(err, ErrDifference) {
		differs("its config: %s", plain(err))
	} else if err != nil {
		return nil, fmt.Errorf("fetching the config of SOCI index %s: %w", index.Digest, err)
	}
	checkSubject(m.Subject, index.Version, image.Descriptor(), differs)
	content := soci.ContentOf(m)
	for _, blob := range content.Other {
		differs("blob %s is of type %q, neither that of a zTOC (%s) nor that of a prefetch artifact: clients do not "+
			"read it",
			blob.Digest, blob.MediaType, soci.ZtocMediaType)
	}
	if len(content.Ztocs) == 0 {
		differs("it lists no zTOC")
	}
	return pairs(content.Ztocs, image, differs), nil
}

// checkSubject compares the subject of a v1 index; a v2 index has none.
func checkSubject(subject *ocispec.Descriptor, version string, image ocispec.Descriptor, differs func(string, ...any)) {
	switch {
	case version == "v2" && subject == nil:
	case version == "v2":
		differs("it has the subject %s, a v2 index has none", subject.Digest)
	case subject == nil:
		differs("it has no subject")
	case subject.Digest != image.Digest || subject.Size != image.Size || subject.MediaType != image.MediaType:
		differs("its subject is %s of %d bytes and type %q, the image manifest is %s of %d bytes and type %q",
			subject.Digest, subject.Size, subject.MediaType, image.Digest, image.Size, image.MediaType)
	}
}

// checkBytes looks for the one form in which a reader finds the SOCI index
// again: it parses the manifest, writes it again as compact JSON, and takes
// that for the content of the same digest.
func checkBytes(raw []byte) error {
	var m ocispec.Manifest
	if err := documents.Unmarshal(raw, &m); err != nil {
		return err
	}
	again, err := json.Marshal(ocispec.Manifest{
		Versioned: m.Versioned, MediaType: ocispec.MediaTypeImageManifest,
		Config: m.Config, Layers: m.Layers, Subject: m.Subject, Annotations: m.Annotations,
	})
	if err != nil {
		return err
	}
	if bytes.Equal(raw, again) {
		return nil
	}
	at := 0
	for at < min(len(raw), len(again)) && raw[at] == again[at] {
		at++
	}
	return fmt.Errorf("it is not as the snapshotter writes it when it stores it, from byte %d on, and would not "+
		"be found",
		at)
}

// configContent is the whole config of every SOCI index.
const configContent = "{}"

func checkConfig(ctx context.Context, repo Repository, config ocispec.Descriptor) error {
	if config.Size != int64(len(configContent)) || config.Digest != digest.FromString(configContent) {
		return fmt.Errorf("%w: it is %s of %d bytes, not %s", ErrDifference, config.Digest, config.Size, configContent)
	}
	_, err := fetchBlob(ctx, repo, config, config.Size)
	return err
}

// pairs finds the layer of each zTOC in the image.
func pairs(ztocs []ocispec.Descriptor, image *inspect.Node, differs func(string, ...any)) []pair {
	layers := layersOf(image)
	var all []pair
	for _, ztoc := range ztocs {
		named := ztoc.Annotations[soci.AnnotationLayerDigest]
		layer, ok := layers[digest.Digest(named)]
		if !ok {
			differs("zTOC %s is for a layer %q, which the image does not have", ztoc.Digest, named)
			continue
		}
		if got := ztoc.Annotations[soci.AnnotationLayerMediaType]; got != layer.MediaType {
			differs("zTOC %s is for a layer of type %q, the image has it as %q", ztoc.Digest, got, layer.MediaType)
		}
		all = append(all, pair{
			layer: ocispec.Descriptor{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size},
			ztoc:  ztoc,
		})
	}
	if len(all) == 0 && len(ztocs) > 0 {
		differs("the SOCI index is that of another image: it has no zTOC of a layer of this one")
	}
	return all
}

func layersOf(image *inspect.Node) map[digest.Digest]inspect.Layer {
	layers := map[digest.Digest]inspect.Layer{}
	for _, l := range image.Layers {
		layers[l.Digest] = l
	}
	return layers
}

package soci

import (
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tarLayerTypes are the media types of layers that containerd unpacks as tar
// archives. containerd itself calls every type below
// application/vnd.oci.image.layer. a layer, among them those of EROFS,
// squashfs, Nydus and overlaybd, which are no archives.
var tarLayerTypes = map[string]bool{
	images.MediaTypeDockerSchema2Layer:            true,
	images.MediaTypeDockerSchema2LayerGzip:        true,
	images.MediaTypeDockerSchema2LayerZstd:        true,
	images.MediaTypeDockerSchema2LayerForeign:     true,
	images.MediaTypeDockerSchema2LayerForeignGzip: true,
	ocispec.MediaTypeImageLayer:                   true,
	ocispec.MediaTypeImageLayerGzip:               true,
	ocispec.MediaTypeImageLayerZstd:               true,

	// Deprecated by the image specification, and in use.
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
}

// isTarLayer reports whether a media type is one of a tar layer, encrypted or
// not.
func isTarLayer(mediaType string) bool {
	return tarLayerTypes[strings.TrimSuffix(mediaType, encryptedSuffix)]
}

const encryptedSuffix = "+encrypted"

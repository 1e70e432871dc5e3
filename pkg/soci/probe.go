package soci

import (
	"bytes"
	"context"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Prober is a Destination that can be asked whether it takes a blob at all.
type Prober interface {
	// TryPush pushes the blob that desc names although it may be there. It
	// fails when the repository does not let this caller push.
	TryPush(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error
}

// probe pushes the config of the SOCI indexes before a layer is read: two bytes
// that nothing names yet. So a missing right to push, or a registry that only
// serves, costs seconds and not the reading of all layers.
func (x *indexer) probe(ctx context.Context, work *layerWork, result *Result) error {
	if x.o.DryRun || !work.unbuilt() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &publisher{dst: x.dst, src: x.src, force: x.o.Force, damaged: work.damaged}
	config := content{indexConfigDescriptor(ArtifactTypeV1), []byte(indexConfig)}
	there, err := p.put(ctx, "blob", config)
	result.BytesPushed += p.sent.Load()
	if err != nil {
		return fmt.Errorf("before any layer is read: %w", err)
	}
	// Somebody had the right before; that says nothing of this run.
	if prober, ok := x.dst.(Prober); ok && there {
		if err := prober.TryPush(ctx, config.desc, bytes.NewReader(config.b)); err != nil {
			return fmt.Errorf("before any layer is read: pushing blob %s: %w", config.desc.Digest, err)
		}
	}
	x.configThere = true
	return nil
}

// unbuilt reports whether there is a layer of which no earlier zTOC was found.
func (w *layerWork) unbuilt() bool {
	for _, l := range w.layers {
		if !w.built[l.Digest].result.Reused {
			return true
		}
	}
	return false
}

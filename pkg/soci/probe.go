package soci

import (
	"bytes"
	"context"
	"fmt"
)

// probe pushes the config of the SOCI indexes before a layer is read: two bytes
// that nothing names yet. So a missing permission to push, or a registry that only
// serves, costs seconds and not the reading of all layers. It does not ask whether
// they are there: an existing blob does not show that this run may push.
func (x *indexer) probe(ctx context.Context, work *layerWork) error {
	if work.publisher == nil || !work.unbuilt() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	config := content{indexConfigDescriptor(ArtifactTypeV1), []byte(indexConfig)}
	if err := x.dst.Push(ctx, config.desc, bytes.NewReader(config.b)); err != nil {
		return fmt.Errorf("before any layer is read: pushing blob %s: %w", config.desc.Digest, err)
	}
	x.configThere = true
	return nil
}

// pushConfig pushes the config, which is the same for SOCI indexes of both
// versions, unless probe has done so.
func (x *indexer) pushConfig(ctx context.Context, p *publisher) error {
	if x.configThere {
		return nil
	}
	_, err := p.put(ctx, "blob", content{indexConfigDescriptor(ArtifactTypeV1), []byte(indexConfig)})
	x.configThere = err == nil
	return err
}

// unbuilt reports whether there is a layer of which no earlier zTOC was found.
func (w *layerWork) unbuilt() bool {
	for _, l := range w.layers {
		if !w.built[l.Digest].done() {
			return true
		}
	}
	return false
}

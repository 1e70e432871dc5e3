package main

import (
	"errors"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/imagefile"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/soci"
)

// check looks for mistakes in how an image is named, and returns its tag or
// digest; a path without one is taken for tagged until it is read.
func (c *indexCommand) check(cmd *cobra.Command, ref string) (string, error) {
	if !names.IsPath(ref) {
		_, reference, err := c.registry.open(cmd, ref)
		return reference, err
	}
	path, _ := imagefile.Split(ref)
	if _, err := os.Stat(path); c.outputLayout == "" && err == nil {
		return "", usageErrorf("%s is a path: index writes what it builds for a file with --output-layout DIR", ref)
	}
	_, reference, err := c.registry.store(cmd, ref)
	return reference, err
}

// toLayout copies an image to an OCI layout, and indexes it there.
func (c *indexCommand) toLayout(cmd *cobra.Command, ref string) (_ *soci.Result, err error) {
	from, reference, image, err := c.registry.find(cmd, ref)
	if err != nil {
		return nil, err
	}
	tag := tagOf(reference)
	if soci.IndexVersion(c.version) == soci.V2 && tag == "" {
		return nil, usageErrorf("%s has no tag; --index-version V2 needs one", ref)
	}
	if c.dryRun {
		return c.build(cmd, ref, from, nil, image, tag, nil)
	}
	// Before anything is written.
	o := c.options(tag)
	o.DryRun = true
	if _, err := soci.Plan(cmd.Context(), from, nil, image, o); err != nil {
		return nil, c.named(ref, err)
	}
	layout, err := imagefile.CreateLayout(c.outputLayout)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, layout.Finish(), layout.Close()) }()
	progress := newProgress(cmd)
	err = layout.Copy(cmd.Context(), from, image, tag, copying{progress})
	progress.end()
	if err != nil {
		return nil, err
	}
	var catalog soci.Catalog
	if !c.noReuse {
		catalog = layout
	}
	return c.build(cmd, ref, layout, layout, image, tag, catalog)
}

// copying shows how far the copying of an image is.
type copying struct{ *progress }

func (c copying) Begin(layers []ocispec.Descriptor)       { c.begin(layers) }
func (c copying) Layer(layer ocispec.Descriptor, n int64) { c.layer(layer, n) }

package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/pkg/soci"
)

func newInspectCommand() *cobra.Command {
	var (
		registry  imageFlags
		output    outputFlag
		full      fullFlag
		tagSuffix string
	)
	cmd := &cobra.Command{
		Use:   "inspect REF|PATH",
		Short: "Show what belongs to an image: its layers, SOCI indexes and zTOCs",
		Long: `Show the tree of an image: image index, image manifests with their platforms,
layers, SOCI indexes and zTOCs, with digests and sizes. SOCI indexes of version
1 are found as referrers of an image manifest, those of version 2 by its
annotation. For a REF with a tag, the tree of the SOCI-enabled image under the tag
with the suffix follows, or why there is none. Layer sizes are compressed. The
existence and size of each zTOC and other blob that a SOCI index lists are checked,
and missing blobs and different sizes are marked; content is not read (verify does
that).

PATH is an image in a file: an OCI layout (folder), an OCI archive or a tar file of
"docker save", as ./app.tar or with :TAG or @DIGEST if it holds several images.

With --output json, the output is one JSON object: reference, and of a manifest
  kind (image, image-index, soci-enabled-image, soci-enabled-manifest,
  unindexed-image, soci-index-v1, soci-index-v2, artifact-list, attestation,
  signature, artifact), mediaType,
  artifactType, digest, size, platform, missing (named, but not in the
  repository), manifests (of an image index: a list of manifests),
  layers (of an image), a list of mediaType, digest, size
  sociIndexes (of an image), a list of version (v1, v2), digest, size,
    buildTool, missing, invalid (why it cannot be read), and
    ztocs, a list of digest, size, layer (the digest), annotatedSpanSize (a text),
      and if it applies: foreign (the image does not have the layer), missing (not in the
      repository), storedSize (bytes in the repository, if different from size),
      invalid (why it cannot be checked)
    prefetchArtifacts, a list of those that upstream's tool can add, with the same
      fields except annotatedSpanSize
    other, a list of blobs that clients do not read, with the same fields and
      mediaType
  sociTag, sociDigest (what that tag names), and suffixedTag, if REF has a tag and is
    no SOCI-enabled image; suffixedTag has state (absent, matches, differs, unindexed,
    stale, broken, not-soci-enabled), reason, and image, a manifest as above`,
		Example: `  soci-index-builder inspect \
      123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.4
  soci-index-builder inspect ./app.tar
  soci-index-builder inspect -o json 127.0.0.1:5000/app \
      | jq '.. | .sociIndexes? // empty'`,
		Args: takes(1, 1, "one image REF or PATH"),
	}
	registry.add(cmd)
	output.add(cmd)
	full.add(cmd)
	cmd.Flags().StringVar(&tagSuffix, "tag-suffix", soci.DefaultTagSuffix, "suffix of the tags of SOCI-enabled images")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkTagSuffix(tagSuffix); err != nil {
			return err
		}
		if err := registry.aws.forECR(cmd, args); err != nil {
			return err
		}
		repo, reference, desc, err := registry.find(cmd, args[0])
		if err != nil {
			return err
		}
		image, err := inspect.LoadVersions(cmd.Context(), repo, desc, tagOf(reference), tagSuffix)
		if err != nil {
			return explain(err)
		}
		if err := image.CheckBlobs(cmd.Context(), repo); err != nil {
			return explain(err)
		}
		if output == outputText {
			return image.WriteText(cmd.OutOrStdout(), bool(full))
		}
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(inspectJSON{args[0], image})
	}
	return cmd
}

// inspectJSON is the JSON output; its field names are promised in the help text.
type inspectJSON struct {
	Reference string `json:"reference"`
	*inspect.Versions
}

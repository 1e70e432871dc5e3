package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/cleanup/surplus"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/report"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type indexCommand struct {
	registry     imageFlags
	output       outputFlag
	version      versionFlag
	tagSuffix    string
	tagUnindexed bool
	platforms    []string
	minLayerSize sizeFlag
	spanSize     spanFlag
	maxMemory    sizeFlag
	concurrency  int
	layerWorkers int
	prefetch     prefetchFlags
	paths        []string // that the prefetch flags name
	dryRun       bool
	noReuse      bool
	force        bool
	outputLayout string
	full         fullFlag
}

func newIndexCommand() *cobra.Command {
	c := &indexCommand{
		version:      versionFlag(soci.Both),
		minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize},
		spanSize:     newSpanFlag(),
		maxMemory:    sizeFlag{bytes: 1 << 30, least: 1},
	}
	cmd := &cobra.Command{
		Use:   "index REF... | --output-layout DIR REF|PATH",
		Short: "Build the SOCI indexes of an image and push them",
		Long: `Build the SOCI index of each platform of an image and push it: as a referrer of the
image manifest (V1), and in a separate SOCI-enabled image under the image's tag
with a suffix (V2). The image itself is not changed. Each layer is read once, as a
stream. A zTOC is pushed as soon as its layer is read, a SOCI index only after
all layers of its image manifest. Building again produces the same content, and
pushes nothing.

A layer whose zTOC is already in the repository, or in the OCI layout of
--output-layout, is not read: zTOCs are searched for
in the SOCI indexes of this image, of the SOCI-enabled image under the suffixed
tag, and of other recent images. On ECR that needs ecr:DescribeImages; without it
fewer zTOCs may be found, and more layers are read. --no-reuse reads every layer.
So does --force, which also pushes all manifests and the suffixed tag again; blobs
that are there are not sent again.

An earlier SOCI index v1 of this tool for the same image manifest, built with other
options, is deleted after the new one is pushed, because clients may choose either.
On ECR that needs ecr:BatchDeleteImage; without it, it is kept and reported
("cleanup --surplus" deletes it later). SOCI indexes of other tools are kept.

V2 needs a tag. A REF with a digest gets only V1, and is refused with
--index-version V2. If the tag has moved to another image in the meantime, the
suffixed tag is not moved (outcome superseded). A REF with neither tag nor digest
means the tag latest.

With --prefetch-file, the SOCI indexes also list prefetch artifacts: which parts of the
layers clients may fetch before a container starts. A path is that of a file in the
image; in a pattern, * stands for any part of a name and ** for any directories.
Links are followed. Only files in layers that have a zTOC can be prefetched, and what
is not found is a warning. soci-snapshotter fetches them since 0.13, if its
configuration enables it; older ones do not load such layers lazily.

An image with no layer to index is not a failure; its suffixed tag then names an
image index that lists the original manifests. SOCI indexes, SOCI-enabled images,
and images whose config has the label ` + soci.LabelSkip + `=true
are skipped. If one of several images fails, the rest are still processed.

--output-layout pushes nothing: it copies the image to an OCI layout in DIR and adds
its SOCI indexes there, which "oras cp" pushes: with -r the image's tag and its V1,
and the suffixed tag. DIR is made, or is an OCI layout that is added to. The image can
be PATH, a file: an OCI layout (folder), an OCI archive or a tar file of "docker
save", as ./app.tar or with :TAG or @DIGEST if it holds several images. With the path
of an OCI layout as DIR too, it is added to in place. The layers of docker save are
not compressed: push the layout as it is, since a tool that compresses them makes
another image.

With --output json, the output is one JSON object for each REF, each on its own line:
  reference, digest, outcome (indexed, no-layer-to-index, passed-over, missing,
  own-artifact, opted-out, superseded, tag-immutable, tag-taken, failed), reason,
  version,
  dryRun, bytesRead, bytesPushed, seconds, searchError (why not all earlier zTOCs were
    found), warnings (what is not prefetched, or no longer),
    olderError (why not all older SOCI indexes v1 were found),
  sociTag, sociDigest of the SOCI-enabled image (with tag-taken and the like those that
    it would have), enabled, on that image: outcome (tagged, already-tagged, untagged,
    superseded, tag-immutable, tag-taken, no-layer-to-index, passed-over, failed),
    reason, unindexed,
  and manifests, a list of
    digest, platform, outcome, reason, index {digest, size} of V1, indexV2 and
    enabledManifest {digest, size} of V2, alreadyThere, prefetch {fileCount,
      layerCount, spanCount},
    olderIndexes, a list of the SOCI indexes v1 that were replaced: digest,
      outcome (deleted, would-delete, kept), reason,
    and layers, a list of
      digest, mediaType, size, skipped (the reason), detail, compression,
      uncompressedSize, spanCount, entryCount (of the table of contents), seconds,
      ztoc {digest, size}, reused (the layer was not read), prefetchArtifact
      {digest, size}
For a failed one it has reference and error, and the rest only if a manifest
failed, or the suffixed tag is immutable or taken. Sizes are in bytes. The
generator function's answer has the same form, with repository and tag in place of
reference, and layersOmitted, the number of layers that are left out of long lists.`,
		Example: `  soci-index-builder index 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.4
  soci-index-builder index --index-version V2 \
      --tag-suffix .soci registry.example.com/team/app:1.4
  soci-index-builder index --platform linux/arm64 \
      --dry-run registry.example.com/team/app@sha256:...
  soci-index-builder index --output-layout ./app-soci ./app.tar
  soci-index-builder index --prefetch-file /app/server \
      --prefetch-file '/opt/app/**' 127.0.0.1:5000/app:dev
  soci-index-builder index --min-layer-size 0 -o json 127.0.0.1:5000/app:dev \
      | jq -r .manifests[].index.digest`,
		Args: takes(1, -1, "at least one image REF"),
		RunE: c.run,
	}
	c.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	f := cmd.Flags()
	addIndexVersion(cmd, &c.version, "SOCI indexes to build: V1, V2 or Both")
	f.StringVar(&c.tagSuffix, "tag-suffix", soci.DefaultTagSuffix,
		"suffix that the image's tag gets for the SOCI-enabled image")
	f.BoolVar(&c.tagUnindexed, "tag-unindexed", true, "make the suffixed tag even for an image with no layer to index")
	f.StringArrayVar(&c.platforms, "platform", nil, "index only this platform, as os/arch[/variant]; may be repeated")
	f.Var(&c.minLayerSize, "min-layer-size",
		"skip layers with fewer compressed bytes; 0 indexes every layer")
	f.Var(&c.spanSize, "span-size", "minimum distance between checkpoints, uncompressed: whole MiB, up to 1GiB")
	f.Var(&c.maxMemory, "max-memory",
		"memory that the build may use: buffers, checkpoints, tables of contents, zTOCs not yet pushed")
	addAtOnce(f, &c.concurrency, "concurrency", 0, "layers processed at once")
	addLayerWorkers(f, &c.layerWorkers)
	c.prefetch.add(cmd)
	f.BoolVar(&c.noReuse, "no-reuse", false, "read every layer, even if its zTOC exists")
	f.BoolVar(&c.force, "force", false, "read every layer, and push manifests and tags again")
	f.StringVar(&c.outputLayout, "output-layout", "",
		"write the image and its SOCI indexes to an OCI layout in this directory, instead of pushing")
	_ = cmd.MarkFlagDirname("output-layout")
	f.BoolVar(&c.dryRun, "dry-run", false, "build everything and push nothing")
	return cmd
}

// isFile reports whether a path leads to something that is no folder.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func (c *indexCommand) run(cmd *cobra.Command, refs []string) error {
	if err := checkTagSuffix(c.tagSuffix); err != nil {
		return err
	}
	for _, p := range c.platforms {
		if err := checkPlatform(p); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("output-layout") && c.outputLayout == "" {
		return usageErrorf(`%s: invalid argument "" for "--output-layout" flag: must be a folder, there or to be made`,
			cmd.CommandPath())
	}
	if isFile(c.outputLayout) {
		return usageErrorf(`%s: invalid argument %q for "--output-layout" flag: is a file; `+
			`must be a folder, there or to be made`, cmd.CommandPath(), c.outputLayout)
	}
	if c.outputLayout != "" && len(refs) > 1 {
		return usageErrorf("%s: --output-layout takes one image, not %d", cmd.CommandPath(), len(refs))
	}
	if err := c.registry.aws.forECR(cmd, refs); err != nil {
		return err
	}
	var err error
	if c.paths, err = c.prefetch.paths(); err != nil {
		return err
	}
	for _, ref := range refs { // before anything was done
		reference, err := c.check(cmd, ref)
		if err != nil {
			return err
		}
		if soci.IndexVersion(c.version) == soci.V2 && reference != "" && tagOf(reference) == "" {
			return usageErrorf("%s names the image by digest; --index-version V2 needs a tag", ref)
		}
	}
	failed := 0
	for _, ref := range refs {
		result, err := c.image(cmd, ref)
		if cmd.Context().Err() != nil && err != nil {
			return err
		}
		if err := c.write(cmd.OutOrStdout(), ref, result, err); err != nil {
			return err
		}
		if err == nil {
			continue
		}
		if len(refs) == 1 {
			return err
		}
		printError(cmd.ErrOrStderr(), err)
		failed++
	}
	if failed > 0 {
		return errReported
	}
	return nil
}

// checkPlatform checks an argument of --platform.
func checkPlatform(p string) error {
	if strings.Contains(p, ",") {
		return usageErrorf("invalid argument %.100q for \"--platform\" flag: must be one platform; repeat the flag "+
			"for each, as in --platform linux/amd64 --platform linux/arm64", p)
	}
	if !names.IsPlatform(p) || !strings.Contains(p, "/") {
		return usageErrorf(
			"invalid argument %.100q for \"--platform\" flag: must be OS/ARCHITECTURE[/VARIANT], such as "+
				"linux/arm64", p)
	}
	return nil
}

// indexed is what became of an image.
type indexed struct {
	*soci.Result
	repository string          // HOST/NAME; empty for an OCI layout
	older      []surplus.Older // SOCI indexes v1 that were replaced
	unknown    error           // why there may be more of them
}

// image indexes one image. There can be a result beside an error.
func (c *indexCommand) image(cmd *cobra.Command, ref string) (*indexed, error) {
	if c.outputLayout != "" {
		result, err := c.toLayout(cmd, ref)
		if result == nil {
			return nil, err
		}
		return &indexed{Result: result}, err
	}
	repo, reference, image, err := c.registry.resolve(cmd, ref)
	if err != nil {
		return nil, err
	}
	var catalog soci.Catalog
	if !c.noReuse {
		catalog = repo.Catalog(ecrclient.CatalogOptions{Tag: tagOf(reference), TagSuffix: c.tagSuffix})
	}
	result, err := c.build(cmd, ref, repo, repo, image, tagOf(reference), catalog)
	if result == nil {
		return nil, err
	}
	out := &indexed{Result: result, repository: repo.Name()}
	if err != nil {
		return out, err
	}
	out.older, out.unknown = surplus.Remove(cmd.Context(), repo, result, c.dryRun)
	if errors.Is(out.unknown, surplus.ErrLost) {
		return out, fmt.Errorf("indexing %s: %w", ref, explain(out.unknown))
	}
	return out, nil
}

// build indexes an image. There can be a result beside an error.
func (c *indexCommand) build(cmd *cobra.Command, ref string, from soci.Source, to soci.Destination,
	image ocispec.Descriptor, tag string, catalog soci.Catalog) (*soci.Result, error) {
	o := c.options(tag)
	o.Catalog = catalog
	progress := newProgress(cmd)
	o.Progress = progress.layer
	work, err := soci.Plan(cmd.Context(), from, to, image, o)
	var result *soci.Result
	if err == nil {
		progress.begin(work.Layers())
		result, err = work.Index(cmd.Context())
		progress.end()
		if err != nil && cmd.Context().Err() != nil {
			return nil, &interruptedError{err, c.interrupted(ref, work.Pushed())}
		}
	}
	if err = c.named(ref, err); errors.Is(err, soci.ErrInvalidOption) {
		return nil, err
	}
	return result, err
}

// interrupted says what an interrupted run has left.
func (c *indexCommand) interrupted(ref string, p soci.Pushed) string {
	if c.outputLayout != "" {
		return fmt.Sprintf("%s in %s is not complete: index it again", ref, c.outputLayout)
	}
	pushed := "nothing was pushed"
	if p.Ztocs+p.Indexes > 0 {
		pushed = fmt.Sprintf("%s and %s were pushed, %s", count(p.Ztocs, "zTOC"),
			counted(p.Indexes, "SOCI index", "SOCI indexes"), bytesize.Format(p.Bytes))
	}
	return fmt.Sprintf("%s is not complete, %s: index it again", ref, pushed)
}

// named is an error of the engine, with the image's name.
func (c *indexCommand) named(ref string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, soci.ErrInvalidOption):
		return usageErrorf("%s: %w", ref, err)
	}
	return fmt.Errorf("indexing %s: %w", ref, explain(err))
}

func (c *indexCommand) options(tag string) soci.Options {
	return soci.Options{
		IndexVersion: soci.IndexVersion(c.version),
		Tag:          tag,
		TagSuffix:    c.tagSuffix,
		TagUnindexed: c.tagUnindexed,
		SpanSize:     c.spanSize.bytes,
		MinLayerSize: max(c.minLayerSize.bytes, 1),
		Platforms:    c.platforms,
		Concurrency:  c.concurrency,
		LayerWorkers: c.layerWorkers,
		Limits:       soci.Limits{MaxMemory: c.maxMemory.bytes},
		Prefetch:     c.paths,

		PrefetchLabel: c.prefetch.label,
		Force:         c.force,
		DryRun:        c.dryRun,
	}
}

// write tells what became of an image; of a failure without a result only JSON
// has something to say here.
func (c *indexCommand) write(w io.Writer, ref string, result *indexed, failure error) error {
	if c.output != outputJSON {
		if result == nil {
			return nil
		}
		return c.writeText(w, ref, result)
	}
	out := &report.Image{}
	if result != nil {
		out = report.New(result.Result)
		out.DryRun = c.dryRun
		addOlder(out, result, c.dryRun)
	}
	out.Reference = ref
	if failure != nil {
		out.Error = failure.Error()
	}
	return writeJSONLine(w, out)
}

// tagOf returns the reference if it is a tag.
func tagOf(reference string) string {
	if strings.Contains(reference, ":") { // a digest
		return ""
	}
	return reference
}

// versionFlag is --index-version.
type versionFlag soci.IndexVersion

func addIndexVersion(cmd *cobra.Command, v *versionFlag, usage string) {
	cmd.Flags().Var(v, "index-version", usage)
	_ = cmd.RegisterFlagCompletionFunc("index-version",
		cobra.FixedCompletions([]string{"V1", "V2", "Both"}, cobra.ShellCompDirectiveNoFileComp))
}

func (v *versionFlag) String() string { return string(*v) }
func (v *versionFlag) Type() string   { return "V1|V2|Both" }

func (v *versionFlag) Set(s string) error {
	version, err := soci.ParseIndexVersion(s)
	if err != nil {
		return errors.New("must be V1, V2 or Both")
	}
	*v = versionFlag(version)
	return nil
}

// writeJSONLine writes v and a line end.
func writeJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/imagefile"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type verifyCommand struct {
	registry    imageFlags
	output      outputFlag
	version     versionFlag // empty: whichever there is
	tagSuffix   string
	allTags     bool
	concurrency int
	full        fullFlag

	verifiers map[string]*verify.Verifier // by repository
	progress  *progress                   // of the image at hand
	heading   bool                        // there may be several images
	verified  int                         // images without a difference
	without   int                         // images without a SOCI index, with --all-tags
	failed    int
}

func newVerifyCommand() *cobra.Command {
	c := &verifyCommand{verifiers: map[string]*verify.Verifier{}}
	cmd := &cobra.Command{
		Use:   "verify REF|PATH... | --all-tags REPOSITORY|PATH...",
		Short: "Compare images read through their SOCI indexes with the images themselves",
		Long: `Read each image twice, and compare. For each layer with a zTOC in one of the image's
SOCI indexes, verify fetches every span with a Range request, checks its digest and
decodes it from its checkpoint. It compares every byte, and so the content of every
file, with a plain read of the layer, and every entry of the table of contents with
its tar header. The SOCI index must name the image, its layers and its zTOCs
correctly, and have the form in which the snapshotter keeps it. Prefetch artifacts,
which upstream's tool can add, must name spans that their layer has.

SOCI indexes of both versions are verified: those that are referrers of the image
(V1), and those of the SOCI-enabled image under the image's tag with the suffix (V2).
One of the two must exist, and the output says which was found; with --index-version
the named one must, and only that is looked at. A suffixed tag that was made from
another image is a difference. A REF with a digest leads to V1 only, and one that
names a SOCI-enabled image to its V2.

--all-tags takes whole repositories and verifies the image of each tag; a suffixed
tag is verified with its original. Images without a SOCI index are then only
counted, unless --index-version is given; "status" says why they have none. A
repository in which there is no SOCI index at all is a failure. On ECR it needs
ecr:ListImages beside the permissions to pull.

PATH is an image in a file: an OCI layout (folder), an OCI archive or a tar file of
"docker save", as ./app.tar or with :TAG or @DIGEST if it holds several images.

The decoder is the standard library's, which the builder does not use. Nothing is
written to disk, and no layer is held in memory. A layer that several images share
is compared once.

An image without a SOCI index is a failure. A manifest that an image index lists
but the repository does not have is reported, and is not a failure. Differences are
reported with layer, span, file and offset (in the uncompressed archive). If one of
several images fails, the rest are still verified.

With --output json, the output is one JSON object for each image, each on its own
line:
  reference, differenceCount, seconds, withoutIndex (a list of platforms),
  missingManifests (a list of the manifests that the repository does not have),
  versions, with v1 and v2: verified, differs or none; absent if not looked at
  sociTag, sociDigest (what that tag names), suffixedTag, on that tag: state (absent,
    matches, differs, unindexed, stale, broken, not-soci-enabled), reason,
  wrongTag (the differences of the suffixed tag itself),
  noIndex (which SOCI index does not exist), error (of a failed one; the rest may then
  be absent), and indexes, a list of
    platform, manifest, version, index {digest, size}, sociTag (if it led to the
      index), differences
    layers, a list of layer, size, ztoc {digest, size}, spanCount, entryCount (of the
      table of contents), fileCount (regular files), bytes, fetchedBytes, seconds,
      differences
    prefetchArtifacts, a list of those that are right: digest, size, layer, ranges
      (their number), spanCount (in all ranges)
  a list of differences has layer, span, file, offset, what; it is cut after 20,
  and omitted is the number of the others`,
		Example: `  soci-index-builder verify \
      123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.4
  soci-index-builder verify \
      --index-version V2 registry.example.com/team/app:1.4 \
      registry.example.com/team/web:2.0
  soci-index-builder verify --all-tags registry.example.com/team/app
  soci-index-builder verify ./app-layout
  soci-index-builder verify -o json 127.0.0.1:5000/app:dev | jq .versions`,
		Args: takes(1, -1, "at least one image REF or PATH"),
		RunE: c.run,
	}
	c.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	f := cmd.Flags()
	addIndexVersion(cmd, &c.version, "SOCI indexes that must exist: V1, V2 or Both; the default is either")
	f.StringVar(&c.tagSuffix, "tag-suffix", soci.DefaultTagSuffix, "suffix of the tags of SOCI-enabled images")
	f.BoolVar(&c.allTags, "all-tags", false, "verify the image of every tag; takes REPOSITORY instead of REF")
	addAtOnce(f, &c.concurrency, "concurrency", 0, "layers processed at once")
	return cmd
}

func (c *verifyCommand) run(cmd *cobra.Command, refs []string) error {
	if err := checkTagSuffix(c.tagSuffix); err != nil {
		return err
	}
	if err := c.registry.aws.forECR(cmd, refs); err != nil {
		return err
	}
	for _, ref := range refs { // before anything was done
		if err := c.check(cmd, ref); err != nil {
			return err
		}
	}
	c.heading = len(refs) > 1 || c.allTags
	failed := false
	for _, ref := range refs {
		err := c.named(cmd, ref)
		if cmd.Context().Err() != nil && err != nil {
			return err
		}
		if err == nil {
			continue
		}
		if len(refs) == 1 && !c.allTags {
			return err
		}
		printError(cmd.ErrOrStderr(), err)
		failed = true
	}
	if c.allTags && c.output == outputText {
		if err := c.writeCounts(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	if failed || c.failed > 0 {
		return errReported
	}
	return nil
}

// check looks for mistakes in the command line.
func (c *verifyCommand) check(cmd *cobra.Command, ref string) error {
	var given, reference string
	if names.IsPath(ref) {
		_, given = imagefile.Split(ref)
		reference = given
	} else {
		repo, r, err := c.registry.open(cmd, ref)
		if err != nil {
			return err
		}
		given, reference = repo.Reference(), r
	}
	switch {
	case c.allTags && given != "":
		return usageErrorf("%s names an image: --all-tags takes whole repositories, as [HOST/]NAME or PATH", ref)
	case c.needsTag() && !c.allTags && reference != "" && tagOf(reference) == "":
		return usageErrorf("%s names the image by digest; --index-version %s needs a tag", ref, c.version)
	}
	return nil
}

// whole returns the repository or file of which all images are to be verified.
func (c *verifyCommand) whole(cmd *cobra.Command, ref string) (repository, error) {
	if names.IsPath(ref) {
		store, _, err := c.registry.store(cmd, ref)
		return store, err
	}
	repo, _, err := c.registry.open(cmd, ref)
	return repo, err
}

// needsTag reports whether only an image named by its tag can have what must
// exist.
func (c *verifyCommand) needsTag() bool {
	return c.version != "" && soci.IndexVersion(c.version) != soci.V1
}

// named verifies the image or the repository that ref names.
func (c *verifyCommand) named(cmd *cobra.Command, ref string) error {
	if c.allTags {
		repo, err := c.whole(cmd, ref)
		if err != nil {
			return err
		}
		return c.repository(cmd, repo)
	}
	repo, reference, desc, err := c.registry.find(cmd, ref)
	if err != nil {
		return c.writeThen(cmd, ref, nil, "", err) // which names the image
	}
	image, err := inspect.LoadVersions(cmd.Context(), repo, desc, tagOf(reference), c.tagSuffix)
	if err != nil {
		return c.fail(cmd, ref, explain(err))
	}
	return c.image(cmd, repo, ref, image)
}

// repository verifies the images of all tags. Its error is for those failures
// that were not yet reported.
func (c *verifyCommand) repository(cmd *cobra.Command, repo repository) error {
	tags, err := repo.Tags(cmd.Context())
	if err != nil {
		return c.registry.explain(cmd, fmt.Errorf("listing the tags of %s: %w", repo.Name(), err))
	}
	if len(tags) == 0 {
		return fmt.Errorf("%w: the repository %s has no tag", verify.ErrNoIndex, repo.Name())
	}
	found := c.verified + c.failed
	for _, tag := range tags {
		ref := repo.Name() + ":" + tag
		err := c.tag(cmd, repo, ref, tag, tags)
		if cmd.Context().Err() != nil && err != nil {
			return err
		}
		if err != nil {
			printError(cmd.ErrOrStderr(), err)
			c.failed++
		}
	}
	if c.verified+c.failed == found {
		return fmt.Errorf("%w: no image of the repository %s has one; it has %s", verify.ErrNoIndex, repo.Name(),
			count(len(tags), "tag"))
	}
	return nil
}

// tag verifies the image that one of the tags of a repository names, if it names
// one that is not verified with another tag.
func (c *verifyCommand) tag(cmd *cobra.Command, repo repository, ref, tag string, tags []string) error {
	desc, err := repo.Resolve(cmd.Context(), tag)
	if errors.Is(err, ecrclient.ErrNotFound) {
		return nil // deleted since all were listed
	}
	if err != nil {
		return c.fail(cmd, ref, explain(err))
	}
	image, err := inspect.LoadVersions(cmd.Context(), repo, desc, tag, c.tagSuffix)
	if err != nil {
		return c.fail(cmd, ref, explain(err))
	}
	original, suffixed := strings.CutSuffix(tag, c.tagSuffix)
	switch {
	case len(image.Images()) == 0, image.Kind == soci.KindUnindexed,
		image.Kind == soci.KindEnabledImage && suffixed && slices.Contains(tags, original):
		return nil
	}
	return c.image(cmd, repo, ref, image)
}

// image verifies one image and writes the result.
func (c *verifyCommand) image(cmd *cobra.Command, repo repository, ref string,
	image *inspect.Versions) error {
	c.progress = newProgress(cmd)
	c.progress.begin(image.IndexedLayers())
	verifier, ok := c.verifiers[repo.Name()]
	if !ok {
		verifier = verify.New(repo, verify.Options{Concurrency: c.concurrency,
			Progress: func(layer ocispec.Descriptor, n int64) { c.progress.layer(layer, n) }})
		c.verifiers[repo.Name()] = verifier
	}
	result, err := verifier.Versions(cmd.Context(), image, soci.IndexVersion(c.version))
	c.progress.end()
	noIndex := ""
	if errors.Is(err, verify.ErrNoIndex) {
		noIndex = err.Error()
		if c.allTags && c.version == "" && result == nil {
			c.without++
			return c.write(cmd.OutOrStdout(), ref, nil, noIndex, nil)
		}
	}
	if err == nil && result.Differences() > 0 {
		err = fmt.Errorf("%w: %d found", verify.ErrDifference, result.Differences())
	}
	if err == nil {
		c.verified++
	} else {
		err = fmt.Errorf("verifying %s: %w", ref, explain(err))
	}
	return c.writeThen(cmd, ref, result, noIndex, err)
}

// fail is for an image that could not be compared.
func (c *verifyCommand) fail(cmd *cobra.Command, ref string, err error) error {
	return c.writeThen(cmd, ref, nil, "", fmt.Errorf("verifying %s: %w", ref, err))
}

// writeThen writes what became of an image, and returns why it failed.
func (c *verifyCommand) writeThen(cmd *cobra.Command, ref string, result *verify.Report, noIndex string,
	failure error) error {
	if err := c.write(cmd.OutOrStdout(), ref, result, noIndex, failure); err != nil {
		return err
	}
	return failure
}

// write tells what became of an image. Without a result the text has nothing to
// say of a failure.
func (c *verifyCommand) write(w io.Writer, ref string, result *verify.Report, noIndex string, failure error) error {
	switch {
	case c.output == outputJSON:
		out := newVerifyJSON(ref, result, soci.IndexVersion(c.version))
		out.NoIndex = noIndex
		if failure != nil {
			out.Error = failure.Error()
		}
		return writeJSONLine(w, out)
	case result == nil && failure != nil:
		return nil
	case result == nil:
		p := newPrinter(w)
		p.printf("%s: %s\n", ref, noIndex)
		return p.err
	case c.heading:
		if _, err := fmt.Fprintln(w, ref); err != nil {
			return err
		}
	}
	return writeVerifyText(w, result, soci.IndexVersion(c.version), c.full)
}

func (c *verifyCommand) writeCounts(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s verified, %d without a SOCI index, %d failed\n", count(c.verified, "image"), c.without,
		c.failed)
	return err
}

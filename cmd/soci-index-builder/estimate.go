package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/internal/imagefile/atomicfile"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/soci"
)

type estimateCommand struct {
	registry     imageFlags
	output       outputFlag
	full         fullFlag
	list         string
	paths        []string
	platforms    []string
	version      versionFlag // empty: whichever there is
	tagSuffix    string
	minLayerSize sizeFlag
	bandwidth    sizeFlag
	latency      latencyFlag
	prefetchFile string
}

func newEstimateCommand() *cobra.Command {
	c := &estimateCommand{
		minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize},
		bandwidth:    sizeFlag{bytes: estimate.DefaultNetwork.Bandwidth, least: 1},
		latency:      latencyFlag(estimate.DefaultNetwork.Latency),
	}
	cmd := &cobra.Command{
		Use:   "estimate REF|PATH (--files LIST | --path GLOB...)",
		Short: "Estimate what a container start fetches that reads certain files",
		Long: `Work out what a container start that reads certain files fetches through the
image's SOCI index, span by span, against a pull of the whole image, and how many
seconds each takes at a bandwidth. Nothing is pushed and nothing is started.

The zTOCs are those of the SOCI index v2, under the image's tag with the suffix,
or else of the SOCI index v1; with --index-version the named one must be there.
Only zTOCs are read then, no layer. For an image without a SOCI index they are
built in memory, as "index" would, which reads the layers, and the output says so.

LIST is a file with absolute paths, one on each line, or - for standard input:
what the program opens while it starts. Run it in the container, with strace:
  strace -f -y -e trace=open,openat,execve -o trace.txt /app/server
  sed -n -e 's/.* = [0-9]*<\(\/.*\)>$/\1/p' \
      -e 's/.*execve("\(\/[^"]*\)".* = 0$/\1/p' trace.txt | sort -u > files.txt
or record all processes of the container, as root in it, with CAP_SYS_ADMIN:
  fatrace -c -f RO -s 60 | sed -n 's/.*([0-9]*): [RCWO]* *\//\//p' > files.txt
or take all files of some folders, as an upper bound:
  find /app /usr/lib/python3 -type f > files.txt
GLOB is a path, or a pattern with * for any part of a name and ** for any folders.
Links are followed, and files that a higher layer removes do not count, as for
"index --prefetch-file". Files that are in no layer with a zTOC (in /proc, /sys
and /dev, of mounts, or in small layers) are counted and named; it is an error
only if none is found.

A client fetches every span that has a byte of the file, of its tar header, or the
byte behind its end; each span whole. Before that, it fetches the zTOCs, and
layers without a zTOC whole. Each file is taken to be read from beginning to end;
a start that reads only parts fetches less.

The seconds come from a model, not from a measurement: bytes / bandwidth + turns
* latency. A turn is a request, or several at once, that the next one waits for:
layers of a full pull three at once, as in containerd and Docker; for a lazy start
the SOCI index, all zTOCs, two requests of a few bytes of all layers, each layer
without a zTOC, then each span; with prefetch, the spans that it names two at
once. Manifests, unpacking, decoding and the program's own time are not in it.

At the end are the label and the JSON file with which these files are prefetched
("index --help"), and the bounds of prefetching that they exceed.

PATH is an image in a file: an OCI layout (folder), an OCI archive or a tar file
of "docker save", whose layers are not compressed, so that everything is larger.

With --output json, the output is one JSON object:
  reference, bandwidth (bytes a second), latency (seconds), images, a list of
    platform, manifest, source (v1, v2, built), index {digest, size} (only its size
      if it was built), sociTag (if it led to the index), leftAlone (why "index"
      would build none),
    files: asked, found, directories, notFound, kernel (of these, below /proc,
      /sys or /dev), different (files), missingFiles, a list of the first 100: path,
      reason (absent, removed, unreachable), detail
    layers, the lowest first, a list of layer, size, ztoc {digest, size} (absent
      if it is fetched whole), skipped (why, if zTOCs were built), fileCount,
      spanCount (of the layer), readSpans, readBytes, prefetchSpans, and spans, a
      list of span, offset, size, read, prefetched
    fullPull, lazyStart, lazyStartWithPrefetch: bytes, requests, turns, seconds
    prefetchFiles (for --prefetch-files-json), label, prefetchLimits (those
      exceeded)
Sizes are in bytes, compressed.`,
		Example: `  soci-index-builder estimate --files files.txt team/app:1.4
  find /app -type f | soci-index-builder estimate --files - team/app:1.4
  soci-index-builder estimate --path '/usr/lib/python3/**' ./app.tar
  soci-index-builder estimate --files files.txt --bandwidth 20MiB \
      --write-prefetch-files prefetch.json registry.example.com/team/app:1.4
  soci-index-builder estimate --files files.txt -o json team/app:1.4 |
      jq -r .images[].label`,
		Args: takes(1, 1, "one image REF or PATH"),
		RunE: c.run,
	}
	c.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.list, "files", "", "file with absolute paths, one on each line; - for standard input")
	f.StringArrayVar(&c.paths, "path", nil, "path, or pattern with * and **; may be repeated")
	f.StringArrayVar(&c.platforms, "platform", nil, "only this platform, as os/arch[/variant]; may be repeated")
	addIndexVersion(cmd, &c.version, "SOCI index that must exist: V1 or V2; the default is V2, or else V1")
	f.StringVar(&c.tagSuffix, "tag-suffix", soci.DefaultTagSuffix, "suffix of the tags of SOCI-enabled images")
	f.Var(&c.minLayerSize, "min-layer-size",
		"layers with fewer compressed bytes get no zTOC, if there is no SOCI index")
	f.Var(&c.bandwidth, "bandwidth", "bytes that the client fetches in a second")
	f.Var(&c.latency, "latency", "time until a request's first byte comes")
	f.StringVar(&c.prefetchFile, "write-prefetch-files", "",
		"write the file that \"index --prefetch-files-json\" takes")
	return cmd
}

// latencyFlag is --latency.
type latencyFlag time.Duration

// maxLatency is the largest.
const maxLatency = time.Minute

func (f *latencyFlag) String() string { return time.Duration(*f).String() }
func (f *latencyFlag) Type() string   { return "duration" }

func (f *latencyFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxLatency {
		return errors.New("must be a time from 0s to 1m, such as 50ms")
	}
	*f = latencyFlag(d)
	return nil
}

func (c *estimateCommand) run(cmd *cobra.Command, args []string) error {
	files, err := c.files(cmd)
	if err != nil {
		return err
	}
	if err := c.registry.aws.forECR(cmd, args); err != nil {
		return err
	}
	repo, reference, desc, err := c.registry.find(cmd, args[0])
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("estimating a start of %s: %w", args[0], explain(err)) }
	image, err := inspect.LoadVersions(cmd.Context(), repo, desc, tagOf(reference), c.tagSuffix)
	if err != nil {
		return fail(err)
	}
	progress := newProgress(cmd)
	images, err := estimate.Run(cmd.Context(), repo, image, estimate.Options{
		Files: files, Patterns: c.paths, Platforms: c.platforms, Version: soci.IndexVersion(c.version),
		MinLayerSize: max(c.minLayerSize.bytes, 1),
		Network:      estimate.Network{Bandwidth: c.bandwidth.bytes, Latency: time.Duration(c.latency)},
		Progress:     func(layer ocispec.Descriptor, n int64) { progress.layer(layer, n) },
		Building: func(platform string, layers []ocispec.Descriptor) {
			progress.end() // of the platform before
			if !quiet(cmd) {
				fmt.Fprintf(cmd.ErrOrStderr(),
					"%s has no SOCI index: its layers are read to build zTOCs in memory\n", platform)
			}
			progress = newProgress(cmd)
			progress.begin(layers)
		},
	})
	progress.end()
	switch {
	case errors.Is(err, estimate.ErrNoPlatform):
		return usageErrorf("%s: %w", args[0], err)
	case errors.Is(err, verify.ErrDifference):
		return fmt.Errorf("%w; \"verify\" says what else is wrong, \"index\" replaces it", fail(err))
	case err != nil:
		return fail(err)
	}
	if c.prefetchFile != "" {
		if err := c.writePrefetchFiles(images); err != nil {
			return err
		}
	}
	if c.output == outputText {
		return c.writeText(cmd.OutOrStdout(), args[0], images)
	}
	return writeJSONLine(cmd.OutOrStdout(),
		estimateJSON{args[0], c.bandwidth.bytes, time.Duration(c.latency).Seconds(), images})
}

// estimateJSON is the JSON output; its field names are promised in the help text.
type estimateJSON struct {
	Reference string            `json:"reference"`
	Bandwidth int64             `json:"bandwidth"` // bytes a second
	Latency   float64           `json:"latency"`   // seconds
	Images    []*estimate.Image `json:"images"`
}

// files checks the flags, and reads the list of files.
func (c *estimateCommand) files(cmd *cobra.Command) ([]string, error) {
	switch {
	case c.list == "" && len(c.paths) == 0:
		return nil, usageErrorf("%s takes files: --files LIST, --path GLOB, or both", cmd.CommandPath())
	case soci.IndexVersion(c.version) == soci.Both:
		return nil, usageErrorf(
			"invalid argument \"Both\" for \"--index-version\" flag: a client reads one; must be V1 or V2")
	}
	if err := checkTagSuffix(c.tagSuffix); err != nil {
		return nil, err
	}
	if err := soci.CheckPrefetch(c.paths); err != nil {
		return nil, usageErrorf("invalid argument for \"--path\" flag: %w", err)
	}
	for _, p := range c.platforms {
		if err := checkPlatform(p); err != nil {
			return nil, err
		}
	}
	if c.list == "" {
		return nil, nil
	}
	var in io.Reader = cmd.InOrStdin()
	if c.list != "-" {
		f, err := os.Open(c.list)
		if err != nil {
			return nil, usageErrorf("invalid argument %q for \"--files\" flag: %w", c.list, err)
		}
		defer f.Close()
		in = f
	}
	files, err := untilEnd(cmd.Context(), func() ([]string, error) { return estimate.ReadList(in) })
	if err != nil {
		return nil, usageErrorf("invalid argument %q for \"--files\" flag: %w", c.list, err)
	}
	return files, nil
}

// writePrefetchFiles writes a file for "index --prefetch-files-json", of what was
// found for any platform.
func (c *estimateCommand) writePrefetchFiles(images []*estimate.Image) error {
	paths := []string{}
	for _, image := range images {
		paths = append(paths, image.PrefetchFiles...)
	}
	if len(images) > 1 {
		slices.Sort(paths)
		paths = slices.Compact(paths)
	}
	if n := len(paths); n > soci.MaxPrefetchPatterns {
		return fmt.Errorf("%s is not written: %d paths are more than the %d that \"index --prefetch-files-json\" takes",
			c.prefetchFile, n, soci.MaxPrefetchPatterns)
	}
	b, err := json.Marshal(paths)
	if err != nil {
		return err
	}
	return atomicfile.Output(c.prefetchFile, append(b, '\n'))
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/pkg/soci"
)

type indexCommand struct {
	registry     registryFlags
	output       outputFlag
	platforms    []string
	minLayerSize sizeFlag
	spanSize     sizeFlag
	maxMemory    sizeFlag
	concurrency  int
	dryRun       bool
}

func newIndexCommand() *cobra.Command {
	c := &indexCommand{
		minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize},
		spanSize:     sizeFlag{bytes: soci.DefaultSpanSize, least: 1},
		maxMemory:    sizeFlag{bytes: 1 << 30, least: 1},
	}
	cmd := &cobra.Command{
		Use:   "index REF...",
		Short: "Build the SOCI index of an image and push it",
		Long: `Build the SOCI index (v1) of each platform of an image and push it beside the
image, as its referrer. The image is not changed. Each layer is read once, as a
stream; nothing is pushed before all layers of the image were read. Building
again gives the same SOCI index, and pushes nothing.

An image with no layer to index is no failure. Of several images those after a
failed one are still worked on.

With --output json there is one JSON object for each REF, on a line of its own:
  reference, digest, outcome (indexed, no-layer-to-index, passed-over), dryRun,
  bytesRead, bytesPushed, seconds, and manifests, a list of
    digest, platform, outcome, reason, index {digest, size}, and layers, a list of
      digest, mediaType, size, skipped (the reason), detail, compression,
      uncompressedSize, spans, files, seconds, ztoc {digest, size}
For one that failed it has reference and error alone. Sizes are in bytes.`,
		Example: `  soci-index-builder index 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.4
  soci-index-builder index --platform linux/arm64 --dry-run registry.example.com/team/app@sha256:...
  soci-index-builder index --min-layer-size 0 --output json 127.0.0.1:5000/app:dev | jq -r .manifests[].index.digest`,
		Args: takes(1, -1, "at least one image REF"),
		RunE: c.run,
	}
	c.registry.add(cmd)
	c.output.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.platforms, "platform", nil, "work on this platform only, as os/arch[/variant]; may be given again")
	f.Var(&c.minLayerSize, "min-layer-size", "pass over layers with fewer compressed bytes; 0 means every layer is indexed")
	f.Var(&c.spanSize, "span-size", "least distance of two checkpoints, in uncompressed bytes")
	f.Var(&c.maxMemory, "max-memory", "what the zTOC of one layer may take while it is built")
	f.IntVar(&c.concurrency, "concurrency", 0, "layers worked on at once; 0 means the number of processors")
	f.BoolVar(&c.dryRun, "dry-run", false, "build everything and push nothing")
	return cmd
}

func (c *indexCommand) run(cmd *cobra.Command, refs []string) error {
	if c.concurrency < 0 {
		return usageErrorf("invalid argument \"%d\" for \"--concurrency\" flag: must be 0 or more", c.concurrency)
	}
	for _, ref := range refs {
		if _, _, err := c.registry.open(cmd, ref); err != nil {
			return err // before anything was done
		}
	}
	failed := 0
	for _, ref := range refs {
		err := c.image(cmd, ref)
		if err == nil {
			continue
		}
		if cmd.Context().Err() != nil {
			return err
		}
		if c.output == outputJSON {
			if err := writeJSONLine(cmd.OutOrStdout(), indexJSON{Reference: ref, Error: err.Error()}); err != nil {
				return err
			}
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

func (c *indexCommand) image(cmd *cobra.Command, ref string) error {
	repo, reference, err := c.registry.open(cmd, ref)
	if err != nil {
		return err
	}
	image, err := repo.Resolve(cmd.Context(), reference)
	if err != nil {
		return err
	}
	progress := newProgress(cmd.ErrOrStderr())
	result, err := soci.IndexImage(cmd.Context(), repo, repo, image, soci.Options{
		SpanSize:     c.spanSize.bytes,
		MinLayerSize: max(c.minLayerSize.bytes, 1),
		Platforms:    c.platforms,
		Concurrency:  c.concurrency,
		Limits:       soci.Limits{MaxMemory: c.maxMemory.bytes},
		DryRun:       c.dryRun,
		Progress:     progress.layer,
	})
	progress.end()
	if errors.Is(err, soci.ErrInvalidOption) {
		return usageErrorf("%s: %w", ref, err)
	}
	if err != nil {
		return fmt.Errorf("indexing %s: %w", ref, err)
	}
	if c.output == outputJSON {
		return writeJSONLine(cmd.OutOrStdout(), newIndexJSON(ref, c.dryRun, result))
	}
	return writeIndexText(cmd.OutOrStdout(), ref, c.dryRun, result)
}

func writeIndexText(w io.Writer, ref string, dryRun bool, r *soci.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %s, %s read, %s pushed, %.1f s\n", ref, r.Outcome(), bytesize.Format(r.BytesRead), bytesize.Format(r.BytesPushed), r.Seconds)
	for _, m := range r.Manifests {
		switch m.Outcome {
		case soci.OutcomePassedOver:
			fmt.Fprintf(t, "manifest %s: passed over, %s\n", m.Manifest.Digest, m.Reason)
			continue
		case soci.OutcomeNoLayer:
			fmt.Fprintf(t, "%s: no layer to index, so no SOCI index\n", m.Platform)
		default:
			note := ""
			if dryRun {
				note = " (dry run, not pushed)"
			}
			fmt.Fprintf(t, "%s: SOCI index %s%s\n", m.Platform, m.Index.Digest, note)
		}
		fmt.Fprintf(t, "  LAYER\tSIZE\tZTOC\tSPANS\tFILES\tSECONDS\n")
		for _, l := range m.Layers {
			if !l.Indexed() {
				fmt.Fprintf(t, "  %s\t%s\tskipped: %s\n", shortDigest(l.Layer.Digest), bytesize.Format(l.Layer.Size), withDetail(l))
				continue
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%d\t%.1f\n", shortDigest(l.Layer.Digest), bytesize.Format(l.Layer.Size), bytesize.Format(l.Ztoc.Size), l.Spans, l.Files, l.Seconds)
		}
	}
	return t.Flush()
}

func withDetail(l soci.LayerResult) string {
	if l.Detail == "" {
		return string(l.Reason)
	}
	return fmt.Sprintf("%s (%s)", l.Reason, l.Detail)
}

// writeJSONLine writes v and a line end.
func writeJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

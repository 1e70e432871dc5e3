package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/bytesize"
	"soci-index-builder/internal/verify"
)

func newVerifyCommand() *cobra.Command {
	var (
		registry    registryFlags
		output      outputFlag
		concurrency int
	)
	cmd := &cobra.Command{
		Use:   "verify REF",
		Short: "Compare what a SOCI index gives with what the image holds",
		Long: `Read an image twice, and compare. For every SOCI index of the image, and every
layer that has a zTOC in it: each span is fetched by a Range request, its digest
compared, and decoded from its checkpoint; each byte that comes out, and so the
content of every file, is compared with a plain read of the layer, and every
entry of the table of contents with its tar header. The SOCI index itself must
name the image, its layers and its zTOCs rightly, and be in the form in which
the snapshotter keeps it. Prefetch artifacts, which upstream's tool can add, must
name spans that their layer has.

The decoder is the standard library's, which the builder does not use. Nothing
is written to disk, and a layer is never held in memory.

An image without a SOCI index is a failure. A manifest that an image index lists
but the repository does not have is told, and is none. A difference is told with layer,
span, file and offset (of the uncompressed archive).

With --output json there is one JSON object:
  reference, differences (their number), seconds, withoutIndex (a list of
  platforms), missing (a list of the manifests that the repository does not
  have), and indexes, a list of
    platform, manifest, version, index, differences
    layers, a list of layer, size, ztoc, spans, entries, files, bytes,
      fetchedBytes, seconds, differences
    prefetch, a list of the prefetch artifacts that are right: digest, size,
      layer, ranges (their number), spans (in all ranges)
  differences, where they are a list, hold layer, span, file, offset, what; the
  list is cut after 20, omitted tells how many more there are`,
		Example: `  soci-index-builder verify 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.4
  soci-index-builder verify --output json 127.0.0.1:5000/app:dev | jq .differences`,
		Args: takes(1, 1, "one image REF"),
	}
	registry.add(cmd)
	output.add(cmd)
	cmd.Flags().IntVar(&concurrency, "concurrency", 0, "layers worked on at once; 0 means the number of processors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if concurrency < 0 {
			return usageErrorf("invalid argument \"%d\" for \"--concurrency\" flag: must be 0 or more", concurrency)
		}
		repo, reference, err := registry.open(cmd, args[0])
		if err != nil {
			return err
		}
		desc, err := repo.Resolve(cmd.Context(), reference)
		if err != nil {
			return err
		}
		progress := newProgress(cmd.ErrOrStderr())
		result, err := verify.Image(cmd.Context(), repo, desc,
			verify.Options{Concurrency: concurrency, Progress: progress.layer})
		progress.end()
		if err != nil {
			return fmt.Errorf("verifying %s: %w", args[0], err)
		}
		if output == outputJSON {
			err = writeJSONLine(cmd.OutOrStdout(), newVerifyJSON(args[0], result))
		} else {
			err = writeVerifyText(cmd.OutOrStdout(), result)
		}
		if err != nil {
			return err
		}
		if n := result.Differences(); n > 0 {
			return fmt.Errorf("verifying %s: %w: %d found", args[0], verify.ErrDifference, n)
		}
		return nil
	}
	return cmd
}

func writeVerifyText(w io.Writer, r *verify.Report) error {
	p := &printer{w: w}
	for _, index := range r.Indexes {
		p.printf("%s: SOCI index %s %s\n", index.Platform, index.Version, index.Index)
		p.differences(index.Differences, index.Omitted)
		for _, l := range index.Layers {
			p.printf("  layer %s, %s: %d spans, %d entries, %d files, %s compared\n",
				l.Layer.Digest, bytesize.Format(l.Layer.Size), l.Spans, l.Entries, l.Files, bytesize.Format(l.Bytes))
			p.differences(l.Differences, l.Omitted)
		}
		for _, one := range index.Prefetch {
			p.printf("  prefetch artifact %s of layer %s: %d spans\n",
				one.Artifact.Digest, one.Layer, one.Spans)
		}
	}
	for _, node := range r.WithoutIndex {
		p.printf("%s: no SOCI index\n", node.Platform)
	}
	for _, node := range r.Missing {
		platform := cmp.Or(node.Platform, "unknown platform")
		p.printf("%s: the image manifest %s is not in the repository\n", platform, node.Digest)
	}
	var layers, spans, files int
	var size int64
	for _, l := range r.Layers() {
		layers, spans, files, size = layers+1, spans+l.Spans, files+l.Files, size+l.Bytes
	}
	verdict := "no difference"
	if n := r.Differences(); n > 0 {
		verdict = fmt.Sprintf("DIFFERENCES: %d", n)
	}
	p.printf("compared %d layers, %d spans, %d files, %s in %.1f s: %s\n", layers, spans, files, bytesize.Format(size),
		r.Seconds, verdict)
	return p.err
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) differences(all []verify.Difference, omitted int) {
	for _, d := range all {
		p.printf("  DIFFERENCE: %s\n", d)
	}
	if omitted > 0 {
		p.printf("  DIFFERENCE: and %d more\n", omitted)
	}
}

// The JSON output of verify; its field names are promised in the help text.
type (
	verifyJSON struct {
		Reference    string            `json:"reference"`
		Differences  int               `json:"differences"`
		Seconds      float64           `json:"seconds"`
		Indexes      []verifyIndexJSON `json:"indexes"`
		WithoutIndex []string          `json:"withoutIndex,omitempty"`
		Missing      []digest.Digest   `json:"missing,omitempty"`
	}

	verifyIndexJSON struct {
		Platform    string            `json:"platform"`
		Manifest    digest.Digest     `json:"manifest"`
		Version     string            `json:"version"`
		Index       digest.Digest     `json:"index"`
		Differences []differenceJSON  `json:"differences,omitempty"`
		Omitted     int               `json:"omitted,omitempty"`
		Layers      []verifyLayerJSON `json:"layers"`
		Prefetch    []prefetchJSON    `json:"prefetch,omitempty"`
	}

	prefetchJSON struct {
		Digest digest.Digest `json:"digest"`
		Size   int64         `json:"size"`
		Layer  digest.Digest `json:"layer"`
		Ranges int           `json:"ranges"`
		Spans  int64         `json:"spans"`
	}

	verifyLayerJSON struct {
		Layer        digest.Digest    `json:"layer"`
		Size         int64            `json:"size"`
		Ztoc         digest.Digest    `json:"ztoc"`
		Spans        int              `json:"spans"`
		Entries      int              `json:"entries"`
		Files        int              `json:"files"`
		Bytes        int64            `json:"bytes"`
		FetchedBytes int64            `json:"fetchedBytes"`
		Seconds      float64          `json:"seconds"`
		Differences  []differenceJSON `json:"differences,omitempty"`
		Omitted      int              `json:"omitted,omitempty"`
	}

	differenceJSON struct {
		Layer  digest.Digest `json:"layer,omitempty"`
		Span   *int          `json:"span,omitempty"`
		File   string        `json:"file,omitempty"`
		Offset *int64        `json:"offset,omitempty"`
		What   string        `json:"what"`
	}
)

func newVerifyJSON(ref string, r *verify.Report) verifyJSON {
	out := verifyJSON{Reference: ref, Differences: r.Differences(), Seconds: r.Seconds, Indexes: []verifyIndexJSON{}}
	for _, index := range r.Indexes {
		one := verifyIndexJSON{
			Platform: index.Platform, Manifest: index.Manifest, Version: index.Version, Index: index.Index,
			Differences: newDifferencesJSON(index.Differences), Omitted: index.Omitted, Layers: []verifyLayerJSON{},
		}
		for _, l := range index.Layers {
			one.Layers = append(one.Layers, verifyLayerJSON{
				Layer: l.Layer.Digest, Size: l.Layer.Size, Ztoc: l.Ztoc.Digest,
				Spans: l.Spans, Entries: l.Entries, Files: l.Files, Bytes: l.Bytes,
				FetchedBytes: l.FetchedBytes, Seconds: l.Seconds,
				Differences: newDifferencesJSON(l.Differences), Omitted: l.Omitted,
			})
		}
		for _, p := range index.Prefetch {
			one.Prefetch = append(one.Prefetch, prefetchJSON{p.Artifact.Digest, p.Artifact.Size, p.Layer, p.Ranges, p.Spans})
		}
		out.Indexes = append(out.Indexes, one)
	}
	for _, node := range r.WithoutIndex {
		out.WithoutIndex = append(out.WithoutIndex, node.Platform)
	}
	for _, node := range r.Missing {
		out.Missing = append(out.Missing, node.Digest)
	}
	return out
}

func newDifferencesJSON(all []verify.Difference) []differenceJSON {
	var out []differenceJSON
	for _, d := range all {
		one := differenceJSON{Layer: d.Layer, File: d.File, What: d.What}
		if d.Span >= 0 {
			one.Span = &d.Span
		}
		if d.Offset >= 0 {
			one.Offset = &d.Offset
		}
		out = append(out, one)
	}
	return out
}

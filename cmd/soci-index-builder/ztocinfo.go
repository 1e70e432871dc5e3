package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

func newZtocInfoCommand() *cobra.Command {
	var (
		output outputFlag
		full   fullFlag
		list   bool
	)
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Show the content of a zTOC, a file or - for standard input",
		Long: `Show the content of a zTOC, whichever tool wrote it.

With --output json, the output is one JSON object:
  version, buildTool, compression, compressedSize, uncompressedSize, spanSize,
  entryCount, spanCount, spans, a list of start, end (compressed offsets),
  outStart, outEnd (offsets in the archive; -1: to its end), digest
  and with --entries entries, a list of name, type, offset, size, linkname, mode
  (octal), uid, gid, uname, gname, modTime, devmajor, devminor, pax
Sizes and offsets are in bytes.`,
		Example: `  soci-index-builder ztoc info layer.ztoc
  soci-index-builder ztoc info --entries -o json layer.ztoc \
      | jq -r '.entries[] | select(.size > 1000000).name'`,
		Args: takes(1, 1, "one FILE"),
	}
	output.add(cmd)
	full.add(cmd)
	cmd.Flags().BoolVar(&list, "entries", false, "list the entries of the table of contents")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, name, err := openInput(cmd, args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		b, err := untilEnd(cmd.Context(), func() ([]byte, error) { return readZtoc(in, soci.MaxZtocSize) })
		if errors.Is(err, errNoZtoc) {
			return fmt.Errorf("reading %s as a zTOC: %w", name, err)
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		z, err := soci.ParseZtoc(b)
		if err != nil {
			return fmt.Errorf("reading %s as a zTOC: %w", name, err)
		}
		if output == outputJSON {
			return writeJSONLine(cmd.OutOrStdout(), newZtocJSON(z, list))
		}
		return writeZtocText(cmd.OutOrStdout(), z, list, full)
	}
	return cmd
}

// errNoZtoc: an input cannot be a zTOC, and is not read.
var errNoZtoc = errors.New("it is no zTOC")

// readZtoc reads a zTOC of at most so many bytes. A layer that is named by mistake
// can have any size, and is known by its first bytes.
func readZtoc(in io.Reader, most int64) ([]byte, error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > most {
			return nil, tooLargeForZtoc(most)
		}
	}
	r := bufio.NewReaderSize(in, 512)
	head, err := r.Peek(512)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if kind := layerKind(head); kind != "" {
		return nil, fmt.Errorf("%w, but %s, as layers are: \"ztoc create\" makes the zTOC of a layer", errNoZtoc, kind)
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, tooLargeForZtoc(most)
	}
	return b, err
}

func tooLargeForZtoc(most int64) error {
	return fmt.Errorf("%w: it has more than %s, the most that one can have", errNoZtoc, bytesize.Format(most))
}

// layerKind says what a layer begins with, empty for anything else. A zTOC begins
// with the place of its root table, which is a small number.
func layerKind(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return "compressed with gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "compressed with zstd"
	case len(head) == 512 && string(head[257:262]) == "ustar" && binary.LittleEndian.Uint32(head) >= 1<<12:
		return "a tar archive"
	}
	return ""
}

func writeZtocText(w io.Writer, z *soci.Ztoc, list bool, full fullFlag) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "version:\t%s\n", z.Version)
	fmt.Fprintf(t, "build tool:\t%s\n", z.BuildToolIdentifier)
	fmt.Fprintf(t, "compression:\t%s\n", z.Compression)
	fmt.Fprintf(t, "compressed size:\t%s\n", exactSize(z.CompressedSize))
	fmt.Fprintf(t, "uncompressed size:\t%s\n", exactSize(z.UncompressedSize))
	fmt.Fprintf(t, "span size:\t%s\n", exactSize(z.SpanSize))
	fmt.Fprintf(t, "spans:\t%d\n", len(z.Checkpoints))
	fmt.Fprintf(t, "entries:\t%d\n", len(z.Entries))
	if !list {
		return t.Flush()
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	table := full.table(w, "")
	table.Head("TYPE", "MODE", "OWNER", "OFFSET", "SIZE", "TIME", "NAME")
	for _, e := range z.Entries {
		name := fmt.Sprintf("%q", e.Name)
		if e.Linkname != "" {
			name += fmt.Sprintf(" -> %q", e.Linkname)
		}
		table.Row(e.Type, fmt.Sprintf("%04o", e.Mode), fmt.Sprintf("%d/%d", e.UID, e.GID),
			strconv.FormatInt(e.Offset, 10),
			strconv.FormatInt(e.Size, 10), e.ModTime.UTC().Format(time.RFC3339), name)
	}
	return table.Flush()
}

// exactSize is a size for people, with all its bytes.
func exactSize(n int64) string {
	if text := bytesize.Format(n); n >= 1<<10 {
		return fmt.Sprintf("%s (%d bytes)", text, n)
	}
	return fmt.Sprintf("%d bytes", n)
}

// The JSON output of ztoc info; its field names are promised in the help text.
type (
	ztocJSON struct {
		Version          string           `json:"version"`
		BuildTool        string           `json:"buildTool"`
		Compression      soci.Compression `json:"compression"`
		CompressedSize   int64            `json:"compressedSize"`
		UncompressedSize int64            `json:"uncompressedSize"`
		SpanSize         int64            `json:"spanSize"`
		EntryCount       int              `json:"entryCount"`
		SpanCount        int              `json:"spanCount"`
		Spans            []ztocSpanJSON   `json:"spans"`
		Entries          []entryJSON      `json:"entries,omitempty"`
	}

	ztocSpanJSON struct {
		Start    int64         `json:"start"`
		End      int64         `json:"end"`
		OutStart int64         `json:"outStart"`
		OutEnd   int64         `json:"outEnd"`
		Digest   digest.Digest `json:"digest"`
	}

	entryJSON struct {
		Name     string            `json:"name"`
		Type     string            `json:"type"`
		Offset   int64             `json:"offset"`
		Size     int64             `json:"size"`
		Linkname string            `json:"linkname,omitempty"`
		Mode     string            `json:"mode"`
		UID      int               `json:"uid"`
		GID      int               `json:"gid"`
		Uname    string            `json:"uname,omitempty"`
		Gname    string            `json:"gname,omitempty"`
		ModTime  time.Time         `json:"modTime"`
		Devmajor int64             `json:"devmajor,omitempty"`
		Devminor int64             `json:"devminor,omitempty"`
		PAX      map[string]string `json:"pax,omitempty"`
	}
)

func newZtocJSON(z *soci.Ztoc, list bool) ztocJSON {
	out := ztocJSON{
		Version: z.Version, BuildTool: z.BuildToolIdentifier, Compression: z.Compression,
		CompressedSize: z.CompressedSize, UncompressedSize: z.UncompressedSize, SpanSize: z.SpanSize,
		EntryCount: len(z.Entries), SpanCount: len(z.Checkpoints), Spans: []ztocSpanJSON{},
	}
	for _, s := range z.Spans() {
		out.Spans = append(out.Spans, ztocSpanJSON{s.Start, s.End, s.OutStart, s.OutEnd, s.Digest})
	}
	if !list {
		return out
	}
	for _, e := range z.Entries {
		out.Entries = append(out.Entries, entryJSON{
			Name: e.Name, Type: e.Type, Offset: e.Offset, Size: e.Size, Linkname: e.Linkname,
			Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Uname: e.Uname, Gname: e.Gname,
			ModTime: e.ModTime.UTC(), Devmajor: e.Devmajor, Devminor: e.Devminor, PAX: e.PAX,
		})
	}
	return out
}

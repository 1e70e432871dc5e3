package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/soci"
)

// The most of each list that is written.
const (
	maxMissingNamed = 5    // files that were not found
	maxRuns         = 8    // runs of spans of a layer
	maxLabelWritten = 2000 // bytes of a label
)

func (c *estimateCommand) writeText(w io.Writer, ref string, images []*estimate.Image) error {
	p := newPrinter(w)
	for n, image := range images {
		if n > 0 {
			p.printf("\n")
		}
		c.image(p, ref, image)
	}
	return p.err
}

func (c *estimateCommand) image(p *printer, ref string, image *estimate.Image) {
	p.printf("%s, %s: ", ref, image.Platform)
	switch {
	case image.Source == estimate.SourceBuilt:
		p.printf("it has no SOCI index; zTOCs were built in memory\n")
	case image.Tag != "":
		p.printf("SOCI index %s %s, under the tag %s\n", image.Source, c.full.digest(image.Index.Digest), image.Tag)
	default:
		p.printf("SOCI index %s %s\n", image.Source, c.full.digest(image.Index.Digest))
	}
	lazily := 0
	for _, l := range image.Layers {
		if l.Ztoc != nil {
			lazily++
		}
	}
	if image.LeftAlone != "" {
		p.printf("index would leave it alone: %s\n", image.LeftAlone)
	}
	if lazily == 0 {
		p.printf("no layer has a zTOC: each is fetched whole, and the files cannot be looked up\n")
	} else {
		p.files(image.Files)
	}
	p.layers(c.full, image)
	c.starts(p, image)
	if lazily > 0 && !strings.HasPrefix(image.Platform, "windows") { // no client there prefetches
		c.prefetch(p, image)
	}
}

func (p *printer) files(f estimate.Files) {
	p.printf("%d asked for: %d found (%s)", f.Asked, f.Found, count(f.Different, "file"))
	switch f.Directories {
	case 0:
	case 1:
		p.printf(", 1 directory")
	default:
		p.printf(", %d directories", f.Directories)
	}
	if f.NotFound > 0 {
		p.printf(", %d not found", f.NotFound)
	}
	if f.Kernel > 0 {
		p.printf(" (%d below /proc, /sys or /dev)", f.Kernel)
	}
	p.printf("\n")
	for n, m := range f.Missing {
		if n == maxMissingNamed {
			p.printf("  and %d more not found\n", f.NotFound-n)
			return
		}
		p.printf("  %.200q: %s\n", m.Path, m.Detail)
	}
}

func (p *printer) layers(full fullFlag, image *estimate.Image) {
	p.printf("\n")
	t := full.table(p.w, "")
	t.Head("LAYER", "SIZE", "ZTOC", "FILES", "SPANS", "FETCHED", "WHICH")
	for _, l := range image.Layers {
		if l.Ztoc == nil {
			why := ""
			if l.Skipped != "" {
				why = ": " + l.Skipped.Text()
			}
			t.Row(full.digest(l.Layer), bytesize.Format(l.Size), "none", "", "", bytesize.Format(l.Size),
				"the whole layer"+why)
			continue
		}
		t.Row(full.digest(l.Layer), bytesize.Format(l.Size), bytesize.Format(l.Ztoc.Size), strconv.Itoa(l.Files),
			fmt.Sprintf("%d of %d", l.ReadSpans, l.SpanCount), bytesize.Format(l.ReadBytes), runs(l.Spans))
	}
	p.table(t)
}

func (p *printer) table(t *terminal.Table) {
	if err := t.Flush(); p.err == nil {
		p.err = err
	}
}

// runs are the spans that are read, as "0, 3-5".
func runs(spans []estimate.Span) string {
	var all []string
	for i := 0; i < len(spans); {
		if !spans[i].Read {
			i++
			continue
		}
		last := i
		for last+1 < len(spans) && spans[last+1].Read && spans[last+1].Span == spans[last].Span+1 {
			last++
		}
		one := fmt.Sprint(spans[i].Span)
		if last > i {
			one += fmt.Sprintf("-%d", spans[last].Span)
		}
		all = append(all, one)
		i = last + 1
	}
	if len(all) == 0 {
		return "none"
	}
	if len(all) > maxRuns {
		all = append(all[:maxRuns], "...")
	}
	return strings.Join(all, ", ")
}

func (c *estimateCommand) starts(p *printer, image *estimate.Image) {
	p.printf("\n")
	t := c.full.table(p.w, "")
	t.Head("START", "FETCHED", "OF IMAGE", "REQUESTS", "TURNS", "SECONDS")
	for _, row := range []struct {
		name  string
		start estimate.Start
	}{
		{"full pull", image.Full}, {"lazy start", image.Lazy}, {"lazy start with prefetch", image.Prefetch},
	} {
		t.Row(row.name, bytesize.Format(row.start.Bytes),
			fmt.Sprintf("%.1f %%", 100*float64(row.start.Bytes)/float64(max(image.Full.Bytes, 1))),
			strconv.Itoa(row.start.Requests), strconv.Itoa(row.start.Turns), fmt.Sprintf("%.2f", row.start.Seconds))
	}
	p.table(t)
	p.printf("Seconds are bytes at %s/s plus turns at %v (--bandwidth, --latency);\n"+
		"unpacking, decoding and the program's own time are not in it.\n", bytesize.Format(c.bandwidth.bytes),
		time.Duration(c.latency))
}

// prefetch says how these files are prefetched.
func (c *estimateCommand) prefetch(p *printer, image *estimate.Image) {
	p.printf("\n")
	for _, limit := range image.PrefetchLimits {
		p.printf("beyond what is prefetched: %s\n", limit)
	}
	switch {
	case c.prefetchFile != "":
		p.printf("to have them prefetched: index --prefetch-files-json %s\n", c.prefetchFile)
	case len(image.PrefetchFiles) == 0, len(image.PrefetchFiles) > soci.MaxPrefetchPatterns:
	case len(image.Label) > maxLabelWritten || image.Label == "":
		p.asIs("to have them prefetched: index --prefetch-files-json FILE, with the file that\n" +
			"--write-prefetch-files FILE writes\n")
	default:
		b, err := json.Marshal(image.PrefetchFiles)
		if err != nil {
			panic("internal error: " + err.Error())
		}
		p.printf("to have them prefetched: index --prefetch-files-json FILE, with this file\n")
		p.asIs("  " + string(b) + "\n")
	}
	if image.Label != "" && len(image.Label) <= maxLabelWritten {
		p.printf("or, in the Dockerfile, with the stack's parameter Prefetch or index --prefetch-label\n")
		p.asIs(fmt.Sprintf("  LABEL %s=\"%s\"\n", soci.LabelPrefetch, dockerfileText.Replace(image.Label)))
	}
}

// dockerfileText writes a text between the double quotes of a Dockerfile.
var dockerfileText = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`)

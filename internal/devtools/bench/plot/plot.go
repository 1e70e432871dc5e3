// Package plot draws the tables of the benchmark's document, so that pictures
// and tables cannot disagree. Start with [Draw].
package plot

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"

	"soci-index-builder/internal/devtools/bench/table"
)

//go:generate go run ../../cmd/mkplots ../../../../docs/performance.md

// Folder is where the pictures are, beside the document.
const Folder = "images"

// ErrTable: a table of the document is not what a picture is made of.
var ErrTable = errors.New("table")

// picture is one to draw: bars in groups, one group for each label.
type picture struct {
	labels         []string
	ours, upstream []float64
}

// Draw draws the pictures that a document with the benchmark's tables shows, into
// the folder beside it. The same document leads to the same bytes. The error is
// ErrTable, table.ErrMarkers or that of a file.
func Draw(document string) error {
	content, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	folder := filepath.Join(filepath.Dir(document), Folder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, one := range []struct {
		file string
		read func([]byte) (*picture, error)
	}{{"throughput.svg", throughput}, {"memory.svg", memory}, {"seconds.svg", seconds}} {
		if !bytes.Contains(content, []byte("("+Folder+"/"+one.file+")")) {
			continue
		}
		p, err := one.read(content)
		if err != nil {
			return fmt.Errorf("%s: %w", document, err)
		}
		svg, err := p.svg()
		if err != nil {
			return fmt.Errorf("%s: %w", one.file, err)
		}
		if err := os.WriteFile(filepath.Join(folder, one.file), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// throughput is how many compressed MB of each layer of real files are read in a
// second on two processors.
func throughput(document []byte) (*picture, error) {
	p := &picture{}
	return p, rows(document, "layers", func(cell func(string) string) error {
		size, err := number(cell("compressed MB"))
		ours, err1 := number(cell("wall s, ours, 2 cores"))
		upstream, err2 := number(cell("wall s, upstream"))
		if err := errors.Join(err, err1, err2); err != nil {
			return err
		}
		p.add(cell("layer")+", "+cell("compressed MB")+" MB", size/ours, size/upstream)
		return nil
	})
}

// memory is the peak in MB of layers by their uncompressed size.
func memory(document []byte) (*picture, error) {
	p := &picture{}
	return p, rows(document, "sizes", func(cell func(string) string) error {
		ours, err1 := number(cell("peak MB"))
		upstream, err2 := number(cell("upstream, peak MB"))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		p.add(cell("uncompressed MB")+" MB", ours, upstream)
		return nil
	})
}

// seconds is how long images take, by their compressed size. Upstream's rows
// follow ours.
func seconds(document []byte) (*picture, error) {
	p := &picture{}
	ours := 0.0
	return p, rows(document, "layer-count", func(cell func(string) string) error {
		upstream := strings.HasSuffix(cell("layers"), ", upstream")
		s, err := number(cell("wall s"))
		switch {
		case err != nil:
			return err
		case !upstream:
			ours = s
		default:
			p.add(cell("compressed MB")+" MB", ours, s)
		}
		return nil
	})
}

func (p *picture) add(label string, ours, upstream float64) {
	p.labels = append(p.labels, label)
	p.ours, p.upstream = append(p.ours, ours), append(p.upstream, upstream)
}

// rows calls do for each row of the first table of a section.
func rows(document []byte, section string, do func(cell func(column string) string) error) error {
	columns, all, err := table.Read(document, section)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%w %s: it has no rows", ErrTable, section)
	}
	for _, row := range all {
		var missing error
		err := do(func(column string) string {
			for i, c := range columns {
				if c == column {
					return row[i]
				}
			}
			missing = fmt.Errorf("there is no column %q", column)
			return ""
		})
		if err := errors.Join(missing, err); err != nil {
			return fmt.Errorf("%w %s, row %s: %w", ErrTable, section, row[0], err)
		}
	}
	return nil
}

// number reads what package table writes.
func number(s string) (float64, error) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil || f <= 0 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return f, nil
}

func (p *picture) svg() ([]byte, error) {
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 760, Height: 320})
	o := charts.NewBarChartOptionWithData([][]float64{p.ours, p.upstream})
	o.XAxis.Labels = p.labels
	o.Legend.SeriesNames = []string{"SOCI Index Builder", "upstream's library"}
	o.Legend.Offset = charts.OffsetRight
	show := true
	for i := range o.SeriesList {
		o.SeriesList[i].Label.Show = &show
		o.SeriesList[i].Label.ValueFormatter = short
	}
	o.ValueFormatter = short
	if err := painter.BarChart(o); err != nil {
		return nil, err
	}
	return painter.Bytes()
}

// short writes a number with two digits that count.
func short(f float64) string {
	switch {
	case f >= 10 || f == 0:
		return strconv.FormatFloat(math.Round(f), 'f', 0, 64)
	case f >= 1:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

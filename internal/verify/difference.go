package verify

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Difference is one thing that is not as it should be, and where.
type Difference struct {
	Layer  digest.Digest // empty if it is not in a layer
	Span   int           // -1 if it is not in a span
	File   string        // what the layer holds there, for people; may be empty
	Offset int64         // in the uncompressed archive; -1 if it is not at one
	What   string
}

func (d Difference) String() string {
	var where []string
	if d.Layer != "" {
		where = append(where, "layer "+d.Layer.String())
	}
	if d.Span >= 0 {
		where = append(where, fmt.Sprintf("span %d", d.Span))
	}
	if d.File != "" {
		where = append(where, d.File)
	}
	if d.Offset >= 0 {
		where = append(where, fmt.Sprintf("offset %d", d.Offset))
	}
	if len(where) == 0 {
		return d.What
	}
	return strings.Join(where, ", ") + ": " + d.What
}

// maxDifferences are reported for one layer; a wrong zTOC can have as many as
// the layer has files.
const maxDifferences = 20

// differences collects those of one layer or one SOCI index.
type differences struct {
	list    []Difference
	omitted int
}

func (d *differences) add(one Difference) {
	if len(d.list) == maxDifferences {
		d.omitted++
		return
	}
	d.list = append(d.list, one)
}

// addf adds one that has no place in the archive.
func (d *differences) addf(layer digest.Digest, format string, args ...any) {
	d.add(Difference{Layer: layer, Span: -1, Offset: -1, What: fmt.Sprintf(format, args...)})
}

// plain is the text of an ErrDifference that stands in a Difference.
func plain(err error) string { return strings.TrimPrefix(err.Error(), ErrDifference.Error()+": ") }

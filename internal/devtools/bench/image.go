package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/devtools/bench/child"
	"soci-index-builder/internal/devtools/bench/corpus"
	"soci-index-builder/internal/devtools/bench/table"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type indexIn struct {
	Ref          string
	MinLayerSize int64
}

type indexOut struct {
	Index    digest.Digest // of the SOCI index
	Layers   int           // with a zTOC
	Download float64       // seconds, where it is a step of its own
}

// indexImage is our whole way, from the reference to the pushed SOCI index.
func indexImage(ctx context.Context, in json.RawMessage) (any, error) {
	var q indexIn
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	repo, err := ecrclient.New(q.Ref, ecrclient.WithPlainHTTP(true))
	if err != nil {
		return nil, err
	}
	image, err := repo.Resolve(ctx, repo.Reference())
	if err != nil {
		return nil, err
	}
	result, err := soci.IndexImage(ctx, repo, repo, image, soci.Options{MinLayerSize: q.MinLayerSize})
	if err != nil {
		return nil, err
	}
	if len(result.Manifests) != 1 || result.Manifests[0].Outcome != soci.OutcomeIndexed {
		return nil, fmt.Errorf("the outcome is %s", result.Outcome())
	}
	out := indexOut{Index: result.Manifests[0].Index.Digest}
	for _, l := range result.Manifests[0].Layers {
		if l.Indexed() {
			out.Layers++
		}
	}
	return out, nil
}

// upstreamIndex is upstream's way, where this build has it.
var upstreamIndex child.Func

// imageRow is one way to index an image.
type imageRow struct {
	title  string
	work   string
	slow   bool
	layers []*corpus.Layer
	rounds int
}

type imageResult struct {
	child.Usage
	out indexOut
}

// indexImages measures each row, in turn, on registries that know only the
// images.
func (r *runner) indexImages(ctx context.Context, rows []imageRow) (_ []imageResult, err error) {
	dir, err := os.MkdirTemp(r.temp, "registry-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rounds := 0
	for i, row := range rows {
		rounds = max(rounds, row.rounds)
		for round := range row.rounds {
			if err := writeRepository(filepath.Join(dir, repository(i, round)), row.layers); err != nil {
				return nil, err
			}
		}
		for _, l := range row.layers {
			if err := warm(l.Path); err != nil {
				return nil, err
			}
		}
	}
	registry, err := child.Start(ctx, workRegistry, registryIn{dir, r.Speed}, child.Options{})
	if err != nil {
		return nil, err
	}
	defer func() {
		_, stopErr := registry.Stop(nil)
		err = errors.Join(err, stopErr)
	}()
	var hosts registryHosts
	if err := registry.Receive(&hosts); err != nil {
		return nil, err
	}
	results := make([]imageResult, len(rows))
	for round := range rounds {
		for i, row := range rows {
			if round >= row.rounds {
				continue
			}
			host := hosts.Fast
			if row.slow {
				host = hosts.Slow
			}
			r.Progress("image of %d layers: %s, round %d of %d", len(row.layers), row.title, round+1, row.rounds)
			in := indexIn{Ref: host + "/" + repository(i, round) + ":" + tag, MinLayerSize: r.MinLayerSize}
			u, err := child.Run(ctx, row.work, in, &results[i].out, child.Options{TempDir: r.temp, Processors: r.cores})
			if err != nil {
				return nil, err
			}
			m := measurement{Usage: results[i].Usage}
			m.add(u, round == 0)
			results[i].Usage = m.Usage
		}
	}
	return results, nil
}

func repository(row, round int) string { return fmt.Sprintf("bench/row-%d-round-%d", row, round) }

// imageFigures are what other sections want to know.
type imageFigures struct {
	peak int64 // bytes, of ours
}

// The reference for the whole image, measured elsewhere on three layers like
// ours in a full run.
const imageReference = "Reference from another machine: upstream's `soci convert --standalone` takes 53.6 s (52.5 s " +
	"of CPU), 354 MB of memory and 2.9 GB of temporary files for three such layers of 1.52 GB in all, download and " +
	"upload not counted."

// image indexes an image of the real layers, registry and all.
func (r *runner) image(ctx context.Context) ([]*table.Table, error) {
	layers, err := r.realLayers(ctx)
	if err != nil {
		return nil, err
	}
	var size, uncompressed int64
	for _, l := range layers {
		size, uncompressed = size+l.Size, uncompressed+l.Uncompressed
	}
	rows := []imageRow{
		{title: "ours", work: workIndex, layers: layers, rounds: r.Rounds},
		{title: fmt.Sprintf("ours, each connection at %s/s", bytesize.Format(r.Speed)), work: workIndex, slow: true,
			layers: layers, rounds: r.Rounds},
	}
	if upstreamIndex != nil {
		rows = append(rows, imageRow{title: "upstream's index builder", work: workUpstream, layers: layers,
			rounds: min(r.Rounds, matrixRounds)})
	}
	results, err := r.indexImages(ctx, rows)
	if err != nil {
		return nil, err
	}
	t := &table.Table{
		Title: fmt.Sprintf("A whole image of %d layers, %s MB, from and to a registry on loopback; %d cores for all",
			len(layers), table.MB(size), r.cores),
		Columns: []string{"", "wall s", "CPU s", "compressed MB/s", "peak MB", "written to disk MB", "wall, × upstream",
			"CPU, × upstream"},
		Notes: []string{
			"Download and upload are counted for everybody. The registry is a process of its own, whose CPU is not " +
				"counted, but it has the same cores.",
		},
	}
	var up imageResult
	if len(rows) == 3 {
		up = results[2]
		if ours := results[0].out.Index; ours != up.out.Index {
			return nil, fmt.Errorf("%w: the SOCI index is %s or %s", ErrDisagree, ours, up.out.Index)
		}
		t.Notes = append(t.Notes,
			fmt.Sprintf("Upstream's index builder works on containerd's content store, as its command does; bringing "+
				"the layers there took %.1f s of the last round. Both SOCI indexes are the same, byte for byte.",
				up.out.Download))
	} else {
		t.Notes = append(t.Notes, "Upstream is left out: this build has no cgo.")
	}
	t.Notes = append(t.Notes, imageReference)
	for i, m := range results {
		t.Add(rows[i].title, table.Seconds(m.Wall), table.Seconds(m.CPU), table.Rate(size, m.Wall),
			table.MB(m.PeakMemory), disk(m.DiskWritten),
			table.Ratio(up.Wall, m.Wall), table.Ratio(up.CPU, m.CPU))
	}
	r.imageRun = &imageFigures{peak: results[0].PeakMemory}
	return []*table.Table{t}, nil
}

func disk(n int64) string {
	if n < 0 {
		return table.None
	}
	if n == 0 {
		return "0"
	}
	return table.MB(n)
}

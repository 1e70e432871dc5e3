package demo

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

	"soci-index-builder/internal/estimate"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// biggest returns the layer with the most compressed bytes that has a zTOC.
func biggest(report *verify.Report) *verify.LayerReport {
	var big *verify.LayerReport
	for _, l := range report.Layers() {
		if big == nil || l.Layer.Size > big.Layer.Size {
			big = l
		}
	}
	return big
}

// lazyRead reads one file out of the biggest layer, and returns its path.
func (r *run) lazyRead(ctx context.Context, repo *ecrclient.Repository, report *verify.Report) (string, error) {
	big := biggest(report)
	z, err := verify.FetchZtoc(ctx, repo, big.Ztoc)
	if err != nil {
		return "", err
	}
	lazy, err := verify.NewLazyLayer(repo, big.Layer, z)
	if err != nil {
		return "", err
	}
	file, ok := middleFile(z)
	if !ok {
		r.step(6, "The biggest layer has no file with content to read")
		return "", nil
	}
	r.step(6, "Read one file out of the biggest layer, without the rest of it")
	fetched, err := lazy.ReadFile(ctx, file, io.Discard)
	if err != nil {
		return "", err
	}
	r.printf("   %q, %s: fetched %s of %s, %.1f %%, and %s of zTOC\n", file.Name, bytesize.Format(file.Size),
		bytesize.Format(fetched), bytesize.Format(big.Layer.Size), 100*float64(fetched)/float64(big.Layer.Size),
		bytesize.Format(big.Ztoc.Size))
	return path.Join("/", file.Name), nil
}

// middleFile returns the regular file with content that begins nearest to the
// middle of the archive.
func middleFile(z *soci.Ztoc) (soci.Entry, bool) {
	var best soci.Entry
	found := false
	distance := func(e soci.Entry) int64 { return max(e.Offset-z.UncompressedSize/2, z.UncompressedSize/2-e.Offset) }
	for _, e := range z.Entries {
		if e.Type == "reg" && e.Size > 0 && (!found || distance(e) < distance(best)) {
			best, found = e, true
		}
	}
	return best, found
}

// estimate compares a full pull of the image with a lazy start that reads the file
// that was read before.
func (r *run) estimate(ctx context.Context, repo *ecrclient.Repository, found *inspect.Versions, report *verify.Report,
	file string) error {
	if file == "" {
		return nil
	}
	network := estimate.DefaultNetwork
	r.step(7, "Compare a pull of the whole image with a container start that reads only this file")
	images, err := estimate.Run(ctx, repo, found, estimate.Options{Files: []string{file}, Network: network})
	if errors.Is(err, estimate.ErrNoFile) {
		r.printf("   no container can read it: a higher layer removes it\n")
		return nil
	}
	if err != nil {
		return err
	}
	of := images[0] // that of the biggest layer, if there are several
	for _, image := range images {
		if slices.ContainsFunc(image.Layers,
			func(l estimate.Layer) bool { return l.Layer == biggest(report).Layer.Digest }) {
			of = image
			break
		}
	}
	for _, row := range []struct {
		name  string
		start estimate.Start
	}{{"full pull", of.Full}, {"lazy start", of.Lazy}} {
		r.printf("   %-11s %10s  %5.1f %%  %5.2f s\n", row.name+":", bytesize.Format(row.start.Bytes),
			100*float64(row.start.Bytes)/float64(max(of.Full.Bytes, 1)), row.start.Seconds)
	}
	r.paragraph("The seconds are estimated for %s/s and %v a request, without unpacking and the program's own time; "+
		"\"estimate\" does that for your images, and the files that a start of them reads",
		bytesize.Format(network.Bandwidth), network.Latency)
	return nil
}

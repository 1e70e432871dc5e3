//go:build conformance && cgo

package contender

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime/debug"
	"time"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"

	"soci-index-builder/pkg/soci"
)

func init() {
	all[Upstream] = upstream
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/awslabs/soci-snapshotter" {
				Versions = append(Versions, "soci-snapshotter "+m.Version)
			}
		}
	}
}

func upstream(in Input) (func() (Output, error), error) {
	// It writes modification times in the local zone.
	time.Local = time.UTC
	algorithm := compression.Gzip
	if in.Plain {
		algorithm = compression.Uncompressed
	}
	z, err := ztoc.NewBuilder(soci.BuildToolIdentifier).BuildZtoc(in.Path, soci.DefaultSpanSize,
		ztoc.WithCompression(algorithm))
	if err != nil {
		return nil, err
	}
	r, desc, err := ztoc.Marshal(z)
	if err != nil {
		return nil, err
	}
	return func() (Output, error) {
		h := sha256.New()
		_, err := io.Copy(h, r)
		return Output{
			Ztoc: hex.EncodeToString(h.Sum(nil)), ZtocSize: desc.Size, Spans: int(z.MaxSpanID) + 1,
			Entries: len(z.FileMetadata),
		}, err
	}, nil
}

package soci

import (
	"errors"
	"runtime"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options of IndexImage. The zero value is the default throughout.
type Options struct {
	// SpanSize in uncompressed bytes. The default is DefaultSpanSize.
	SpanSize int64

	// MinLayerSize in compressed bytes: a layer of exactly this size is
	// indexed, a smaller one is not. The default is DefaultMinLayerSize; 1
	// indexes every layer.
	MinLayerSize int64

	// BuildToolIdentifier names the output format in zTOCs and SOCI indexes.
	// The default is BuildToolIdentifier.
	BuildToolIdentifier string

	// IndexVersion is V1, V2 or Both. The default is V1.
	IndexVersion IndexVersion

	// Tag is the tag under which the image was pushed, for V2. The default is
	// none: an untagged image gets no SOCI-enabled image.
	Tag string

	// TagSuffix is appended to Tag for the tag of the SOCI-enabled image. The
	// default is DefaultTagSuffix.
	TagSuffix string

	// TagUnindexed makes the suffixed tag even if no layer of the image can be
	// indexed: for an image index that lists the original manifests and is
	// annotated AnnotationUnindexed. The default is not to change the tag.
	TagUnindexed bool

	// Platforms limits the SOCI indexes to the image manifests of these
	// platforms, as "os/arch[/variant]". The default is every platform of the
	// image. A platform that the image does not have is an error. A
	// SOCI-enabled image has the other platforms too, without a SOCI index.
	Platforms []string

	// Choice limits the SOCI indexes as Platforms does, also by "os" alone, but an
	// image that has none of the platforms is no error: it is left alone as
	// OutcomePlatformNotChosen. A SOCI index that the SOCI-enabled image under the
	// suffixed tag has for another platform stays. The default is every platform.
	Choice []string

	// Catalog is searched for zTOCs to reuse. The default is none: every layer
	// is read.
	Catalog Catalog

	// Prefetch names files that clients may fetch before a container starts: a
	// prefetch artifact of each layer that has some is listed in the SOCI indexes
	// of every image manifest. Each is a path, with or without a slash in front,
	// in which a component ** stands for any number of directories, and * for any
	// part of a name; a path that a layer has is that file, whatever it contains.
	// There may be MaxPrefetchPatterns of MaxPrefetchPattern bytes. The default is
	// none.
	Prefetch []string

	// PrefetchLabel adds, for each image manifest, the files that LabelPrefetch in
	// its config names. The default is not to heed the label.
	PrefetchLabel bool

	// Force reads every layer, whatever Catalog has, and pushes everything
	// without first asking the Destination whether it exists; AlreadyThere and
	// OutcomeAlreadyTagged are then not reported. It does not move tags that
	// must not be moved.
	Force bool

	// Concurrency is the number of layers processed at once. The default is the
	// number of processors available.
	Concurrency int

	// LayerWorkers is how many goroutines may decompress one gzip layer of 16
	// MiB or more, while processors are idle; all layers together use no more
	// than there are. What is built is the same. Their buffers are within
	// Limits.MaxMemory, and are given back when layers need it themselves. The
	// default is the number of processors; 1 has each layer decompressed by one.
	LayerWorkers int

	// Limits bound the resources that an image may use. See Limits for the
	// defaults.
	Limits Limits

	// DryRun builds everything and pushes nothing. The Destination may be nil; one
	// that is a Tagger tells what would become of the suffixed tag.
	DryRun bool

	// Progress, if set, is called from several goroutines at once with the
	// compressed bytes of a layer that have been read so far; at the end of the
	// layer n is layer.Size. It does not reach that for a layer whose first
	// bytes show that it cannot be indexed, and is not called for a layer whose
	// zTOC is reused.
	Progress func(layer ocispec.Descriptor, n int64)

	// Built, if set, is called from several goroutines at once with the zTOC of each
	// layer that was read, which it must not keep. Its error fails the image.
	Built func(layer ocispec.Descriptor, z *Ztoc) error

	tagged   bool              // the image was pushed under a tag, whether or not one with a suffix can be made
	prefetch []prefetchPattern // Prefetch

	parallel parallelism // shared by all layers

	noTag string // why there is no SOCI-enabled image for want of a tag
}

func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"SpanSize", o.SpanSize},
		{"MinLayerSize", o.MinLayerSize},
		{"Concurrency", int64(o.Concurrency)},
		{"LayerWorkers", int64(o.LayerWorkers)},
	} {
		if f.v < 0 {
			return o, invalidOption("%s is %d, not 0 (the default) or more", f.name, f.v)
		}
	}
	var err error
	if o.Limits, err = o.Limits.withDefaults(); err != nil {
		return o, err
	}
	if o.prefetch, err = parsePrefetchAll(o.Prefetch); err != nil {
		return o, invalidOption("%w", err)
	}
	orDefault(&o.IndexVersion, V1)
	if _, err := ParseIndexVersion(string(o.IndexVersion)); err != nil {
		return o, err
	}
	for _, p := range o.Choice {
		if _, err := parseChoice(p); err != nil {
			return o, err
		}
	}
	orDefault(&o.TagSuffix, DefaultTagSuffix)
	o.tagged = o.tagged || o.Tag != ""
	o.noTag = "the image has no tag to which the suffix could be added"
	if o.IndexVersion.v2() && o.Tag != "" {
		_, err := enabledTag(o.Tag, o.TagSuffix)
		switch {
		case errors.Is(err, errTagTooLong) && o.IndexVersion == Both:
			// V1 is still possible.
			o.Tag, o.noTag = "", err.Error()
		case err != nil:
			return o, err
		}
	}
	orDefault(&o.SpanSize, DefaultSpanSize)
	orDefault(&o.MinLayerSize, DefaultMinLayerSize)
	orDefault(&o.BuildToolIdentifier, BuildToolIdentifier)
	orDefault(&o.Concurrency, runtime.GOMAXPROCS(0))
	if o.parallel.processors == nil {
		o.parallel = newParallelism()
	}
	orDefault(&o.LayerWorkers, o.parallel.processors.max)
	if o.Force {
		o.Catalog = nil
	}
	if o.Progress == nil {
		o.Progress = func(ocispec.Descriptor, int64) {}
	}
	return o, nil
}

package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/text/plural"
	"soci-index-builder/pkg/soci"
)

// Options of a Survey. A field left zero has its default.
type Options struct {
	// Rules choose the images. Their zero value chooses none.
	Rules filters.Rules

	// IndexVersion is what an image should have. The default is soci.Both.
	IndexVersion soci.IndexVersion

	// MinLayerSize is as in soci.Options.
	MinLayerSize int64

	// TagUnindexed says that also an image with no layer to index should have the
	// suffixed tag, as far as IndexVersion asks for SOCI-enabled images. The
	// default is that it needs none.
	TagUnindexed bool

	// Platforms are the Choice of soci.Options.
	Platforms []string

	// BuildTool is the identifier by which this tool's SOCI indexes are known.
	// The default is soci.BuildToolIdentifier. With AnyTool those of every
	// tool count.
	BuildTool string
	AnyTool   bool

	// Tags limits a repository to these tags; a repository that is not there
	// is not limited. A tag that the repository does not have is ErrNoTag. The
	// default is none.
	Tags map[string][]string

	// Since leaves out what was pushed before, or at a time that the registry
	// does not tell. The default is to leave out nothing.
	Since time.Time

	// Deployed is when the stack came to be, to say that an image was pushed
	// before. The default is no such time.
	Deployed time.Time

	// All returns also what is not chosen, artifacts among it. The default is
	// the images that the rules choose.
	All bool

	// Deep has the zTOCs of SOCI indexes read; see soci.NewChecker. The default
	// is to ask for their existence and size.
	Deep bool

	// Concurrency is the number of images looked at at once. The default is 8.
	Concurrency int

	// Progress, if set, is called now and then, by one goroutine.
	Progress func(Progress)
}

// Progress of a Survey.
type Progress struct {
	Repositories int // listed so far
	Images       int // listed so far that are to be looked at
	Done         int // of these
}

// ErrNoTag: the repository does not have the tag.
var ErrNoTag = errors.New("no such tag")

func (o Options) withDefaults() Options {
	if o.IndexVersion == "" {
		o.IndexVersion = soci.Both
	}
	if o.BuildTool == "" {
		o.BuildTool = soci.BuildToolIdentifier
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return o
}

// queueLength is how many images may be waiting for one before them to be
// finished.
const queueLength = 256

// Survey returns the state of the images of a source: by repository, within it
// in the order of Source.Images, a record for each tag. Several are examined at
// once; the order does not depend on it. An image deleted in the meantime is
// left out.
//
// An error comes with a Record that names the repository, and the rest of this
// repository is left out; the next one follows. An error with no repository
// ends the survey.
func Survey(ctx context.Context, src Source, o Options) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		s := &survey{src: src, o: o.withDefaults(), queue: make(chan *task, queueLength)}
		s.running.Go(func() {
			defer close(s.queue)
			s.produce(ctx)
		})
		defer s.running.Wait()
		defer cancel()
		s.consume(ctx, yield)
	}
}

type survey struct {
	src     Source
	o       Options
	queue   chan *task // in the order of the records
	running sync.WaitGroup
}

// task is one image, or what became of a repository or of the whole list.
type task struct {
	repository *repository // nil for the whole list
	isImage    bool
	last       bool // of its repository
	progress   Progress
	done       chan struct{} // closed when the rest is there

	records []Record
	err     error
}

// repository is one that is being looked at.
type repository struct {
	name   string
	cancel context.CancelFunc // of what is left to do for it
	left   int                // images
	failed bool
}

// produce lists repositories and images, and has the images looked at.
func (s *survey) produce(ctx context.Context) {
	var progress Progress
	slots := semaphore.NewWeighted(int64(s.o.Concurrency))
	finished := make(chan struct{})
	close(finished)
	for name, err := range s.src.Repositories(ctx) {
		if err != nil {
			s.send(ctx, &task{done: finished, err: err})
			return
		}
		progress.Repositories++
		r := &repository{name: name}
		within, cancel := context.WithCancel(ctx)
		r.cancel = cancel // by the one who takes its last image
		look, images, err := s.open(within, name)
		r.left = len(images)
		progress.Images += len(images)
		if err != nil || len(images) == 0 {
			cancel()
			if !s.send(ctx, &task{repository: r, progress: progress, done: finished, err: err}) {
				return
			}
			continue
		}
		for i, image := range images {
			if slots.Acquire(ctx, 1) != nil {
				return
			}
			t := &task{repository: r, isImage: true, last: i == len(images)-1, progress: progress,
				done: make(chan struct{})}
			s.running.Go(func() {
				defer slots.Release(1)
				defer close(t.done)
				t.records, t.err = look.image(within, image)
			})
			if !s.send(ctx, t) {
				return
			}
		}
	}
}

func (s *survey) send(ctx context.Context, t *task) bool {
	select {
	case s.queue <- t:
		return true
	case <-ctx.Done():
		return false
	}
}

// consume yields in order.
func (s *survey) consume(ctx context.Context, yield func(Record, error) bool) {
	done := 0
	for t := range s.queue {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if !s.yield(t, yield) {
			return
		}
		if t.isImage {
			done++
		}
		t.progress.Done = done
		s.o.Progress(t.progress)
	}
	if err := ctx.Err(); err != nil {
		yield(Record{}, err)
	}
}

// yield passes on the records of one image, or the error that its repository ends
// with.
func (s *survey) yield(t *task, yield func(Record, error) bool) bool {
	r := t.repository
	if r == nil {
		yield(Record{}, t.err)
		return false
	}
	r.left--
	if t.last {
		defer r.cancel()
	}
	switch {
	case r.failed:
		return true
	case t.err != nil:
		r.failed = true
		r.cancel()
		err := t.err
		if r.left > 0 {
			err = fmt.Errorf("%w (%s of %s %s not looked at)", err, plural.Count(r.left, "more image"), r.name,
				plural.Word(r.left, "is", "are"))
		}
		return yield(Record{Image: Image{Repository: r.name}}, err)
	}
	for _, record := range t.records {
		if !yield(record, nil) {
			return false
		}
	}
	return true
}

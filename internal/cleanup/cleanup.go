// Package cleanup removes SOCI artifacts from the repositories of a registry:
// SOCI indexes, SOCI-enabled images with their parts, and the image indexes
// that stand in for images without a layer to index. Nothing else is ever
// deleted: manifests are classified by their content, never by a tag or a name.
//
// Begin with [ECR] or [Registry], which return a [Repository]; [Look] lists
// what would be deleted, and [Plan.Delete] deletes it.
package cleanup

import (
	"context"
	"time"

	smithytime "github.com/aws/smithy-go/time"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Repository is what can be cleaned up.
type Repository interface {
	// Name is the repository's, for people.
	Name() string

	// List returns all that the repository is known to hold, each digest once.
	List(ctx context.Context) ([]inventory.Image, error)

	// Manifests returns the content of manifests, verified; those that are not
	// there, or cannot be read, are left out.
	Manifests(ctx context.Context, images []inventory.Image) (map[digest.Digest][]byte, error)

	// Open is the repository in its registry: its name with the host, and its
	// content, for Options.Broken. It may fail until List has returned something.
	Open() (*ecrclient.Repository, error)

	// Delete deletes the images as long as they have these tags and no other.
	// It returns the error of each that could not be deleted, which is ErrListed
	// or ErrChanged where that is the reason. The error is one that nothing
	// could be deleted for.
	Delete(ctx context.Context, images []inventory.Image) (map[digest.Digest]error, error)
}

// ownTools is how the build-tool identifiers of this project begin.
const ownTools = "soci-index-builder/"

// unfinished is how long a SOCI artifact that nothing leads to may belong to a
// build under way, and how long after the push of an image the suffixed tag may
// still be that of the image before.
const unfinished = time.Hour

// pullTimeLag is by how much ECR's time of the last pull may be behind.
const pullTimeLag = 24 * time.Hour

// Options choose what goes. The zero value is every SOCI artifact of this
// project.
type Options struct {
	// AllTools takes the artifacts of other build tools as well.
	AllTools bool

	// OlderThan keeps artifacts pushed more recently, or at an unknown time.
	// The default is to keep none.
	OlderThan time.Duration

	// UnusedFor leaves what was pulled more recently. The default is to leave
	// nothing.
	UnusedFor time.Duration

	// Orphaned takes only what has lost its original: a SOCI index v1 whose
	// subject is not there, a SOCI index v2 that no image index lists, a
	// SOCI-enabled image without a tag or whose original tag is gone or names
	// another image.
	Orphaned bool

	// Broken selects only SOCI indexes that clients cannot use correctly, as a
	// deep soci.Checker finds, and SOCI-enabled images with such a one. Every
	// zTOC of the repository is read for it.
	Broken bool

	// Surplus selects only SOCI indexes v1 that a newer one of the same image
	// manifest and build tool has replaced. If it is not certain which of them
	// is the last build's, all stay.
	Surplus bool

	// TagSuffix is what tags of SOCI-enabled images have after that of their
	// original. The default is soci.DefaultTagSuffix.
	TagSuffix string

	// AnyTag takes also what has a tag without the suffix.
	AnyTag bool

	// Progress, if set, is told how far the work is. It may be called by several
	// goroutines at once.
	Progress func(Progress)

	// Now is the clock. The default is time.Now.
	Now func() time.Time

	// Pause waits between two attempts. The default waits for that long, or
	// until the end of ctx.
	Pause func(ctx context.Context, d time.Duration) error
}

func (o Options) withDefaults() Options {
	if o.TagSuffix == "" {
		o.TagSuffix = soci.DefaultTagSuffix
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == nil {
		o.Pause = smithytime.SleepWithContext
	}
	return o
}

// Progress is how far the work on a repository is.
type Progress struct {
	Manifests        int // that were read
	Checked, ToCheck int // SOCI indexes whose zTOCs were read, of how many, with Options.Broken
}

// Item is a SOCI artifact.
type Item struct {
	Repository string // its Name
	Reference  string // HOST/NAME@DIGEST
	Digest     digest.Digest
	Tags       []string // sorted
	Kind       soci.Kind
	Tools      []string      // build-tool identifiers, sorted; none for what has none
	PartOf     digest.Digest // the SOCI-enabled image with which it goes, empty for others
	PushedAt   time.Time     // zero when the registry does not tell

	// Size is what the artifact adds to the repository, in bytes: its manifest
	// and its zTOCs, and no layer of an image.
	Size int64

	// Trouble says what is wrong with it, with Options.Broken; empty for parts.
	Trouble string

	image    inventory.Image
	manifest int64                   // bytes of the manifest
	blobs    map[digest.Digest]int64 // that belong to SOCI artifacts alone
	shared   map[digest.Digest]bool  // those that stay, if the plan is carried out
}

// Reason says why a SOCI artifact stays.
type Reason string

// The reasons.
const (
	KeptOtherTool  Reason = "of another build tool"
	KeptRecent     Reason = "pushed recently"
	KeptPulled     Reason = "pulled recently"
	KeptInUse      Reason = "not orphaned"
	KeptSound      Reason = "not broken"
	KeptNotSurplus Reason = "not a SOCI index v1"
	KeptCurrent    Reason = "the only one, or the newest, of its image"
	KeptUncertain  Reason = "which of several is the newest is not known"
	KeptTagged     Reason = "has another tag"
	KeptListed     Reason = "listed by an image index that stays"
	KeptHidden     Reason = "may be listed by an image index that cannot be read"
	KeptNamed      Reason = "named by an image manifest that stays"
	KeptUnproven   Reason = "not certain to be a SOCI artifact"
	KeptUnfinished Reason = "may belong to a build under way"
	KeptUndated    Reason = "its tag names another image, since when the registry does not tell"
	KeptArchived   Reason = "archived"
)

// Kept is a SOCI artifact that stays.
type Kept struct {
	Item
	Reason Reason
	Detail string // the tool, the tag, the image index; may be empty
}

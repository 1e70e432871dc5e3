// Package record keeps what each deploy was about to make, so that another one
// can make it again: written before the execution, marked after success.
//
// Start with [New]; a [Store] keeps records in a bucket ([InBucket]) or beside
// the functions' images ([InRepository]). [Target] chooses the version that
// a rollback returns to, [Needed] what must not be deleted.
package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// format is that of the records that this package writes, and the only one that
// it reads.
const format = 1

// maxSize bounds a record. A template has at most 1 MiB.
const maxSize = 4 << 20 // 4 MiB

// Errors about a record.
var (
	// ErrCorrupt: what is stored is no record, or another one than it should be.
	ErrCorrupt = errors.New("the record of a deployment is damaged")

	// ErrUnsupported: another version of the program wrote it.
	ErrUnsupported = errors.New("the record of a deployment is of another version of soci-index-builder")

	// ErrInvalid: a record that cannot be written.
	ErrInvalid = errors.New("not a record of a deployment")

	// ErrNone: there is nothing to roll back to.
	ErrNone = errors.New("there is no record of an earlier version that was deployed")
)

// Code is where a function's code is: one of the two.
type Code struct {
	Key   string `json:"key,omitempty"`   // of the zip file, in the record's bucket
	Image string `json:"image,omitempty"` // URI, by digest
}

// Digest returns the image's digest. It is empty if there is no image that is
// named by one.
func (c Code) Digest() string {
	image, err := names.ParseHosted(c.Image)
	if err != nil {
		return ""
	}
	return image.Digest
}

// Record is one deploy.
type Record struct {
	ID       string    `json:"id"` // see [NewID]
	Stack    string    `json:"stack"`
	StackARN string    `json:"stack_arn,omitempty"`
	Time     time.Time `json:"time"`
	Version  string    `json:"version"` // of the program

	Package      embedded.Package `json:"package"`
	Architecture string           `json:"architecture"` // as Go names it

	Template       string        `json:"template"` // as it was deployed
	TemplateDigest digest.Digest `json:"template_digest"`

	// Parameters are all that the stack gets, without those that the template
	// marks with NoEcho: a rollback takes what the stack has of these.
	Parameters map[string]string `json:"parameters"`

	Tags map[string]string `json:"tags,omitempty"` // of the stack
	Role string            `json:"role,omitempty"` // ARN, that CloudFormation works with

	Bucket string          `json:"bucket,omitempty"` // for zip files
	Code   map[string]Code `json:"code"`             // by the functions' logical ids

	// Succeeded is whether the deploy was marked. It is stored beside the
	// record, which does not change.
	Succeeded bool `json:"-"`
}

// stored is a record as it is written.
type stored struct {
	Format int `json:"format"`
	*Record
}

var idPattern = lazyregexp.New(`^[0-9]{8}t[0-9]{6}z-[0-9a-f]{8}$`)

// NewID returns the id of a deploy that begins at a time; random are 8
// hexadecimal digits, which tell two of the same second apart. Ids sort by time.
func NewID(at time.Time, random string) string {
	return strings.ToLower(at.UTC().Format("20060102T150405Z")) + "-" + random
}

// New completes a record: it gives the template its digest, takes out the
// parameters that must not be read by others, and cuts the time to seconds. The
// error matches ErrInvalid.
func New(r Record) (*Record, error) {
	r.TemplateDigest = digest.FromString(r.Template)
	r.Time = r.Time.UTC().Truncate(time.Second)
	r.Parameters = maps.Clone(r.Parameters)
	var t struct {
		Parameters map[string]struct{ NoEcho any }
	}
	if err := json.Unmarshal([]byte(r.Template), &t); err != nil {
		return nil, fmt.Errorf("%w: the template: %w", ErrInvalid, err)
	}
	for name, p := range t.Parameters {
		if p.NoEcho == true || p.NoEcho == "true" {
			delete(r.Parameters, name)
		}
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &r, nil
}

// check returns an error that says what is wrong with a record.
func (r *Record) check() error {
	switch {
	case !idPattern.MatchString(r.ID):
		return fmt.Errorf("the id is %.100q", r.ID)
	case r.Stack == "":
		return errors.New("it names no stack")
	case r.Package != embedded.Zip && r.Package != embedded.Image:
		return fmt.Errorf("the package is %.100q", r.Package)
	case r.TemplateDigest != digest.FromString(r.Template):
		return fmt.Errorf("the template's digest is %s, not %.100s", digest.FromString(r.Template), r.TemplateDigest)
	case len(r.Code) == 0:
		return errors.New("it names no function")
	case r.Package == embedded.Zip && r.Bucket == "":
		return errors.New("it names no bucket")
	}
	for _, function := range slices.Sorted(maps.Keys(r.Code)) {
		c := r.Code[function]
		if r.Package == embedded.Zip && (c.Key == "" || c.Image != "") {
			return fmt.Errorf("the code of %.100q is no zip file in the bucket", function)
		}
		if r.Package == embedded.Image {
			if c.Digest() == "" || c.Key != "" {
				return fmt.Errorf("the code of %.100q is no image named by digest: %.300q", function, c.Image)
			}
		}
	}
	return nil
}

// encode writes a record. The same record has the same bytes.
func (r *Record) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b, err := json.Marshal(stored{format, r})
	if err == nil && len(b) > maxSize {
		err = fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrInvalid, len(b), maxSize)
	}
	return b, err
}

// decode reads the record of a stack under an id; where says of what, for the
// error, which matches ErrCorrupt or ErrUnsupported.
func decode(content []byte, stack, id, where string) (*Record, error) {
	var head struct{ Format int }
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", where, ErrCorrupt, err)
	}
	if head.Format != format {
		return nil, fmt.Errorf("%s: %w: its format is %d, this one reads %d", where, ErrUnsupported, head.Format,
			format)
	}
	r := &Record{}
	if err := json.Unmarshal(content, &stored{Record: r}); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", where, ErrCorrupt, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", where, ErrCorrupt, err)
	}
	if r.Stack != stack || r.ID != id {
		return nil, fmt.Errorf("%s: %w: it is %s of the stack %.200q", where, ErrCorrupt, r.ID, r.Stack)
	}
	return r, nil
}

// SameVersion reports whether two records run the same: the same template,
// parameters, tags and code.
func (r *Record) SameVersion(other *Record) bool {
	return r.TemplateDigest == other.TemplateDigest && maps.Equal(r.Parameters, other.Parameters) &&
		maps.Equal(r.Tags, other.Tags) && r.Bucket == other.Bucket && maps.Equal(r.Code, other.Code)
}

// Merge puts the records of several stores in order, the newest first, each
// once: a stack that changed between zip files and images has some in a bucket
// and some in a repository.
func Merge(lists ...[]*Record) []*Record {
	var all []*Record
	at := map[string]int{}
	for _, list := range lists {
		for _, r := range list {
			if i, ok := at[r.ID]; ok {
				all[i].Succeeded = all[i].Succeeded || r.Succeeded
				continue
			}
			at[r.ID] = len(all)
			one := *r
			all = append(all, &one)
		}
	}
	slices.SortFunc(all, newestFirst)
	return all
}

func newestFirst(a, b *Record) int { return cmp.Compare(b.ID, a.ID) }

// Running returns the newest record that succeeded, of those that Merge or List
// returns; nil if there is none. It runs, unless the stack has changed since.
func Running(all []*Record) *Record { return before(all, func(*Record) bool { return true }) }

// SucceededBefore returns the newest record older than id that succeeded, nil
// if there is none.
func SucceededBefore(all []*Record, id string) *Record {
	return before(all, func(r *Record) bool { return r.ID < id })
}

// Target returns the version that a rollback returns to: the newest that succeeded, or,
// if that is the one that runs, the newest different one before it. After an update
// that failed halfway, or that was not made by deploy, the newest does not run. The error
// is ErrNone.
func Target(all []*Record, runs func(*Record) bool) (*Record, error) {
	newest := Running(all)
	if newest != nil && !runs(newest) {
		return newest, nil
	}
	if target := earlier(all, newest); target != nil {
		return target, nil
	}
	return nil, ErrNone
}

// earlier returns the newest version that succeeded before another one and
// differs from it, nil if there is none.
func earlier(all []*Record, than *Record) *Record {
	return before(all, func(r *Record) bool { return r.ID < than.ID && !r.SameVersion(than) })
}

func before(all []*Record, chosen func(*Record) bool) *Record {
	for _, r := range all {
		if r.Succeeded && chosen(r) {
			return r
		}
	}
	return nil
}

// Kept splits the records, the newest first, into those that are kept and those
// that are not: the newest n stay, and what a rollback needs, however many
// deploys have failed since. None stay for 0.
func Kept(all []*Record, n int) (kept, old []*Record) {
	if n == 0 {
		return nil, all
	}
	running := Running(all) // nil without one, and then there is none before it
	target := earlier(all, running)
	for i, r := range all {
		if i < n || r == running || r == target {
			kept = append(kept, r)
		} else {
			old = append(old, r)
		}
	}
	return kept, old
}

// Needed returns what the records name: the keys of zip files by bucket, and
// the URIs of images. Both are sorted, each name once.
func Needed(all []*Record) (keys map[string][]string, images []string) {
	keys = map[string][]string{}
	for _, r := range all {
		for _, c := range r.Code {
			if c.Key != "" {
				keys[r.Bucket] = append(keys[r.Bucket], c.Key)
			} else {
				images = append(images, c.Image)
			}
		}
	}
	for bucket := range keys {
		slices.Sort(keys[bucket])
		keys[bucket] = slices.Compact(keys[bucket])
	}
	slices.Sort(images)
	return keys, slices.Compact(images)
}

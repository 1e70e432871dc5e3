package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deploy/codebucket"
)

// Keep is how many records of a stack are kept.
const Keep = 5

// maxListed is how many of a stack's records List reads, the newest ones. There
// may be more in a user's own repository, where none is ever deleted.
const maxListed = 50

// Store keeps the records of one stack. All methods may be called again after
// an answer that was lost.
type Store interface {
	// Write stores a record, before its execution.
	Write(ctx context.Context, r *Record) error

	// MarkSucceeded notes that what the record says was deployed.
	MarkSucceeded(ctx context.Context, r *Record) error

	// List returns the newest records, the newest first; none when nothing is
	// stored. The error matches ErrCorrupt or ErrUnsupported, or is of the
	// store: of awserror, or an *ecrclient.Error.
	List(ctx context.Context) ([]*Record, error)

	// Delete deletes records. One that is gone is no error.
	Delete(ctx context.Context, all []*Record) error
}

// Prune deletes the records that Kept does not keep, and returns those that
// stay. The error is that of the store; then all stay that were read.
func Prune(ctx context.Context, s Store, n int) ([]*Record, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	kept, old := Kept(all, n)
	if len(old) == 0 {
		return kept, nil
	}
	if err := s.Delete(ctx, old); err != nil {
		return all, err
	}
	return kept, nil
}

// The ends of the names of what is stored, after the record's id.
const (
	recordEnd = ".json"
	markEnd   = ".succeeded"
)

type bucketStore struct {
	bucket *codebucket.Bucket
	stack  string
	folder string
}

// InBucket keeps records as objects below records/<stack>/ in a bucket.
func InBucket(b *codebucket.Bucket, stack string) Store {
	return &bucketStore{b, stack, b.Prefix() + codebucket.RecordsFolder + stack + "/"}
}

// StacksInBucket returns the names of the stacks that have records in a bucket,
// sorted: those whose code must not be deleted without a look at them. The
// error matches one of awserror.
func StacksInBucket(ctx context.Context, b *codebucket.Bucket) ([]string, error) {
	folder := b.Prefix() + codebucket.RecordsFolder
	keys, err := b.Keys(ctx, folder)
	if err != nil {
		return nil, err
	}
	var stacks []string
	for _, key := range keys {
		if stack, _, ok := strings.Cut(strings.TrimPrefix(key, folder), "/"); ok && stack != "" {
			stacks = append(stacks, stack)
		}
	}
	slices.Sort(stacks)
	return slices.Compact(stacks), nil
}

func (s *bucketStore) Write(ctx context.Context, r *Record) error {
	content, err := encodeFor(r, s.stack)
	if err != nil {
		return err
	}
	return s.bucket.Put(ctx, s.folder+r.ID+recordEnd, "application/json", content)
}

// encodeFor is encode for the store of a stack.
func encodeFor(r *Record, stack string) ([]byte, error) {
	if r.Stack != stack {
		return nil, fmt.Errorf("%w: it is of the stack %.200q, not %.200q", ErrInvalid, r.Stack, stack)
	}
	return r.encode()
}

// MarkSucceeded writes another object, so that a record is never written over.
func (s *bucketStore) MarkSucceeded(ctx context.Context, r *Record) error {
	return s.bucket.Put(ctx, s.folder+r.ID+markEnd, "application/json", []byte("{}"))
}

// identify returns the ids that names name, the newest first, and which of them
// are marked.
func identify(names []string) (ids []string, marked map[string]bool) {
	marked = map[string]bool{}
	for _, name := range names {
		id, isMark := strings.CutSuffix(name, markEnd)
		if !isMark {
			id = strings.TrimSuffix(name, recordEnd)
		}
		if !idPattern.MatchString(id) {
			continue // somebody else's
		}
		marked[id] = marked[id] || isMark
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.Reverse(ids)
	return ids, marked
}

// newest is identify for those that List reads.
func newest(names []string) (ids []string, marked map[string]bool) {
	ids, marked = identify(names)
	return ids[:min(len(ids), maxListed)], marked
}

// names are those of the objects in the folder.
func (s *bucketStore) names(ctx context.Context) ([]string, error) {
	keys, err := s.bucket.Keys(ctx, s.folder)
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], s.folder)
	}
	return keys, err
}

func (s *bucketStore) List(ctx context.Context) ([]*Record, error) {
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Record
	ids, marked := newest(names)
	for _, id := range ids {
		if !slices.Contains(names, id+recordEnd) {
			continue // a mark whose record is being deleted
		}
		r, err := s.read(ctx, id)
		if err != nil {
			return nil, err
		}
		if r != nil {
			r.Succeeded = marked[id]
			all = append(all, r)
		}
	}
	return all, nil
}

// read reads a record; nil for one that was deleted meanwhile.
func (s *bucketStore) read(ctx context.Context, id string) (*Record, error) {
	content, err := s.bucket.Get(ctx, s.folder+id+recordEnd, maxSize)
	if errors.Is(err, codebucket.ErrNoObject) {
		return nil, nil
	}
	if errors.Is(err, codebucket.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	return decode(content, s.stack, id, "s3://"+s.bucket.Name+"/"+s.folder+id+recordEnd)
}

// Stored is all that a bucket has of a stack's records.
type Stored struct {
	Records []*Record // the newest first; which of them succeeded is not among it
	Keys    []string  // of the objects of these records, and of marks that are left of others

	// Unread says why records could not be read, one each. What they name is not
	// known, and their objects are not among Keys.
	Unread []error

	Others []string // keys that are none of the program's
}

// AllInBucket reads every record of a stack in a bucket, also those beside one
// that cannot be read. The error matches one of awserror.
func AllInBucket(ctx context.Context, b *codebucket.Bucket, stack string) (*Stored, error) {
	s := InBucket(b, stack).(*bucketStore)
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	all := &Stored{}
	ids, _ := identify(names)
	for _, name := range names {
		id := strings.TrimSuffix(strings.TrimSuffix(name, markEnd), recordEnd)
		if id == name || !slices.Contains(ids, id) {
			all.Others = append(all.Others, s.folder+name)
		}
	}
	for _, id := range ids {
		if slices.Contains(names, id+recordEnd) {
			r, err := s.read(ctx, id)
			if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) {
				all.Unread = append(all.Unread, err)
				continue
			}
			if err != nil {
				return nil, err
			}
			if r != nil {
				all.Records = append(all.Records, r)
			}
		}
		for _, end := range []string{recordEnd, markEnd} {
			if slices.Contains(names, id+end) {
				all.Keys = append(all.Keys, s.folder+id+end)
			}
		}
	}
	return all, nil
}

// Delete begins with the record: a mark alone is none.
func (s *bucketStore) Delete(ctx context.Context, all []*Record) error {
	for _, r := range all {
		if err := s.bucket.Remove(ctx, s.folder+r.ID+recordEnd, s.folder+r.ID+markEnd); err != nil {
			return err
		}
	}
	return nil
}

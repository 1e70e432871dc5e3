package codebucket

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"soci-index-builder/internal/awsconfig/awscode"
)

// Pruning is what [Bucket.Prune] works by.
type Pruning struct {
	// Keep are the keys that a stack or a record names; one that ends in a
	// slash keeps all below it.
	Keep []string

	// Named are the keys that may be deleted, written like Keep. In a user's
	// own bucket nothing else is deleted; in a managed bucket everything below
	// CodeFolder may be, and Named is ignored.
	Named []string

	// Before keeps what was uploaded later: another deploy, which does not name
	// it yet, may have just put it there.
	Before time.Time

	DryRun bool // deletes nothing
}

// Prune deletes old code, all versions of it, and returns the keys that are
// gone, sorted, also with an error. A name that does not stand for code of the
// program matches ErrNotOurs, and then nothing is deleted. Other errors are of
// awserror, or name the object that could not be deleted.
func (b *Bucket) Prune(ctx context.Context, p Pruning) ([]string, error) {
	folder := b.prefix + CodeFolder
	for _, name := range p.Named {
		if !strings.HasPrefix(name, folder) {
			return nil, fmt.Errorf("s3://%s/%.200s %w %s", b.Name, name, ErrNotOurs, folder)
		}
	}
	all, err := b.versions(ctx, folder)
	if err != nil {
		return nil, err
	}
	own := b.prefix != ""
	fresh := map[string]bool{}
	for _, v := range all {
		fresh[v.key] = fresh[v.key] || v.modified.After(p.Before)
	}
	old := slices.DeleteFunc(all, func(v version) bool {
		return !strings.HasPrefix(v.key, folder) || fresh[v.key] || isNamed(p.Keep, v.key) || own &&
			!isNamed(p.Named, v.key)
	})
	if p.DryRun {
		var keys []string
		for _, v := range old {
			keys = append(keys, v.key)
		}
		slices.Sort(keys)
		return slices.Compact(keys), nil
	}
	return b.remove(ctx, old)
}

// isNamed reports whether a key is in a list, or below one of them.
func isNamed(list []string, key string) bool {
	return slices.ContainsFunc(list, func(name string) bool {
		return name == key || strings.HasSuffix(name, "/") && strings.HasPrefix(key, name)
	})
}

// Remove deletes all versions of objects of the program. A key that does not
// begin with its prefix and one of its folders matches ErrNotOurs, and then
// nothing is deleted. One that is not there is no error.
func (b *Bucket) Remove(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if !b.isOurs(key) {
			return fmt.Errorf("s3://%s/%.200s %w %s%s or %s%s", b.Name, key, ErrNotOurs, b.prefix, CodeFolder, b.prefix,
				RecordsFolder)
		}
	}
	for _, key := range keys {
		versions, err := b.versions(ctx, key)
		if err != nil {
			return err
		}
		versions = slices.DeleteFunc(versions, func(v version) bool { return v.key != key })
		if _, err := b.remove(ctx, versions); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) isOurs(key string) bool {
	return strings.HasPrefix(key, b.prefix+CodeFolder) || strings.HasPrefix(key, b.prefix+RecordsFolder)
}

// Foreign lists the keys of a managed bucket that the program did not write,
// also deleted ones of which there are versions, sorted. The error matches one
// of awserror.
func (b *Bucket) Foreign(ctx context.Context) ([]string, error) {
	all, err := b.versions(ctx, "")
	return b.foreign(all), err
}

func (b *Bucket) foreign(all []version) []string {
	var keys []string
	for _, v := range all {
		if !b.isOurs(v.key) {
			keys = append(keys, v.key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Delete empties a managed bucket and deletes it; one that is gone is no error.
// Objects that the program did not write stop it with ErrForeignObjects before
// anything is deleted, unless foreign is true. A bucket without the tag is
// ErrForeign. Calling it again finishes what could not be done.
func (m *Managed) Delete(ctx context.Context, name string, foreign bool) error {
	there, err := m.exists(ctx, name)
	if err != nil || !there {
		return err
	}
	if err := m.checkOurs(ctx, name); err != nil {
		return err
	}
	b := m.bucket(name)
	for attempt := 1; ; attempt++ {
		all, err := b.versions(ctx, "")
		if err != nil {
			return err
		}
		if keys := b.foreign(all); len(keys) > 0 && !foreign {
			return fmt.Errorf("the bucket %s %w: %d, such as %q", name, ErrForeignObjects, len(keys), keys[0])
		}
		if _, err := b.remove(ctx, all); err != nil {
			return err
		}
		_, err = m.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name, ExpectedBucketOwner: &m.Account})
		switch code := awscode.Of(err); {
		case err == nil, code == "NoSuchBucket":
			return nil
		case (code == "BucketNotEmpty" || code == "OperationAborted") && attempt < deleteAttempts:
			// Something was written in the meantime, or the list lags behind.
			if err := m.Sleep(ctx, makePause); err != nil {
				return err
			}
		default:
			return explain(fmt.Errorf("deleting the bucket %s: %w", name, err))
		}
	}
}

// deleteAttempts bounds the attempts at deleting an emptied bucket.
const deleteAttempts = 5

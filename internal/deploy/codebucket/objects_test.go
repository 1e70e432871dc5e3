package codebucket

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/awstest"
)

func TestPackContents(t *testing.T) {
	files := map[string][]byte{"b.zip": []byte("two"), "a.zip": []byte("one")}
	p := PackContents(OwnPrefix, files)
	// printf '%s  %s\n' $(printf one | sha256sum | cut -c-64) a.zip ... | sha256sum
	want := "soci-index-builder/code/9057782100f112acf095af64a05f9e9c13d0af6dec8a08490060ca228bb4f056/"
	if p.Prefix != want {
		t.Errorf("the prefix is %q, want %q", p.Prefix, want)
	}
	if len(p.Objects) != 2 || p.Objects[0].Key != p.Prefix+"a.zip" || string(p.Objects[1].Content) != "two" {
		t.Errorf("the objects are %+v", p.Objects)
	}
	if err := CheckPrefix(p.Prefix); err != nil {
		t.Error(err)
	}
	files["a.zip"] = []byte("other")
	if PackContents(OwnPrefix, files).Prefix == p.Prefix {
		t.Error("other content has the same keys")
	}
}

// openOwn makes the user's own bucket, with versions or without.
func (w *world) openOwn(t *testing.T, versioned bool) *Bucket {
	t.Helper()
	w.s3.AddBucket(name, awstest.Region)
	if versioned {
		w.s3.Set(name, "versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	}
	b, err := OpenOwn(t.Context(), w.Config(), name, awstest.Account)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOwnBucketOfAnother(t *testing.T) {
	w := newWorld(t)
	b := w.openOwn(t, false)
	o := PackContents(b.Prefix(), map[string][]byte{"a.zip": []byte("one")}).Objects[0]
	if sent, err := b.Upload(t.Context(), o); err != nil || !sent {
		t.Fatalf("Upload: %t, %v", sent, err)
	}
	if sent, err := b.Upload(t.Context(), o); err != nil || sent {
		t.Fatalf("the second Upload: %t, %v", sent, err)
	}
	if err := b.CheckOwner(t.Context(), o.Key); err != nil {
		t.Error(err)
	}
	if err := b.CheckOwner(t.Context(), o.Key, "soci-index-builder/code/gone"); !errors.Is(err, ErrNoObject) {
		t.Errorf("the error is %v, want ErrNoObject", err)
	}

	// The bucket was deleted, and somebody else has made one of that name who
	// lets everybody read and write.
	w.s3.Own(name, "999999999999", true)
	for what, err := range map[string]error{
		"CheckOwner of an object": b.CheckOwner(t.Context(), o.Key),
		"CheckOwner":              b.CheckOwner(t.Context()),
		"Upload": func() error {
			_, err := b.Upload(t.Context(), o)
			return err
		}(),
	} {
		if !errors.Is(err, ErrOwner) || !strings.Contains(err.Error(), awstest.Account) ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v, want ErrOwner", what, err)
		}
	}
	if _, err := b.Prune(t.Context(), Pruning{Before: time.Now()}); err == nil {
		t.Error("Prune works in another's bucket")
	}
	if n := w.s3.Count("DeleteObjects"); n > 0 {
		t.Errorf("%d deletions", n)
	}
	if unchecked := w.s3.Unchecked(); len(unchecked) > 0 {
		t.Errorf("%q did not say who must own the bucket", unchecked)
	}
}

// The bucket that was looked at is gone, and one of that name was made in
// another region.
func TestOwnBucketMoved(t *testing.T) {
	w := newWorld(t)
	b := w.openOwn(t, false)
	w.s3.AddBucket(name, "us-west-2")
	for _, keys := range [][]string{nil, {"soci-index-builder/code/1/a.zip"}} {
		if err := b.CheckOwner(t.Context(), keys...); !errors.Is(err, ErrWrongRegion) {
			t.Errorf("the error is %v, want ErrWrongRegion", err)
		}
	}
	o := PackContents(b.Prefix(), map[string][]byte{"a.zip": []byte("one")}).Objects[0]
	if _, err := b.Upload(t.Context(), o); !errors.Is(err, ErrWrongRegion) {
		t.Errorf("the error is %v, want ErrWrongRegion", err)
	}
}

// Permission to write objects is enough to use a bucket.
func TestOwnBucketWithoutLooking(t *testing.T) {
	w := newWorld(t)
	forbidden := &awstest.Error{Status: http.StatusForbidden}
	w.s3.Fail("HeadBucket", 1, forbidden)
	w.s3.Fail("HeadObject", 1, forbidden)
	b := w.openOwn(t, false)
	o := PackContents(b.Prefix(), map[string][]byte{"a.zip": []byte("one")}).Objects[0]
	if sent, err := b.Upload(t.Context(), o); err != nil || !sent {
		t.Errorf("Upload: %t, %v", sent, err)
	}
}

func TestGetPut(t *testing.T) {
	w := newWorld(t)
	b := w.openOwn(t, true)
	w.s3.PageSize(1)
	for _, key := range []string{"soci-index-builder/records/s/1", "soci-index-builder/records/s/2",
		"soci-index-builder/records/s2/1"} {
		if err := b.Put(t.Context(), key, "application/json", []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := b.Keys(t.Context(), "soci-index-builder/records/s/")
	if err != nil || len(keys) != 2 || !strings.HasSuffix(keys[1], "s/2") {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	if content, err := b.Get(t.Context(), keys[0], int64(len(keys[0]))); err != nil || string(content) != keys[0] {
		t.Errorf("the content is %q, %v", content, err)
	}
	if _, err := b.Get(t.Context(), keys[0], int64(len(keys[0])-1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the error is %v, want ErrTooLarge", err)
	}
	if _, err := b.Get(t.Context(), "none", 10); !errors.Is(err, ErrNoObject) {
		t.Errorf("the error is %v, want ErrNoObject", err)
	}
	if err := b.Remove(t.Context(), keys[0], "code/x"); !errors.Is(err, ErrNotOurs) {
		t.Errorf("the error is %v, want ErrNotOurs", err)
	}
	if err := b.Remove(t.Context(), keys[0], keys[0]); err != nil {
		t.Error(err)
	}
	if left := w.s3.Versions(name); len(left) != 2 {
		t.Errorf("left is %v", left)
	}
}

func TestPrune(t *testing.T) {
	long := time.Now().Add(-48 * time.Hour)
	fill := func(w *world, bucket, prefix string) {
		for _, key := range []string{"code/1/a.zip", "code/1/a.zip", "code/2/a.zip", "code/3/a.zip", "code/33/a.zip",
			"code/4/a.zip",
			"records/s/1"} {
			w.s3.Put(bucket, prefix+key, []byte(key))
			w.s3.Age(bucket, prefix+key, long)
		}
		w.s3.Hide(bucket, prefix+"code/2/a.zip")
		w.s3.Age(bucket, prefix+"code/2/a.zip", long)
		w.s3.Put(bucket, prefix+"code/5/a.zip", nil) // just now
	}
	left := func(w *world, bucket string) string {
		var keys []string
		for key := range w.s3.Versions(bucket) {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return strings.Join(keys, " ")
	}
	before := time.Now().Add(-time.Hour)

	t.Run("managed", func(t *testing.T) {
		w := newWorld(t)
		w.s3.PageSize(2)
		m := w.managed(w.Config())
		b := ensure(t, m, look(t, m, ""))
		fill(w, b.Name, "")
		w.s3.Put(b.Name, "foreign", nil)
		p := Pruning{Keep: []string{"code/3/", "code/4/a.zip"}, Before: before, DryRun: true}
		want := []string{"code/1/a.zip", "code/2/a.zip", "code/33/a.zip"}
		all := left(w, b.Name)
		if gone, err := b.Prune(t.Context(), p); err != nil || !slices.Equal(gone, want) || left(w, b.Name) != all {
			t.Errorf("a dry run deletes %q, %v", gone, err)
		}
		p.DryRun = false
		if gone, err := b.Prune(t.Context(), p); err != nil || !slices.Equal(gone, want) {
			t.Errorf("gone are %q, %v", gone, err)
		}
		if got := left(w, b.Name); got != "code/3/a.zip code/4/a.zip code/5/a.zip foreign records/s/1" {
			t.Errorf("left are %s", got)
		}
		if gone, err := b.Prune(t.Context(), p); err != nil || len(gone) > 0 {
			t.Errorf("the second time gone are %q, %v", gone, err)
		}
	})
	for _, versioned := range []bool{true, false} {
		t.Run(map[bool]string{true: "own with versions", false: "own"}[versioned], func(t *testing.T) {
			w := newWorld(t)
			b := w.openOwn(t, versioned)
			fill(w, name, OwnPrefix)
			fill(w, name, "")
			p := Pruning{Before: before, Keep: []string{OwnPrefix + "code/3/"},
				Named: []string{OwnPrefix + "code/1/a.zip", OwnPrefix + "code/3/a.zip", OwnPrefix + "code/5/"}}
			if gone, err := b.Prune(t.Context(), p); err != nil ||
				!slices.Equal(gone, []string{OwnPrefix + "code/1/a.zip"}) {
				t.Errorf("gone are %q, %v", gone, err)
			}
			p.Named = append(p.Named, "code/2/a.zip")
			if gone, err := b.Prune(t.Context(), p); !errors.Is(err, ErrNotOurs) || len(gone) > 0 {
				t.Errorf("gone are %q, %v, want ErrNotOurs", gone, err)
			}
			if n := len(w.s3.Objects(name)); n != 11 { // of 14; in both folders one was deleted before
				t.Errorf("%d objects are left, want 11", n)
			}
		})
	}
	t.Run("one is locked", func(t *testing.T) {
		w := newWorld(t)
		m := w.managed(w.Config())
		b := ensure(t, m, look(t, m, ""))
		fill(w, b.Name, "")
		w.s3.Lock(b.Name, "code/1/a.zip", true)
		gone, err := b.Prune(t.Context(), Pruning{Before: before})
		const locked = "code/1/a.zip"
		if err == nil || !strings.Contains(err.Error(), locked) {
			t.Errorf("%v, want an error with %s", err, locked)
		}
		if slices.Contains(gone, locked) || len(gone) != 4 {
			t.Errorf("gone are %q, want 4 without %s", gone, locked)
		}
	})
}

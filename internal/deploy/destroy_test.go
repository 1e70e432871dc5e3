package deploy_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// managedBucket is the name of deploy's own one.
const managedBucket = "soci-index-builder-" + awstest.Account + "-" + awstest.Region + "-an"

// listing is a screen that keeps what goes and what stays.
type listing struct {
	*screen
	goes, stays []string
}

func (l *listing) Listed(goes, stays []string) { l.goes, l.stays = goes, stays }

// inBucket deploys the stack prod, whose code is in a bucket; managed makes that
// deploy's own.
func inBucket(t *testing.T, name string, managed bool) *world {
	t.Helper()
	w := newWorld(t)
	w.created()
	if managed {
		w.s3.AddBucket(name, awstest.Region)
		w.s3.Tag(name, map[string]string{"ManagedStackSource": "SociIndexBuilder"})
	}
	prefix := "code/new/"
	if !managed {
		prefix = codebucket.OwnPrefix + prefix
	}
	w.stacks.Change("prod", func(s *awstest.Stack) {
		s.Parameters[deployed.ParamCodeBucket], s.Parameters[deployed.ParamCodeKeyPrefix] = name, prefix
	})
	w.put(name, prefix+"filter.zip", true)
	return w
}

// put stores an object; an old one was put two days ago.
func (w *world) put(bucket, key string, old bool) {
	w.s3.Put(bucket, key, []byte(key))
	if old {
		w.s3.Age(bucket, key, time.Now().Add(-48*time.Hour))
	}
}

// record writes the record of a deploy of a stack with these keys.
func (w *world) record(bucket *codebucket.Bucket, stack string, keys ...string) {
	w.t.Helper()
	code := map[string]record.Code{}
	for i, f := range []string{"FilterFunction", "GeneratorFunction", "RepositoryNameFunction"} {
		code[f] = record.Code{Key: keys[i%len(keys)]}
	}
	r, err := record.New(record.Record{ID: record.NewID(time.Now(), "0a1b2c3d"), Stack: stack, Time: time.Now(),
		Version: "1", Package: embedded.Zip, Architecture: "arm64", Template: string(stacktest.Template(w.t)),
		Parameters: map[string]string{}, Bucket: bucket.Name, Code: code})
	if err == nil {
		err = record.InBucket(bucket, stack).Write(w.t.Context(), r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) openManaged() *codebucket.Bucket {
	w.t.Helper()
	b, err := codebucket.NewManaged(w.config, codebucket.ManagedOptions{Account: awstest.Account, Partition: "aws"}).
		Open(w.t.Context(), managedBucket)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) openOwn() *codebucket.Bucket {
	w.t.Helper()
	b, err := codebucket.OpenOwn(w.t.Context(), w.config, "code", awstest.Account)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// another adds a stack whose code is in a bucket.
func (w *world) another(bucket, prefix string) {
	w.stacks.Add(&awstest.Stack{Name: "other", Status: "CREATE_COMPLETE", Outputs: map[string]string{},
		Parameters: map[string]string{deployed.ParamCodeBucket: bucket, deployed.ParamCodeKeyPrefix: prefix}})
}

func (w *world) destroy(o deploy.DestroyOptions) (*listing, error) {
	w.t.Helper()
	l := &listing{screen: &screen{}}
	o.Stack = "prod"
	x, err := deploy.NewDestroy(o, deploy.Mode{Yes: true,
		Patience: patience.Patience{Pause: time.Millisecond, Errors: 100 * time.Millisecond}}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	x.Deploy().AWS = w.config
	return l, x.Run(w.t.Context())
}

// keys are those of a bucket; nil when it is gone.
func (w *world) keys(bucket string) []string {
	if !slices.Contains(w.s3.Buckets(), bucket) {
		return nil
	}
	keys := slices.Sorted(maps.Keys(w.s3.Objects(bucket)))
	return append([]string{}, keys...)
}

func hasLine(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, text) })
}

// The bucket goes with the last stack, whatever of the program's is in it; records
// of stacks that are gone hold nothing.
func TestDestroyLast(t *testing.T) {
	w := inBucket(t, managedBucket, true)
	b := w.openManaged()
	w.put(managedBucket, "code/old/filter.zip", true)
	w.record(b, "prod", "code/older/filter.zip")
	w.record(b, "gone", "code/gone/filter.zip")
	w.put(managedBucket, "code/gone/filter.zip", true)
	l, err := w.destroy(deploy.DestroyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if w.status() != "absent" || w.keys(managedBucket) != nil {
		t.Errorf("the stack is %s, the bucket has %q", w.status(), w.keys(managedBucket))
	}
	if !hasLine(l.goes, "the bucket "+managedBucket+", with all code and records: no other stack uses it") {
		t.Errorf("goes %q", l.goes)
	}
	if l, err := w.destroy(deploy.DestroyOptions{}); err != nil || len(l.goes) > 0 ||
		!l.has("nothing is left of stack prod") {
		t.Errorf("again: %v, goes %q", err, l.goes)
	}
}

// Code that another stack names, or needs to roll back, stays, and so does the
// bucket.
func TestDestroyShared(t *testing.T) {
	for _, managed := range []bool{true, false} {
		bucket, at := managedBucket, ""
		if !managed {
			bucket, at = "code", codebucket.OwnPrefix
		}
		w := inBucket(t, bucket, managed)
		b := w.openOwn()
		if managed {
			b = w.openManaged()
		}
		w.another(bucket, at+"code/shared/")
		for _, key := range []string{"code/shared/filter.zip", "code/back/filter.zip", "code/mine/filter.zip",
			"code/lost/filter.zip"} {
			w.put(bucket, at+key, true)
		}
		w.record(b, "prod", at+"code/mine/filter.zip", at+"code/shared/filter.zip", at+"code/back/filter.zip")
		w.record(b, "other", at+"code/back/filter.zip")
		l, err := w.destroy(deploy.DestroyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{at + "code/back/filter.zip", at + "code/shared/filter.zip"}
		if !managed {
			// Nothing but what a record of the stack names goes from a user's bucket.
			want = append(want, at+"code/lost/filter.zip", at+"code/new/filter.zip")
		}
		left := slices.DeleteFunc(w.keys(bucket),
			func(key string) bool { return strings.Contains(key, "records/other/") })
		slices.Sort(want)
		if !slices.Equal(left, want) {
			t.Errorf("managed %t: left are\n%q, want\n%q", managed, left, want)
		}
		why := "the bucket code, which is yours"
		if managed {
			why = "the bucket " + managedBucket + ": it has code of other"
		}
		if !hasLine(l.stays, why) || w.status() != "absent" {
			t.Errorf("managed %t: stays %q", managed, l.stays)
		}
	}
}

// Objects of somebody else stop it before anything is deleted.
func TestDestroyForeignObjects(t *testing.T) {
	w := inBucket(t, managedBucket, true)
	w.put(managedBucket, "photo.jpg", true)
	_, err := w.destroy(deploy.DestroyOptions{})
	if !errors.Is(err, codebucket.ErrForeignObjects) || !strings.Contains(err.Error(), "--delete-foreign") {
		t.Errorf("the error is %v, want ErrForeignObjects", err)
	}
	if keys := w.keys(managedBucket); w.status() != "CREATE_COMPLETE" || len(keys) != 2 {
		t.Errorf("the stack is %s, and the bucket has %q", w.status(), keys)
	}
	if _, err := w.destroy(deploy.DestroyOptions{KeepCode: true}); err != nil || w.status() != "absent" ||
		len(w.keys(managedBucket)) != 2 {
		t.Errorf("with the code kept: %v, left are %q", err, w.keys(managedBucket))
	}
	if _, err := w.destroy(deploy.DestroyOptions{DeleteForeign: true}); err != nil || w.keys(managedBucket) != nil {
		t.Errorf("with foreign objects: %v, left are %q", err, w.keys(managedBucket))
	}
}

// Code that somebody has just put there, for a stack that is not there yet, stays.
func TestDestroyFreshCode(t *testing.T) {
	w := inBucket(t, managedBucket, true)
	w.put(managedBucket, "code/fresh/filter.zip", false)
	l, err := w.destroy(deploy.DestroyOptions{})
	if err != nil || !slices.Equal(w.keys(managedBucket), []string{"code/fresh/filter.zip"}) ||
		!l.has("in the last hour somebody has put code there that no stack names yet, such as code/fresh/filter.zip") {
		t.Errorf("%v, left are %q, said %q", err, w.keys(managedBucket), l.said)
	}
}

// A second run deletes what the first could not, although the stack that named it
// is gone.
func TestDestroyAgain(t *testing.T) {
	w := inBucket(t, managedBucket, true)
	w.record(w.openManaged(), "prod", "code/new/filter.zip")
	w.s3.Lock(managedBucket, "code/new/filter.zip", true)
	if _, err := w.destroy(deploy.DestroyOptions{}); err == nil ||
		!strings.Contains(err.Error(), "code/new/filter.zip") {
		t.Fatalf("the error is %v", err)
	}
	if w.status() != "absent" || len(w.keys(managedBucket)) != 2 {
		t.Errorf("left are %q", w.keys(managedBucket))
	}
	w.s3.Lock(managedBucket, "code/new/filter.zip", false)
	if _, err := w.destroy(deploy.DestroyOptions{}); err != nil || w.keys(managedBucket) != nil {
		t.Errorf("%v, left are %q", err, w.keys(managedBucket))
	}
}

// A bucket of somebody else with the name of deploy's own is left alone.
func TestDestroyForeignBucket(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.s3.AddBucket(managedBucket, awstest.Region)
	w.put(managedBucket, "code/theirs", true)
	l, err := w.destroy(deploy.DestroyOptions{})
	if err != nil || w.status() != "absent" || len(w.keys(managedBucket)) != 1 {
		t.Fatalf("%v, stays %q", err, l.stays)
	}
	if !hasLine(l.stays, "the bucket "+managedBucket+" was not made by soci-index-builder") {
		t.Errorf("%v, stays %q", err, l.stays)
	}
}

// Without permission to look for other stacks nothing is deleted.
func TestDestroyCannotLook(t *testing.T) {
	w := inBucket(t, managedBucket, true)
	asked := 0
	w.server.Handle("cloudformation", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form := r.PostForm
		r.Body = http.NoBody
		if form.Get("Action") == "DescribeStacks" && form.Get("StackName") == "" {
			asked++
			awstest.WriteError(rw, r, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
			return
		}
		w.stacks.ServeHTTP(rw, withForm(r, form))
	}))
	if _, err := w.destroy(deploy.DestroyOptions{}); err == nil || asked == 0 || w.status() != "CREATE_COMPLETE" {
		t.Errorf("%v, asked %d times, the stack is %s", err, asked, w.status())
	}
}

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
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/expect"
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
	l, x := w.destroying(o)
	return l, x.Run(w.t.Context())
}

// destroying makes a destroy of the stack.
func (w *world) destroying(o deploy.DestroyOptions) (*listing, *deploy.Destroy) {
	w.t.Helper()
	l := &listing{screen: &screen{}}
	o.Stack = "prod"
	x, err := deploy.NewDestroy(o, deploy.Mode{Yes: true,
		Patience: patience.Patience{Pause: time.Millisecond, Errors: 100 * time.Millisecond}}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	x.Deploy().AWS = w.config
	return l, x
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

// inEither is a world whose stack has its code in the managed bucket or in one of the
// user's own, with the bucket, its name, and what precedes the keys in it.
func inEither(t *testing.T, managed bool) (w *world, b *codebucket.Bucket, bucket, at string) {
	t.Helper()
	if managed {
		w = inBucket(t, managedBucket, true)
		return w, w.openManaged(), managedBucket, ""
	}
	w = inBucket(t, "code", false)
	return w, w.openOwn(), "code", codebucket.OwnPrefix
}

// Code that another stack names, or needs to roll back, stays, and so does the
// bucket.
func TestDestroyShared(t *testing.T) {
	for _, managed := range []bool{true, false} {
		w, b, bucket, at := inEither(t, managed)
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

// A bucket of somebody else with the name of deploy's own is left alone. It is not
// even asked for while the stack names one of the user's own: the policies for
// that do not allow it.
func TestDestroyForeignBucket(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.s3.AddBucket(managedBucket, awstest.Region)
	w.put(managedBucket, "code/theirs", true)
	w.s3.Own(managedBucket, "999999999999", true)
	l, err := w.destroy(deploy.DestroyOptions{})
	if !expect.Equal(t, expect.Facts{
		{"error", err, nil},
		{"status", w.status(), "absent"},
		{"objects", len(w.keys(managedBucket)), 1},
		{"the bucket is listed", hasLine(l.stays, managedBucket), false},
	}, "stays %q", l.stays) {
		t.FailNow()
	}
	if l, err = w.destroy(deploy.DestroyOptions{}); err != nil || !hasLine(l.stays, managedBucket+
		" does not belong to the account") {
		t.Errorf("%v, stays %q", err, l.stays)
	}
	w.s3.Own(managedBucket, awstest.Account, true)
	l, err = w.destroy(deploy.DestroyOptions{})
	if err != nil || !hasLine(l.stays, "the bucket "+managedBucket+" was not made by soci-index-builder") ||
		len(w.keys(managedBucket)) != 1 {
		t.Errorf("%v, stays %q", err, l.stays)
	}
}

// In a bucket of the user's own nothing goes but records that can be read and what
// they name, however many they are, and what stays is said.
func TestDestroyOwnRecords(t *testing.T) {
	w := inBucket(t, "code", false)
	const folder = codebucket.OwnPrefix + "records/prod/"
	w.record(w.openOwn(), "prod", codebucket.OwnPrefix+"code/mine/filter.zip")
	for _, key := range []string{"code/mine/filter.zip", "code/unknown/filter.zip", "records/prod/README",
		"records/prod/backup/20260101t000000z-00000001.json", "records/prod/20260101t000000z-00000002",
		"records/prod/20260101t000000z-00000003.succeeded"} {
		w.put("code", codebucket.OwnPrefix+key, true)
	}
	damaged := []string{folder + "20270101t000000z-00000004.json", folder + "20270101t000000z-00000004.succeeded"}
	for _, key := range damaged {
		w.s3.Put("code", key, []byte("{"))
	}
	later := folder + "20250101t000000z-00000005.json"
	w.s3.Put("code", later, []byte(`{"format":7}`))
	l, err := w.destroy(deploy.DestroyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{codebucket.OwnPrefix + "code/unknown/filter.zip", folder + "README", later,
		folder + "backup/20260101t000000z-00000001.json", folder + "20260101t000000z-00000002",
		codebucket.OwnPrefix + "code/new/filter.zip"}, damaged...)
	slices.Sort(want)
	if left := w.keys("code"); !slices.Equal(left, want) {
		t.Errorf("left are\n%q, want\n%q", left, want)
	}
	for _, line := range []string{
		"a record that cannot be read, and the zip files that it names: s3://code/" + damaged[0] + ": ",
		"a record that cannot be read, and the zip files that it names: s3://code/" + later + ": ",
		"3 objects among the records in the bucket code that soci-index-builder did not write, such as " + folder,
	} {
		if !hasLine(l.stays, line) {
			t.Errorf("%q is not in %q", line, l.stays)
		}
	}
}

// A second destroy needs to be told the user's own bucket, since the stack that
// named it is gone: the first says so where it fails, and none says that nothing is
// left.
func TestDestroyOwnBucketAgain(t *testing.T) {
	const key = codebucket.OwnPrefix + "code/new/filter.zip"
	for _, fails := range []func(*world){
		func(w *world) { w.s3.Lock("code", key, true) },
		func(w *world) {
			w.s3.Fail("DeleteObjects", 1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		},
		func(w *world) {
			w.s3.Fail("DeleteObjects", 1, &awstest.Error{Status: 403, Code: "ExpiredToken", Message: "it has expired"})
		},
	} {
		w := inBucket(t, "code", false)
		w.record(w.openOwn(), "prod", key)
		fails(w)
		l, err := w.destroy(deploy.DestroyOptions{})
		if err == nil || w.status() != "absent" {
			t.Fatalf("%v, the stack is %s", err, w.status())
		}
		if !l.has("in your bucket there may still be s3://code/soci-index-builder/records/prod/ and 4 zip files that " +
			"the records there name; to go on: soci-index-builder destroy --stack prod --bucket code --region " +
			awstest.Region) {
			t.Errorf("said %q", l.said)
		}
		w.s3.Lock("code", key, false)
		before := w.keys("code")
		l, err = w.destroy(deploy.DestroyOptions{})
		expect.Equal(t, expect.Facts{
			{"error", err, nil},
			{"goes", len(l.goes), 0},
			{"what is left is said", l.has("nothing is left of stack prod, unless its code was in a bucket of yours: " +
				"then give --bucket"), true},
			{"what to do is said",
				hasLine(l.stays, "soci-index-builder destroy --stack prod --bucket NAME --region eu-west-1"), true},
		}, "goes %q, said %q, stays %q", l.goes, l.said, l.stays)
		if left := w.keys("code"); !slices.Equal(left, before) || !slices.Contains(left, key) {
			t.Errorf("left are %q, before %q", left, before)
		}
		if l, err = w.destroy(deploy.DestroyOptions{Bucket: "code"}); err != nil || len(w.keys("code")) > 0 {
			t.Errorf("%v, left are %q, said %q", err, w.keys("code"), l.said)
		}
		if l, err = w.destroy(deploy.DestroyOptions{Bucket: "code"}); err != nil || len(l.goes) > 0 ||
			!slices.Contains(l.said, "nothing is left of stack prod") {
			t.Errorf("%v, goes %q, said %q", err, l.goes, l.said)
		}
	}
}

// What the stack left in deploy's own bucket, when its code moved to one of the
// user's, is said, and a second destroy deletes it.
func TestDestroyNamesManaged(t *testing.T) {
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.run(w.deploy(settings.Settings{}, nil))
	l, err := w.destroy(deploy.DestroyOptions{})
	if err != nil || !hasLine(l.stays, "3 zip files of earlier versions, and their records, in the bucket "+
		managedBucket+", which deploy made: a second destroy deletes them") || len(w.keys(managedBucket)) != 5 {
		t.Errorf("%v, stays %q, left are %q", err, l.stays, w.keys(managedBucket))
	}
	if l, err := w.destroy(deploy.DestroyOptions{}); err != nil || w.keys(managedBucket) != nil {
		t.Errorf("%v, said %q, left are %q", err, l.said, w.keys(managedBucket))
	}
}

// Ctrl-C leaves the deletion of the stack running: what comes after it needs to be
// told the bucket too.
func TestDestroyLeft(t *testing.T) {
	w := inBucket(t, "code", false)
	w.stacks.Pace = 1
	l, x := w.destroying(deploy.DestroyOptions{})
	interrupts := make(chan struct{}, 1)
	x.Deploy().Mode.Interrupts = func() (<-chan struct{}, func()) { return interrupts, func() {} }
	l.seen = func(e execution.Event) {
		if e.OfStack {
			w.stacks.Hold("prod", true)
			interrupts <- struct{}{}
		}
	}
	err := x.Run(t.Context())
	if !errors.Is(err, execution.ErrLeft) ||
		!l.has("to go on: soci-index-builder destroy --stack prod --bucket code --region eu-west-1") {
		t.Errorf("the error is %v, want ErrLeft; said %q", err, l.said)
	}
}

// What was never created goes with the change set of whoever may be about to execute
// it, as is said.
func TestDestroyReview(t *testing.T) {
	w := newWorld(t)
	d, screen := w.deploy(settings.Settings{}, nil)
	d.Screen = &meanwhile{screen, func() {
		l, err := w.destroy(deploy.DestroyOptions{})
		if err != nil || !hasLine(l.goes, "its change set soci-index-builder-") {
			t.Errorf("%v, goes %q", err, l.goes)
		}
	}}
	if err := d.Run(t.Context()); err == nil || w.status() != "absent" {
		t.Errorf("the error is %v, the stack is %s", err, w.status())
	}
}

// A bucket that the stack does not name is refused before anything is deleted, and
// one that does not exist is an error once the stack is gone.
func TestDestroyOtherBucket(t *testing.T) {
	w := inBucket(t, "code", false)
	_, err := w.destroy(deploy.DestroyOptions{Bucket: "other"})
	if !errors.Is(err, deploy.ErrSetting) || !strings.Contains(err.Error(), "has its code in the bucket code") ||
		w.status() != "CREATE_COMPLETE" {
		t.Errorf("the error is %v, want ErrSetting; the stack is %s", err, w.status())
	}
	if _, err := w.destroy(deploy.DestroyOptions{Bucket: "code"}); err != nil || w.status() != "absent" {
		t.Errorf("%v, the stack is %s", err, w.status())
	}
	_, err = w.destroy(deploy.DestroyOptions{Bucket: "other"})
	if !errors.Is(err, codebucket.ErrNoBucket) || strings.Contains(err.Error(), "aws s3 mb") {
		t.Errorf("the error is %v, want ErrNoBucket, and no advice to make the bucket", err)
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

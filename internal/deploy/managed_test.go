package deploy_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/testkit/awstest"
)

const managedName = "soci-index-builder-" + awstest.Account + "-" + awstest.Region + "-an"

// run does a deploy that must succeed.
func (w *world) run(d *deploy.Deploy, s *screen) *screen {
	w.t.Helper()
	if err := d.Run(w.t.Context()); err != nil {
		w.t.Fatalf("%v, said %q", err, s.said)
	}
	return s
}

// objects returns the keys of a bucket that begin with prefix and end with end.
func (w *world) objects(bucket, prefix, end string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.s3.Objects(bucket))), func(key string) bool {
		return !strings.HasPrefix(key, prefix) || !strings.HasSuffix(key, end)
	})
}

// Without a bucket of the user's, one is made, and every request names whose it
// must be.
func TestManagedBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	screen := w.run(w.managed(another, nil))
	if !screen.has("bucket "+managedName+": make the bucket") ||
		!screen.has("uploaded       s3://"+managedName+"/code/") {
		t.Errorf("said %q", screen.said)
	}
	s := w.stacks.Stack("prod")
	if s.Parameters[deployed.ParamCodeBucket] != managedName {
		t.Errorf("the stack's bucket is %s", s.Parameters[deployed.ParamCodeBucket])
	}
	if n := len(w.objects(managedName, "records/prod/", ".json")); n != 1 {
		t.Errorf("%d records", n)
	}
	if n := len(w.objects(managedName, "records/prod/", ".succeeded")); n != 1 {
		t.Errorf("%d marks", n)
	}
	if bad := slices.DeleteFunc(w.s3.Unchecked(), func(o string) bool {
		return o == "ListBuckets" || o == "CreateBucket"
	}); len(bad) > 0 {
		t.Errorf("without an expected owner: %q", bad)
	}
	if n := len(w.s3.Operations()); n >= 50 { // as docs/deploy.md has it
		t.Errorf("%d requests to S3: %q", n, w.s3.Operations())
	}
	// Somebody opens it: that is put right, and nothing else changes.
	w.s3.Set(managedName, "publicAccessBlock", "<PublicAccessBlockConfiguration/>")
	screen = w.run(w.managed(settings.Settings{}, nil))
	if !screen.has("bucket "+managedName+": ") || w.changeSets("ExecuteChangeSet") != 1 {
		t.Errorf("said %q", screen.said)
	}
	if !strings.Contains(w.s3.Setting(managedName, "publicAccessBlock"), "<BlockPublicAcls>true</BlockPublicAcls>") {
		t.Error("the bucket is open")
	}
}

// Where S3 has no namespaces of accounts, the name is known only when the bucket
// has been made; later deploys find it by the stack's parameter.
func TestRandomBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s3.NoAccountRegional()
	w.run(w.managed(another, nil))
	name := w.stacks.Stack("prod").Parameters[deployed.ParamCodeBucket]
	if !names.IsManagedBucket(name, awstest.Account, awstest.Region) || name == managedName ||
		len(w.objects(name, "records/prod/", ".succeeded")) != 1 {
		t.Errorf("the stack's bucket is %s, there are %q", name, w.s3.Buckets())
	}
	w.s3.AddBucket("soci-index-builder-0123456789ab", awstest.Region) // somebody else's, which is asked for first
	w.s3.Fail("ListBuckets", 1<<20, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
	if screen := w.run(w.managed(settings.Settings{}, nil)); !screen.has("changes no changes") &&
		w.changeSets("ExecuteChangeSet") != 1 {
		t.Errorf("said %q", screen.said)
	}
}

// Faults while the bucket is made: deploy gets over passing ones and over a bucket
// of its own, and fails at the others.
func TestManagedBucketFaults(t *testing.T) {
	t.Parallel()
	owned := &awstest.Error{Status: 409, Code: "BucketAlreadyOwnedByYou", Message: "it is there"}
	for _, tt := range []struct {
		name  string
		do    func(*world)
		fails error
	}{
		{"made by somebody else just now", func(w *world) {
			w.s3.Fail("CreateBucket", 3, &awstest.Error{Status: 409, Code: "OperationAborted",
				Message: "A conflicting conditional operation is currently in progress against this resource."})
		}, nil},
		{"owned already, with our tag", func(w *world) {
			w.s3.AddBucket(managedName, awstest.Region)
			w.s3.Tag(managedName, map[string]string{"ManagedStackSource": "SociIndexBuilder"})
			w.s3.Fail("HeadBucket", 1, &awstest.Error{Status: 404, Code: "NotFound", Message: "not yet"})
			w.s3.Fail("CreateBucket", 1, owned)
		}, nil},
		{"owned already, without our tag", func(w *world) {
			w.s3.AddBucket(managedName, awstest.Region)
			w.s3.Put(managedName, "x", nil)
			w.s3.Fail("HeadBucket", 1, &awstest.Error{Status: 404, Code: "NotFound", Message: "not yet"})
			w.s3.Fail("CreateBucket", 1, owned)
		}, codebucket.ErrForeign},
		{"there, without our tag", func(w *world) { w.s3.AddBucket(managedName, awstest.Region) },
			codebucket.ErrForeign},
		{"not allowed", func(w *world) {
			w.s3.Fail("CreateBucket", 1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "Access Denied"})
		}, awserror.ErrDenied},
		{"throttled", func(w *world) {
			w.s3.Fail("CreateBucket", 1<<20,
				&awstest.Error{Status: 503, Code: "SlowDown", Message: "Reduce your request rate."})
		}, awserror.ErrThrottled},
		{"the code is not to be had", func(w *world) {
			w.s3.Fail("PutObject", 1<<20, awstest.Throttled)
		}, awserror.ErrThrottled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w)
			d, screen := w.managed(another, nil)
			err := awserror.Explain(d.Run(t.Context()))
			if !errors.Is(err, tt.fails) {
				t.Fatalf("the error is %v, want %v", err, tt.fails)
			}
			if tt.fails == nil {
				return
			}
			if is := w.status(); is != "absent" || w.changeSets("CreateChangeSet") != 0 {
				t.Errorf("the stack is %s, said %q", is, screen.said)
			}
		})
	}
}

// Between the upload and the execution somebody takes the name of the bucket,
// and lets CloudFormation read another code: it is not executed.
func TestOwnerChanges(t *testing.T) {
	t.Parallel()
	for _, managed := range []bool{true, false} {
		w := newWorld(t)
		w.created()
		name, d, screen := "code", (*deploy.Deploy)(nil), (*screen)(nil)
		if d, screen = w.deploy(another, nil); managed {
			w.run(w.managedFrom())
			name = managedName
			d, screen = w.managed(another, nil)
		}
		before := w.changeSets("ExecuteChangeSet")
		d.Screen = &meanwhile{screen, func() { w.s3.Own(name, "999999999999", true) }}
		err := d.Run(t.Context())
		if !errors.Is(err, codebucket.ErrOwner) || w.changeSets("ExecuteChangeSet") != before {
			t.Errorf("%s: the error is %v, want ErrOwner", name, err)
		}
		w.status()
	}
}

// managedFrom moves the stack to the managed bucket.
func (w *world) managedFrom() (*deploy.Deploy, *screen) {
	w.stacks.Change("prod", func(s *awstest.Stack) {
		// As a stack whose bucket is gone would be: it names none of the user's.
		s.Parameters[deployed.ParamCodeBucket] = managedName
	})
	return w.managed(settings.Settings{}, nil)
}

// A bucket of the user's own stays that of the stack.
func TestOwnBucketStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.created()
	w.run(w.managed(another, nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamCodeBucket] != "code" ||
		slices.Contains(w.s3.Buckets(), managedName) {
		t.Errorf("the stack's bucket is %s", s.Parameters[deployed.ParamCodeBucket])
	}
}

// The managed bucket, named by the user, is the managed bucket.
func TestManagedBucketByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.run(w.managed(settings.Settings{Bucket: managedName, Filters: "team/*:*"}, nil))
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "*:*" ||
		len(w.objects(managedName, codebucket.OwnPrefix, "")) != 0 {
		t.Errorf("parameters %v, objects %q", s.Parameters, w.objects(managedName, "", ""))
	}
}

// at has a deploy think that so much time has passed.
func at(later time.Duration) func(*deploy.Mode) {
	return func(m *deploy.Mode) { m.Now = func() time.Time { return time.Now().Add(later) } }
}

// Five records are kept, and the code that they or a stack name; older code goes.
func TestPrune(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"code", managedName} {
		t.Run(bucket, func(t *testing.T) {
			w := newWorld(t)
			next := w.managed
			if bucket == "code" {
				next = w.deploy
				w.s3.Put("code", "soci-index-builder/code/other/filter.zip", []byte("x")) // nothing names it
				w.s3.Put("code", "mine", []byte("x"))
			}
			for i := range 8 {
				w.version = string(rune('a' + i))
				w.run(next(another, at(time.Duration(i*2)*time.Hour)))
			}
			prefix := map[string]string{"code": "soci-index-builder/"}[bucket]
			if n := len(w.objects(bucket, prefix+"records/prod/", ".json")); n != 5 {
				t.Errorf("%d records", n)
			}
			if n := len(w.objects(bucket, prefix+"records/prod/", ".succeeded")); n != 5 {
				t.Errorf("%d marks", n)
			}
			if got := w.objects(bucket, prefix+"code/", "reponame.zip"); len(got) != 5 {
				t.Errorf("%d versions of the code: %q", len(got), got)
			}
			for _, mine := range []string{"mine", "soci-index-builder/code/other/"} {
				if bucket == "code" && len(w.objects("code", mine, "")) != 1 {
					t.Errorf("%s, which is the user's, was deleted", mine)
				}
			}
		})
	}
}

// Old code stays as long as it is not known what is needed.
func TestPruneUnsure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*world)
		says string
	}{
		{"a damaged record of another stack", func(w *world) {
			w.s3.Put(managedName, "records/other/20260101t000000z-00000000.json", []byte("{"))
		}, "no old code is deleted: what the stack other needs is not known: s3://" + managedName + "/records/other/"},
		{"what there is cannot be listed", func(w *world) {
			w.s3.Fail("ListObjectVersions", 1<<20, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
		}, "no old code is deleted: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for i := range 7 {
				if i == 6 {
					tt.do(w)
				}
				w.version = string(rune('a' + i))
				screen := w.run(w.managed(another, at(time.Duration(i*2)*time.Hour)))
				if i == 6 && !screen.has(tt.says) {
					t.Errorf("said %q", screen.said)
				}
			}
			if n := len(w.objects(managedName, "code/", "filter.zip")); n != 6 {
				t.Errorf("%d versions of the code", n)
			}
		})
	}
}

// Objects in the same bucket that another stack names are kept.
func TestPruneOtherStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(another, nil))
	first := w.objects(managedName, "code/", "filter.zip")[0]
	w.stacks.Add(&awstest.Stack{Name: "other", Status: "CREATE_COMPLETE", Template: "{}", Parameters: map[string]string{
		deployed.ParamCodeBucket: managedName, deployed.ParamCodeKeyPrefix: strings.TrimSuffix(first, "filter.zip")},
		Outputs: map[string]string{}, Tags: map[string]string{}})
	for i := range 7 {
		w.version = string(rune('b' + i))
		w.run(w.managed(another, at(time.Duration(2+i*2)*time.Hour)))
	}
	if len(w.objects(managedName, first, "")) != 1 {
		t.Error("the code of the other stack is gone")
	}
	if n := len(w.objects(managedName, "code/", "filter.zip")); n != 6 {
		t.Errorf("%d versions of the code", n)
	}
}

// A deploy that ends before its execution leaves no record; one that fails
// leaves one without a mark.
func TestUnmarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	d, screen := w.managed(another, nil)
	screen.answers = []bool{false}
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrDeclined) {
		t.Errorf("the error is %v, want ErrDeclined", err)
	}
	if n := len(w.objects(managedName, "records/prod/", ".json")); n != 1 {
		t.Errorf("%d records", n)
	}
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ = w.managed(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	if n, marks := len(w.objects(managedName, "records/prod/", ".json")),
		len(w.objects(managedName, "records/prod/", ".succeeded")); n != 2 || marks != 1 {
		t.Errorf("%d records, %d marks", n, marks)
	}
}

package deploy_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
)

// functions are the names of the stack's functions, by logical ids. That of the
// state machine has the generator's code.
func (w *world) functions() map[string]string {
	s := w.stacks.Stack("prod")
	return map[string]string{"FilterFunction": s.Outputs[deployed.OutFilterFunctionName],
		"GeneratorFunction":      s.Outputs[deployed.OutGeneratorFunctionName],
		"RepositoryNameFunction": s.Outputs[deployed.OutRepositoryFunctionName],
		"StepsFunction":          strings.TrimPrefix(s.Outputs[deployed.OutStepsFunctionARN], awstest.FunctionARN(""))}
}

// sums is what Lambda says of the functions' code.
func (w *world) sums() map[string]string {
	all := map[string]string{}
	for function, name := range w.functions() {
		all[function] = w.code.Sum(name)
	}
	return all
}

func (w *world) rollback(change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	return w.managed(settings.Settings{}, func(m *deploy.Mode) {
		m.Rollback = true
		m.Functions = func(string, string) ([]byte, error) { panic("the program's own code is not needed") }
		if change != nil {
			change(m)
		}
	})
}

func codeOnly(m *deploy.Mode) { m.CodeOnly = true }

func TestRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{Filters: "a/*:*", Tags: map[string]string{"team": "a"}}, nil))
	a, sumsA := maps.Clone(w.stacks.Stack("prod").Parameters), w.sums()
	w.version = "b"
	w.run(w.managed(settings.Settings{Filters: "b/*:*"}, nil))
	b, sumsB := maps.Clone(w.stacks.Stack("prod").Parameters), w.sums()
	if sumsA["FilterFunction"] == sumsB["FilterFunction"] ||
		a[deployed.ParamCodeKeyPrefix] == b[deployed.ParamCodeKeyPrefix] {
		t.Fatalf("the code is the same: %v", sumsA)
	}
	screen := w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); !maps.Equal(s.Parameters, a) || !maps.Equal(w.sums(), sumsA) {
		t.Errorf("parameters %v, said %q", s.Parameters, screen.said)
	}
	if !screen.has("back to what was deployed at ") || !screen.has("there already  s3://"+managedName) {
		t.Errorf("said %q", screen.said)
	}
	// Another one goes back to where the first began.
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); !maps.Equal(s.Parameters, b) || !maps.Equal(w.sums(), sumsB) {
		t.Errorf("parameters %v", s.Parameters)
	}
}

// Without a record of an earlier version nothing is changed.
func TestRollbackWithoutRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, deployed.ErrNotFound) {
		t.Errorf("the error is %v, want ErrNotFound", err)
	}
	w.run(w.managed(settings.Settings{}, nil))
	d, _ = w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, record.ErrNone) ||
		!strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("the error is %v, want ErrNone", err)
	}
	// A failed deployment is not a version that ran.
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ = w.managed(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	d, _ = w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, record.ErrNone) {
		t.Errorf("the error is %v, want ErrNone", err)
	}
	if n := w.changeSets("CreateChangeSet"); n != 2 {
		t.Errorf("%d change sets", n)
	}
	w.s3.Put(managedName, "records/prod/30260101t000000z-00000000.json", []byte("{"))
	d, _ = w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("the error is %v, want ErrCorrupt", err)
	}
}

// The code that a record names is gone: that is found before anything is done.
func TestRollbackWithoutCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{}, nil))
	b, err := codebucket.NewManaged(w.config, codebucket.ManagedOptions{Account: awstest.Account}).Open(t.Context(),
		managedName)
	if err == nil {
		err = b.Remove(t.Context(), w.objects(managedName, "code/", "filter.zip")...)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.version = "b"
	w.run(w.managed(settings.Settings{}, nil))
	d, _ := w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, codebucket.ErrNoObject) {
		t.Errorf("the error is %v, want ErrNoObject", err)
	}
	if n := w.changeSets("CreateChangeSet"); n != 2 {
		t.Errorf("%d change sets", n)
	}
}

// A failed rollback is reported as a failed deploy is, and leaves the stack as it
// was; so does one that is declined.
func TestRollbackFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.run(w.managed(another, nil))
	d, screen := w.rollback(nil)
	screen.answers = []bool{false}
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrDeclined) {
		t.Errorf("the error is %v, want ErrDeclined", err)
	}
	w.stacks.FailResource("prod", "FilterFunction", "", "it cannot be")
	d, screen = w.rollback(nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) ||
		screen.failed.Failure.Root.Reason != "it cannot be" {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != another.Filters ||
		w.status() != "UPDATE_ROLLBACK_COMPLETE" {
		t.Errorf("%s, filters %s", s.Status, s.Parameters[deployed.ParamFilters])
	}
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "*:*" {
		t.Errorf("filters %s", s.Parameters[deployed.ParamFilters])
	}
}

// A deploy that nobody waited for is a version that ran all the same.
func TestRollbackAfterDetach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.run(w.managed(another, func(m *deploy.Mode) { m.Detach = true }))
	if n := len(w.objects(managedName, "records/prod/", ".succeeded")); n != 1 {
		t.Fatalf("%d marks", n)
	}
	for range 100 {
		s := w.stacks.Stack("prod")
		if s.Status == "UPDATE_COMPLETE" {
			break
		}
		d, _ := w.rollback(func(m *deploy.Mode) { m.Folder = t.TempDir() }) // asks for the stack
		_, _, _ = d.DryRun(t.Context())
	}
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "*:*" {
		t.Errorf("filters %s", s.Parameters[deployed.ParamFilters])
	}
	if n := len(w.objects(managedName, "records/prod/", ".succeeded")); n != 3 {
		t.Errorf("%d marks", n)
	}
}

// The records go along when the code moves to another bucket.
func TestRollbackAcrossBuckets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{}, nil))
	before := maps.Clone(w.stacks.Stack("prod").Parameters)
	w.version = "b"
	w.run(w.deploy(settings.Settings{}, nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamCodeBucket] != "code" {
		t.Fatalf("the bucket is %s", s.Parameters[deployed.ParamCodeBucket])
	}
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); !maps.Equal(s.Parameters, before) {
		t.Errorf("parameters %v", s.Parameters)
	}
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamCodeBucket] != "code" {
		t.Errorf("the bucket is %s", s.Parameters[deployed.ParamCodeBucket])
	}
}

// Where the stack is not what the last version that was deployed is, a rollback goes
// to that one, not beyond it.
func TestRollbackOfSomethingElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*world)
	}{
		{"an update that failed and was not rolled back", func(w *world) {
			w.version = "c"
			w.stacks.FailResource("prod", "FilterFunction", "", "no")
			d, _ := w.managed(settings.Settings{Filters: "c/*:*", DisableRollback: true}, nil)
			if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) || w.status() != "UPDATE_FAILED" {
				t.Fatalf("%v, the stack is %s", err, w.status())
			}
		}},
		{"somebody else's update", func(w *world) {
			w.stacks.Change("prod", func(s *awstest.Stack) {
				s.Parameters = maps.Clone(s.Parameters)
				s.Parameters[deployed.ParamFilters] = "theirs/*:*"
			})
		}},
		{"somebody else's code", func(w *world) {
			const key = "code/theirs/filter.zip"
			w.s3.Put(managedName, key, []byte("theirs"))
			for _, name := range w.functions() {
				w.code.Deploy(name, map[string]any{"S3Bucket": managedName, "S3Key": key})
			}
			w.stacks.Change("prod", func(s *awstest.Stack) {
				s.Parameters = maps.Clone(s.Parameters)
				s.Parameters[deployed.ParamCodeKeyPrefix] = "code/theirs/"
			})
		}},
		{"a newer version that is not marked, and somebody else's update", func(w *world) {
			w.version = "c"
			w.stacks.FailResource("prod", "FilterFunction", "", "no")
			d, _ := w.managed(settings.Settings{Filters: "c/*:*"}, nil)
			if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
				t.Fatalf("the error is %v", err)
			}
			w.stacks.Change("prod", func(s *awstest.Stack) { s.Tags = map[string]string{"team": "theirs"} })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for _, version := range []string{"a", "b"} {
				w.version = version
				w.run(w.managed(settings.Settings{Filters: version + "/*:*"}, nil))
			}
			b, sums, tags := maps.Clone(w.stacks.Stack("prod").Parameters), w.sums(), w.stacks.Stack("prod").Tags
			tt.do(w)
			w.run(w.rollback(nil))
			if s := w.stacks.Stack("prod"); !maps.Equal(s.Parameters, b) || !maps.Equal(s.Tags, tags) ||
				!maps.Equal(w.sums(), sums) {
				t.Errorf("parameters %v, want %v", s.Parameters, b)
			}
			// From there the next one goes on to the version before.
			w.run(w.rollback(nil))
			if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "a/*:*" {
				t.Errorf("the filters are %s", s.Parameters[deployed.ParamFilters])
			}
		})
	}
}

// A version that failed and was rolled back has not changed what runs.
func TestRollbackAfterFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{Filters: "a/*:*"}, nil))
	w.run(w.managed(settings.Settings{Filters: "b/*:*"}, nil))
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ := w.managed(settings.Settings{Filters: "c/*:*"}, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) || w.status() != "UPDATE_ROLLBACK_COMPLETE" {
		t.Fatalf("%v, the stack is %s", err, w.status())
	}
	w.run(w.rollback(nil))
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "a/*:*" {
		t.Errorf("the filters are %s", s.Parameters[deployed.ParamFilters])
	}
}

// Code in place: only the functions change, and the next deploy puts back what
// the stack names.
func TestCodeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{}, nil))
	a := w.sums()
	// CloudFormation has taken each function's code from where deploy expects it.
	screen := w.run(w.managed(settings.Settings{}, codeOnly))
	if !screen.has("the functions have this code already") {
		t.Errorf("said %q", screen.said)
	}
	w.version = "b"
	screen = w.run(w.managed(settings.Settings{}, codeOnly))
	b := w.sums()
	for function, name := range w.functions() {
		if a[function] == b[function] || w.code.Changed(name) != 1 {
			t.Errorf("%s was not changed", function)
		}
	}
	if n := w.changeSets("CreateChangeSet"); n != 1 ||
		!screen.has("? Change the code of FilterFunction, ") {
		t.Errorf("%d change sets, said %q", n, screen.said)
	}
	// Again: nothing to do.
	screen = w.run(w.managed(settings.Settings{}, codeOnly))
	if !screen.has("the functions have this code already") || screen.has("? ") {
		t.Errorf("said %q", screen.said)
	}
	d, _ := w.managed(settings.Settings{FailOnEmpty: true}, codeOnly)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrEmpty) {
		t.Errorf("the error is %v, want ErrEmpty", err)
	}
	if n := len(w.objects(managedName, "records/prod/", ".json")); n != 2 {
		t.Errorf("%d records", n)
	}
	// A deploy of the code that the stack names repairs the drift: its change set
	// is empty.
	w.version = "a"
	screen = w.run(w.managed(settings.Settings{}, nil))
	if got := w.sums(); !maps.Equal(got, a) ||
		!screen.has("? The code of FilterFunction, GeneratorFunction, RepositoryNameFunction, "+
			"StepsFunction was changed in place") {
		t.Errorf("said %q", screen.said)
	}
	if w.changeSets("ExecuteChangeSet") != 1 {
		t.Error("the stack was updated")
	}
	// A deploy of other code brings that.
	w.version = "b"
	w.run(w.managed(settings.Settings{}, codeOnly))
	w.version = "c"
	w.run(w.managed(settings.Settings{}, nil))
	if got := w.sums(); got["FilterFunction"] == a["FilterFunction"] || got["FilterFunction"] == b["FilterFunction"] {
		t.Error("the code is not the new one")
	}
}

// The repair is declined: the code stays.
func TestDriftDeclined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.version = "b"
	w.run(w.managed(settings.Settings{}, codeOnly))
	b := w.sums()
	w.version = ""
	d, screen := w.managed(settings.Settings{}, nil)
	screen.answers = []bool{false}
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrDeclined) || !maps.Equal(w.sums(), b) {
		t.Errorf("the error is %v, want ErrDeclined", err)
	}
}

// After a change in place a rollback goes back to what was deployed, though the
// stack itself has not changed, and another one to the code in place.
func TestRollbackAfterCodeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.version = "a"
	w.run(w.managed(settings.Settings{}, nil))
	a := w.sums()
	w.version = "b"
	w.run(w.managed(settings.Settings{}, codeOnly))
	b := w.sums()
	w.run(w.rollback(nil))
	if !maps.Equal(w.sums(), a) {
		t.Error("the code is not that of the deploy")
	}
	w.run(w.rollback(nil))
	if !maps.Equal(w.sums(), b) {
		t.Error("the code is not that in place")
	}
	if w.changeSets("ExecuteChangeSet") != 2 { // the second one has other keys
		t.Errorf("%d updates", w.changeSets("ExecuteChangeSet"))
	}
}

// More than the code differs.
func TestCodeOnlyRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		s    settings.Settings
		do   func(*awstest.Stack)
		want []string
	}{
		{"parameter", another, nil, []string{"parameter SociRepositoryImageTagFilters *:* -> team/*:*"}},
		{"tag", settings.Settings{Tags: map[string]string{"a": "b"}}, nil, []string{"tag a: (none) -> b"}},
		{"template", settings.Settings{}, func(s *awstest.Stack) {
			s.Template = strings.Replace(s.Template, `"Timeout":900`, `"Timeout":800`, -1)
		}, []string{"the template", "GeneratorFunction (change)"}},
		{"architecture", settings.Settings{Architecture: "amd64"}, nil,
			[]string{"the template", "GeneratorFunction (change)", "FilterFunction (change)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.run(w.managed(settings.Settings{}, nil))
			if tt.do != nil {
				w.stacks.Change("prod", tt.do)
			}
			w.version = "b"
			d, _ := w.managed(tt.s, codeOnly)
			err := d.Run(t.Context())
			if !errors.Is(err, deploy.ErrState) {
				t.Fatalf("the error is %v, want ErrState", err)
			}
			for _, text := range tt.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %v, want %s", err, text)
				}
			}
			if n := len(w.objects(managedName, "code/", "")); n != 3 {
				t.Errorf("%d zip files", n)
			}
		})
	}
	w := newWorld(t)
	d, _ := w.managed(settings.Settings{}, codeOnly)
	if err := d.Run(t.Context()); !errors.Is(err, deployed.ErrNotFound) {
		t.Errorf("the error is %v, want ErrNotFound", err)
	}
}

// Lambda cannot take the code: the error says so, and the version is none that
// ran.
func TestCodeOnlyFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	w.version = "b"
	w.code.FailUpdate(w.functions()["GeneratorFunction"], "the executable is too large")
	d, _ := w.managed(settings.Settings{}, codeOnly)
	err := d.Run(t.Context())
	if !errors.Is(err, deploy.ErrFailed) ||
		!strings.Contains(err.Error(), "InternalError: the executable is too large") {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	if n := len(w.objects(managedName, "records/prod/", ".succeeded")); n != 1 {
		t.Errorf("%d marks", n)
	}
	// Throttling only delays.
	w.server.Fail("lambda", "PUT /2015-03-31/functions/"+w.functions()["GeneratorFunction"]+"/code",
		1, awstest.Throttled)
	w.run(w.managed(settings.Settings{}, codeOnly))
}

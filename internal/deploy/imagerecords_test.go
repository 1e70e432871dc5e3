package deploy_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/ecrclient"
)

const generator = "GeneratorFunction"

// open opens a repository.
func (w *imageWorld) open(uri string) *companion.Managed {
	w.t.Helper()
	m, err := companion.Open(w.config, uri, ecrclient.WithEndpoint(w.registry.URL()))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *imageWorld) repository(function string) string {
	w.t.Helper()
	uri, err := companion.RepositoryURI(awstest.Account, awstest.Region, "prod", function)
	if err != nil {
		w.t.Fatal(err)
	}
	return uri
}

// has counts what is in a repository.
func (w *imageWorld) has(uri string) map[companion.Kind]int {
	w.t.Helper()
	all, err := w.open(uri).Images(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[companion.Kind]int{}
	for _, i := range all {
		count[i.Kind]++
	}
	return count
}

// back does a rollback.
func (w *imageWorld) back(change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	return w.rollback(func(m *deploy.Mode) {
		m.Registry = []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())}
		if change != nil {
			change(m)
		}
	})
}

// zip makes a deploy with zip files in the managed bucket.
func (w *imageWorld) zip(s settings.Settings, answers ...bool) (*deploy.Deploy, *screen) {
	s.Package = embedded.Zip
	d, screen := w.managed(s, func(m *deploy.Mode) {
		m.Registry = []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())}
	})
	screen.answers = answers
	return d, screen
}

// version is what the stack runs.
type version struct {
	parameters, sums map[string]string
}

func (w *imageWorld) running() version {
	return version{maps.Clone(w.stacks.Stack("prod").Parameters), w.sums()}
}

func (w *imageWorld) wants(v version) {
	w.t.Helper()
	if is := w.running(); !maps.Equal(is.parameters, v.parameters) || !maps.Equal(is.sums, v.sums) {
		w.t.Errorf("it runs %v, want %v", is, v)
	}
}

func TestImageRollback(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.version = "a"
	w.run(w.deploy(settings.Settings{Filters: "a/*:*"}, nil))
	a := w.running()
	d, _ := w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, record.ErrNone) {
		t.Errorf("the error is %v, want ErrNone", err)
	}
	w.version = "b"
	w.run(w.deploy(settings.Settings{Filters: "b/*:*"}, nil))
	b := w.running()
	if a.sums[generator] == b.sums[generator] || a.sums[generator] != a.sums["StepsFunction"] {
		t.Fatalf("the code is %v, then %v", a.sums, b.sums)
	}
	if is := w.has(w.repository(generator)); is[companion.RecordImage] != 4 || is[companion.FunctionImage] != 2 {
		t.Errorf("the generator's repository has %v", is)
	}
	screen := w.run(w.back(nil))
	w.wants(a)
	if !screen.has("back to what was deployed at ") ||
		!screen.has("there already  "+a.parameters["FilterFunctionImageUri"]) {
		t.Errorf("said %q", screen.said)
	}
	w.run(w.back(nil))
	w.wants(b)
}

// Zip files, images, zip files: each rollback goes to what ran before, and the
// next one back again.
func TestRollbackAcrossPackages(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.version = "a"
	w.run(w.zip(settings.Settings{}))
	a := w.running()
	w.version = "b"
	w.run(w.deploy(settings.Settings{}, nil))
	b := w.running()
	w.run(w.back(nil))
	w.wants(a)
	w.run(w.back(nil))
	w.wants(b)
	w.version = "c"
	w.run(w.zip(settings.Settings{}, true, false)) // no: the repositories stay
	c := w.running()
	w.run(w.back(nil))
	w.wants(b)
	w.run(w.back(nil))
	w.wants(c)
	w.version = "d"
	w.run(w.zip(settings.Settings{}, true, true)) // yes: they go
	if w.stacks.Stack(companion.StackName("prod")) != nil {
		t.Fatal("the companion stack is there")
	}
	w.run(w.back(nil))
	w.wants(c)
}

// The images of the version before are gone: that is found before anything is
// done.
func TestImageRollbackWithoutImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	w.run(w.zip(settings.Settings{}, true, true))
	before := w.changeSets("CreateChangeSet")
	d, _ := w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrMissing) ||
		w.changeSets("CreateChangeSet") != before {
		t.Errorf("the error is %v, want ErrMissing", err)
	}
}

func TestImageCodeOnly(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.version = "a"
	w.run(w.deploy(settings.Settings{}, nil))
	a := w.running()
	if screen := w.run(w.deploy(settings.Settings{}, codeOnly)); !screen.has("the functions have this code already") {
		t.Errorf("said %q", screen.said)
	}
	w.version = "b"
	changeSets := w.changeSets("CreateChangeSet")
	w.run(w.deploy(settings.Settings{}, codeOnly))
	b := w.running()
	for function, name := range w.functions() {
		if a.sums[function] == b.sums[function] || w.code.Changed(name) != 1 {
			t.Errorf("%s was not changed", function)
		}
	}
	if n := w.changeSets("CreateChangeSet"); n != changeSets ||
		!maps.Equal(a.parameters, b.parameters) {
		t.Errorf("%d change sets, parameters %v", n, b.parameters)
	}
	// Back, and forth again; the latter is an update of the stack.
	w.run(w.back(nil))
	w.wants(a)
	w.run(w.back(nil))
	if is := w.running(); !maps.Equal(is.sums, b.sums) {
		t.Errorf("it runs %v", is)
	}
	// A deploy repairs what was changed in place.
	w.version = "c"
	w.run(w.deploy(settings.Settings{}, codeOnly))
	w.version = "b"
	screen := w.run(w.deploy(settings.Settings{}, nil))
	if is := w.sums(); !maps.Equal(is, b.sums) ||
		!screen.has("StepsFunction was changed in place since the last deploy") {
		t.Errorf("it runs %v, said %q", is, screen.said)
	}
	// Lambda does not take the image.
	w.version = "d"
	w.code.FailUpdate(w.functions()[generator], "the image is too large")
	d, _ := w.deploy(settings.Settings{}, codeOnly)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) ||
		!strings.Contains(err.Error(), "InternalError: the image is too large") {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
}

// Code in place is refused where the stack does not have its code: its record
// would not be found.
func TestCodeOnlyElsewhere(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	w.ecr.Repository("team/generator", awstest.Repository{})
	own := map[string]string{generator: w.ecr.Host() + "/team/generator"}
	w.version = "b"
	for want, d := range map[string]*deploy.Deploy{
		"generatorfunction7e076e5arepo -> ....amazonaws.com/team/generator; ": first(
			w.deploy(settings.Settings{Repositories: own}, codeOnly)),
		"the template": first(w.managed(settings.Settings{Package: embedded.Zip}, codeOnly)),
	} {
		if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrState) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want ErrState and %s", err, want)
		}
	}
	zip := newWorld(t)
	zip.created()
	zip.s3.AddBucket("other", awstest.Region)
	d, _ := zip.deployTo("other", settings.Settings{}, codeOnly)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrState) ||
		!strings.Contains(err.Error(), "the bucket code -> other") {
		t.Errorf("the error is %v, want ErrState", err)
	}
	// Without the companion stack there is nowhere to push to.
	w.account.DeleteImages()
	for _, f := range companion.Functions {
		w.ecr.DeleteRepository(companion.RepositoryName("prod", f.LogicalID))
	}
	w.stacks.Change(companion.StackName("prod"), func(s *awstest.Stack) { s.Status = "DELETE_COMPLETE" })
	d, _ = w.deploy(settings.Settings{}, codeOnly)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrState) || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("the error is %v, want ErrState", err)
	}
}

func first(d *deploy.Deploy, _ *screen) *deploy.Deploy { return d }

// Five records are kept with their images; older images go, but not from a
// repository that another stack has an image in, or that is the user's own.
func TestPruneImages(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.ecr.Repository("team/names", awstest.Repository{})
	own := map[string]string{"RepositoryNameFunction": w.ecr.Host() + "/team/names"}
	next := func(i int) *screen {
		w.version = string(rune('a' + i))
		return w.run(w.deploy(settings.Settings{Repositories: own}, at(time.Duration(i*2)*time.Hour)))
	}
	for i := range 7 {
		if i == 3 { // by tag, as other ways of deploying have it
			image, _, _ := strings.Cut(w.stacks.Stack("prod").Parameters[deployed.ParamFilterImage], "@")
			w.stacks.Add(&awstest.Stack{Name: "other", Status: "CREATE_COMPLETE", Template: "{}",
				Tags:    map[string]string{},
				Outputs: map[string]string{}, Parameters: map[string]string{
					deployed.ParamFilterImage: image + ":release"}})
		}
		next(i)
	}
	for uri, want := range map[string][2]int{
		w.repository(generator):        {5, 10},
		w.repository("FilterFunction"): {7, 0},
	} {
		if is := w.has(uri); is[companion.FunctionImage] != want[0] || is[companion.RecordImage] != want[1] {
			t.Errorf("%s has %v, want %v", uri, is, want)
		}
	}
	if is := w.has(own["RepositoryNameFunction"]); is[companion.FunctionImage] != 7 {
		t.Errorf("the user's repository has %v", is)
	}
	// The first version is still there when it is deployed again after seven others.
	w.version = "a"
	d, screen := w.deploy(settings.Settings{Repositories: own}, at(16*time.Hour))
	w.run(d, screen)
	w.run(w.back(nil))
	// As long as it is not known what is needed, nothing goes.
	w.server.Fail("ecr", "DescribeImages", 1<<20,
		&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
	if screen := next(10); !screen.has("no old code is deleted: ") {
		t.Errorf("said %q", screen.said)
	}
}

// The user's own repositories lose nothing: neither images nor records, however
// old, nor what belongs to another stack or to a deploy that changed nothing.
func TestOwnRepositories(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	own := map[string]string{}
	for _, f := range companion.Functions {
		name := "team/" + f.Executable
		w.ecr.Repository(name, awstest.Repository{Mutability: "IMMUTABLE"})
		own[f.LogicalID] = w.ecr.Host() + "/" + name
	}
	for i := range 7 {
		if i == 5 { // of another stack, which is older than all
			m := w.open(own[generator])
			all, err := record.InRepository(m.Registry(), nil, "prod").List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			another := *all[len(all)-1]
			another.Stack = "other"
			if err := record.InRepository(m.Registry(), nil, "other").Write(t.Context(), &another); err != nil {
				t.Fatal(err)
			}
		}
		w.version = string(rune('a' + i))
		d, screen := w.deploy(settings.Settings{Repositories: own}, at(time.Duration(i*2)*time.Hour))
		w.run(d, screen)
		if screen.has("deleted") {
			t.Errorf("deploy %d said %q", i, screen.said)
		}
	}
	// Seven records with their marks, and that of the other stack.
	is := w.has(own[generator])
	expect.Equal(t, expect.Facts{
		{"functions' images", is[companion.FunctionImage], 7},
		{"records", is[companion.RecordImage], 15},
		{"the companion stack's there", w.stacks.Stack(companion.StackName("prod")) != nil, false},
	}, "the generator's repository has %v", is)
	// The record of a deploy that ends before its execution stays too.
	w.version = "h"
	w.server.Fail("cloudformation", "CreateChangeSet", 2, // one asks for the right alone
		&awstest.Error{Status: 400, Code: "ValidationError", Message: "no"})
	d, _ := w.deploy(settings.Settings{Repositories: own}, at(14*time.Hour))
	if err := d.Run(t.Context()); err == nil {
		t.Error("the deploy that failed has no error")
	}
	after := w.has(own[generator])
	expect.Equal(t, expect.Facts{
		{"functions' images", after[companion.FunctionImage], 8},
		{"records", after[companion.RecordImage], 16},
	}, "after a deploy that failed, the generator's repository has %v", after)
	w.run(w.back(at(15 * time.Hour)))
	// The stack's repositories stay until others are named. Then the records go
	// along.
	w.run(w.deploy(settings.Settings{Filters: "other/*:*"}, at(15*time.Hour)))
	expect.Equal(t, expect.Facts{
		{"the companion stack's there", w.stacks.Stack(companion.StackName("prod")) != nil, false},
		{"calls of BatchDeleteImage", w.server.Count("ecr", "BatchDeleteImage"), 0},
	}, "after a deploy of other filters")
	before, kept := w.running(), w.has(own[generator])
	managed := map[string]string{}
	for _, f := range companion.Functions {
		managed[f.LogicalID] = w.repository(f.LogicalID)
	}
	w.run(w.deploy(settings.Settings{Filters: "team/*:*", Repositories: managed}, at(16*time.Hour)))
	if is := w.stacks.Stack("prod").Parameters[deployed.ParamFilterImage]; !strings.HasPrefix(is,
		w.repository("FilterFunction")) {
		t.Errorf("the image is %s", is)
	}
	w.run(w.back(at(18 * time.Hour)))
	w.wants(before)
	// The code was elsewhere for a while, and has come back.
	is = w.has(own[generator])
	expect.Equal(t, expect.Facts{
		{"functions' images", is[companion.FunctionImage], kept[companion.FunctionImage]},
		{"as many records", is[companion.RecordImage] >= kept[companion.RecordImage], true},
	}, "the generator's repository had %v, now %v", kept, is)
}

// Records that somebody else has written: none leads to another registry, and
// none deploys another image than it shows.
func TestForgedRecords(t *testing.T) {
	t.Parallel()
	forged := func(t *testing.T, forge func(*record.Record)) error {
		w := newImageWorld(t)
		w.run(w.deploy(settings.Settings{}, nil))
		m := w.open(w.repository(generator))
		store := record.InRepository(m.Registry(), m, "prod")
		all, err := store.List(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		one := *all[0]
		one.Code, one.Parameters = maps.Clone(one.Code), maps.Clone(one.Parameters)
		one.ID = record.NewID(one.Time.Add(-time.Hour), "00000000")
		forge(&one)
		if err := errors.Join(store.Write(t.Context(), &one), store.MarkSucceeded(t.Context(), &one)); err != nil {
			t.Fatal(err)
		}
		changeSets, registry := w.changeSets("CreateChangeSet"), w.has(w.repository(generator))
		d, _ := w.back(nil)
		err = d.Run(t.Context())
		if w.changeSets("CreateChangeSet") != changeSets ||
			!maps.Equal(registry, w.has(w.repository(generator))) {
			t.Error("something was changed")
		}
		return err
	}
	named := func(r *record.Record, image string) {
		r.Code[generator] = record.Code{Image: image}
		r.Parameters[deployed.ParamGeneratorImage] = image
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		name  string
		forge func(*record.Record)
		want  error
	}{
		{"another registry", func(r *record.Record) { named(r, "evil.example/a/b"+digest) }, lambdaimage.ErrRepository},
		{"another account", func(r *record.Record) {
			named(r, "210987654321.dkr.ecr.eu-west-1.amazonaws.com/a"+digest)
		}, lambdaimage.ErrRepository},
		{"no such image", func(r *record.Record) {
			named(r, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a"+digest)
		}, deploy.ErrMissing},
		{"code and parameters differ", func(r *record.Record) {
			r.Parameters[deployed.ParamGeneratorImage] = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a" + digest
		}, record.ErrCorrupt},
		{"a function is missing", func(r *record.Record) { delete(r.Code, generator) }, record.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := forged(t, tt.forge); !errors.Is(err, tt.want) {
				t.Errorf("the error is %v, want %v", err, tt.want)
			}
		})
	}
}

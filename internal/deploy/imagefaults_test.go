package deploy_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// Where S3 is not allowed: with images nothing is asked of it, and a stack that
// comes from zip files loses no more than its rollback to them.
func TestImagesWithoutS3(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	w.run(w.deploy(another, nil))
	w.run(w.back(nil))
	w.version = "b"
	w.run(w.deploy(settings.Settings{}, codeOnly))
	if all := w.s3.Operations(); len(all) > 0 {
		t.Errorf("S3 was asked for %q", all)
	}
	w = newImageWorld(t)
	w.run(w.zip(settings.Settings{}))
	w.server.Fail("s3", "*", 1<<20, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"})
	screen := w.run(w.deploy(settings.Settings{}, nil))
	if !screen.has("the records of the deploys before cannot be read, so that rollback may not know them: ") {
		t.Errorf("said %q", screen.said)
	}
	d, _ := w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, record.ErrNone) {
		t.Errorf("the error is %v, want ErrNone", err)
	}
}

// Nobody waited for a version with images: it ran all the same.
func TestImageRollbackAfterDetach(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	a := w.running()
	w.run(w.deploy(another, func(m *deploy.Mode) { m.Detach = true }))
	for range 100 {
		if w.stacks.Stack("prod").Status == "UPDATE_COMPLETE" {
			break
		}
		d, _ := w.back(func(m *deploy.Mode) { m.Folder = t.TempDir() }) // asks for the stack
		_, _, _ = d.DryRun(t.Context())
	}
	w.run(w.back(nil))
	w.wants(a)
}

// A rollback to another package replaces the functions, which somebody must
// agree to before anything is made.
func TestRollbackAcrossPackagesWithoutConsent(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.zip(settings.Settings{}))
	w.run(w.deploy(settings.Settings{}, nil))
	before := w.changeSets("CreateChangeSet")
	d, _ := w.managed(settings.Settings{Capabilities: []string{"CAPABILITY_IAM"}}, func(m *deploy.Mode) {
		m.Rollback, m.Interactive, m.Yes = true, false, true
		m.Registry = []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())}
	})
	err := d.Run(t.Context())
	if !errors.Is(err, deploy.ErrConsent) || !strings.Contains(err.Error(), "give --allow-replacement") ||
		w.changeSets("CreateChangeSet") != before {
		t.Errorf("the error is %v, want ErrConsent", err)
	}
}

// The bucket that the version before had its code in is gone.
func TestRollbackWithoutBucket(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.zip(settings.Settings{}))
	w.run(w.deploy(settings.Settings{}, nil))
	w.server.Handle("s3", awstest.NewS3())
	d, _ := w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, codebucket.ErrNoBucket) {
		t.Errorf("the error is %v, want ErrNoBucket", err)
	}
}

// An update that fails is no version that ran, and one that is rolled back to
// fails like every other.
func TestImageUpdateFails(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.version = "a"
	w.run(w.deploy(settings.Settings{}, nil))
	a := w.running()
	w.version = "b"
	w.run(w.deploy(settings.Settings{}, nil))
	b := w.running()
	w.version = "c"
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ := w.deploy(settings.Settings{}, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ = w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Errorf("the error is %v, want ErrFailed", err)
	}
	if is := w.running(); !maps.Equal(is.parameters, b.parameters) {
		t.Errorf("it runs %v", is)
	}
	w.run(w.back(nil))
	w.wants(a)
}

// The registry fails before the execution: one clear error, the stack stays as
// it was, no change set is left, and the next deploy works.
func TestRegistryFails(t *testing.T) {
	t.Parallel()
	tags := registrytest.Rule{Method: http.MethodGet, Path: "/tags/"}
	for _, tt := range []struct {
		name string
		rule registrytest.Rule
		want error
	}{
		{"throttled, as the record is written", registrytest.Rule{Method: http.MethodPut, Path: "/manifests/deploy.",
			Fault: registrytest.Status(429, "TOOMANYREQUESTS", "Rate exceeded")}, ecrclient.ErrThrottled},
		{"no right to write a record", registrytest.Rule{Method: http.MethodPut, Path: "/manifests/deploy.",
			Fault: registrytest.Status(403, "DENIED", "not authorized to perform: ecr:PutImage")}, ecrclient.ErrDenied},
		{"no right to push", registrytest.Rule{Method: http.MethodPost,
			Fault: registrytest.Status(403, "DENIED", "not authorized to perform: ecr:InitiateLayerUpload")},
			ecrclient.ErrDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newImageWorld(t)
			w.version = "a"
			w.run(w.deploy(settings.Settings{}, nil))
			a := w.running()
			w.version = "b"
			w.registry.Add(tt.rule)
			d, _ := w.deploy(settings.Settings{}, nil)
			if err := d.Run(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("the error is %v, want %v", err, tt.want)
			}
			if is := w.status(); is != "CREATE_COMPLETE" {
				t.Errorf("the stack is %s", is)
			}
			w.wants(a)
			w.registry.Clear()
			if is := w.has(w.repository(generator)); is[companion.RecordImage] != 2 {
				t.Errorf("the generator's repository has %v", is)
			}
			w.run(w.deploy(settings.Settings{}, nil))
			w.run(w.back(nil))
			w.wants(a)
		})
	}
	// Records that cannot be listed stop no deploy, but a rollback.
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	tags.Fault = registrytest.Status(403, "DENIED", "not authorized to perform: ecr:ListImages")
	w.registry.Add(tags)
	screen := w.run(w.deploy(another, nil))
	if !screen.has("no old code is deleted: ") || !screen.has("marked: rollback knows this version") {
		t.Errorf("said %q", screen.said)
	}
	d, _ := w.back(nil)
	if err := d.Run(t.Context()); !errors.Is(err, ecrclient.ErrDenied) {
		t.Errorf("the error is %v, want ErrDenied", err)
	}
}

// Somebody deletes images and records between the push and the execution.
func TestRecordsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deploy(settings.Settings{}, nil))
	d, screen := w.deploy(another, nil)
	d.Screen = &meanwhile{screen, func() { w.account.DeleteImages() }}
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrMissing) || w.status() != "CREATE_COMPLETE" {
		t.Errorf("the error is %v, want ErrMissing", err)
	}
	// The next deploy pushes everything again.
	w.run(w.deploy(another, nil))
	if is := w.stacks.Stack("prod").Parameters[deployed.ParamFilters]; is != another.Filters {
		t.Errorf("the filters are %s", is)
	}
}

// One repository of the user's for all functions.
func TestOneRepository(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.ecr.Repository("team/soci", awstest.Repository{Mutability: "IMMUTABLE"})
	one := map[string]string{}
	for _, f := range companion.Functions {
		one[f.LogicalID] = w.ecr.Host() + "/team/soci"
	}
	w.version = "a"
	w.run(w.deploy(settings.Settings{Repositories: one}, nil))
	a := w.running()
	w.version = "b"
	w.run(w.deploy(settings.Settings{}, codeOnly))
	w.run(w.back(nil))
	w.wants(a)
	if is := w.has(one[generator]); is[companion.FunctionImage] != 6 {
		t.Errorf("the repository has %v", is)
	}
}

// The repository of the user's own that the stack names has gone: that is said,
// with how to make it, and nothing is changed.
func TestOwnRepositoryGone(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.ecr.Repository("team/filter", awstest.Repository{})
	own := map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter"}
	w.run(w.deploy(settings.Settings{Repositories: own}, nil))
	w.ecr.DeleteRepository("team/filter")
	d, _ := w.deploy(another, nil)
	err := awserror.Explain(d.Run(t.Context()))
	if !errors.Is(err, deploy.ErrSetting) ||
		!strings.Contains(err.Error(), "the repository team/filter does not exist") {
		t.Errorf("the error is %v, want ErrSetting", err)
	}
	if is := w.status(); is != "CREATE_COMPLETE" {
		t.Errorf("the stack is %s", is)
	}
}

// A stack that something else has deployed, with an image that it names by tag:
// it is taken over, and its repository stays the function's.
func TestImageByTag(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.ecr.Repository("team/filter", awstest.Repository{})
	w.run(w.deploy(settings.Settings{
		Repositories: map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter"}}, nil))
	w.stacks.Change("prod", func(s *awstest.Stack) {
		s.Parameters[deployed.ParamFilterImage] = w.ecr.Host() + "/team/filter:release"
	})
	w.run(w.deploy(another, nil))
	if is := w.stacks.Stack("prod").Parameters[deployed.ParamFilterImage]; !strings.HasPrefix(is,
		w.ecr.Host()+"/team/filter@sha256:") {
		t.Errorf("the image is %s", is)
	}
	w.stacks.Change("prod", func(s *awstest.Stack) { s.Parameters[deployed.ParamGeneratorImage] = "not an image" })
	w.run(w.deploy(settings.Settings{}, nil))
	if is := w.stacks.Stack("prod").Parameters[deployed.ParamGeneratorImage]; !strings.HasPrefix(is,
		w.repository(generator)+"@") {
		t.Errorf("the image is %s", is)
	}
}

// Each call of a deploy with images is throttled for good: either it is not
// needed, or one error says so. Nothing is left behind, and the next deploy works.
func TestImagesThrottled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		call string
		mode func(*deploy.Mode)
		says string // empty: it is an error
	}{
		{"ecr DescribeImages", nil, "no old code is deleted: "},
		{"ecr BatchDeleteImage", nil, "no old code is deleted: "},
		{"ecr DescribeRepositories", nil, ""},
		{"lambda GET /2015-03-31/functions/GENERATOR", codeOnly, ""},
		{"lambda PUT /2015-03-31/functions/GENERATOR/code", codeOnly, ""},
	} {
		t.Run(tt.call, func(t *testing.T) {
			w := newImageWorld(t)
			s := settings.Settings{}
			if !strings.HasPrefix(tt.call, "lambda ") { // own repositories are looked for
				w.ecr.Repository("team/filter", awstest.Repository{})
				s.Repositories = map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter"}
			}
			for i := range 6 {
				w.version = string(rune('a' + i))
				w.run(w.deploy(s, at(time.Duration(i*2)*time.Hour)))
				if i == 0 && s.Repositories == nil {
					break
				}
			}
			before := w.running()
			w.version = "z"
			service, operation,
				_ := strings.Cut(strings.ReplaceAll(tt.call, "GENERATOR", w.functions()[generator]), " ")
			w.server.Fail(service, operation, 1<<20, awstest.Throttled)
			d, screen := w.deploy(s, func(m *deploy.Mode) {
				at(20 * time.Hour)(m)
				if tt.mode != nil {
					tt.mode(m)
				}
			})
			err := awserror.Explain(d.Run(t.Context()))
			switch {
			case tt.says == "" && !errors.Is(err, awserror.ErrThrottled):
				t.Errorf("the error is %v, want ErrThrottled", err)
			case tt.says != "" && (err != nil || !screen.has(tt.says)):
				t.Errorf("%v, said %q", err, screen.said)
			case tt.says == "" && !maps.Equal(w.running().parameters, before.parameters):
				t.Error("the stack was changed")
			}
			if is := w.status(); !strings.HasSuffix(is, "E_COMPLETE") {
				t.Errorf("the stack is %s", is)
			}
		})
	}
}

// destroy names the code that the stack used to have in a bucket or in the user's
// repositories, and leaves it there.
func TestDestroyNamesEarlier(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.run(w.deployTo("code", settings.Settings{}, nil))
	w.ecr.Repository("team/filter", awstest.Repository{})
	w.ecr.Repository("team/generator", awstest.Repository{})
	w.run(w.deploy(settings.Settings{Repositories: map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter",
		generator: w.ecr.Host() + "/team/generator"}}, nil))
	w.run(w.deploy(settings.Settings{Repositories: map[string]string{"FilterFunction": w.repository("FilterFunction")}},
		nil))
	screen := &listing{screen: &screen{}}
	x, err := deploy.NewDestroy(deploy.DestroyOptions{Stack: "prod"}, deploy.Mode{Yes: true,
		Registry: []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())}}, screen)
	if err != nil {
		t.Fatal(err)
	}
	x.Deploy().AWS = w.config
	x.Deploy().Mode.Patience.Pause = time.Millisecond
	if err := x.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(screen.stays, "\n")
	for _, want := range []string{
		"3 zip files of earlier versions, and their records, in the bucket code, which is yours, such as " +
			"soci-index-builder/code/",
		"to delete them later: soci-index-builder destroy --stack prod --bucket code --region eu-west-1",
		"1 image of earlier versions in the repository team/filter, which is yours",
		"the image of GeneratorFunction and the records in the repository team/generator, which is yours",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if n := len(w.objects("code", "", "")); n != 5 || w.stacks.Stack("prod") != nil {
		t.Errorf("%d objects are left", n)
	}
	if is := w.has(w.ecr.Host() + "/team/generator"); is[companion.FunctionImage] != 1 {
		t.Errorf("the user's repository has %v", is)
	}
}

package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/functionzip"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// imageWorld is an account with a registry.
type imageWorld struct {
	*world
	registry *registrytest.Server
	account  *stacktest.Account
	ecr      *awstest.ECR
}

func newImageWorld(t *testing.T) *imageWorld {
	w := &imageWorld{registry: registrytest.Start(t)}
	w.world = &world{t: t, server: awstest.Start(t), stacks: awstest.NewCloudFormation(), s3: awstest.NewS3()}
	w.ecr = awstest.NewECR(w.registry)
	w.account = stacktest.NewAccount(t, w.server, w.stacks, w.ecr)
	w.code = awstest.NewLambdaCode(w.s3)
	w.account.Code = w.code
	w.s3.AddBucket("code", awstest.Region)
	w.server.Handle("s3", w.s3)
	w.config = w.server.Config()
	return w
}

func (w *imageWorld) deploy(s settings.Settings, change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	w.t.Helper()
	s.Package = embedded.Image
	m := func(m *deploy.Mode) {
		m.Registry = []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())}
		if change != nil {
			change(m)
		}
	}
	return w.deployTo("", s, m)
}

func (w *imageWorld) created() {
	w.t.Helper()
	d, _ := w.deploy(settings.Settings{}, nil)
	if err := d.Run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// Lambda gets the images that were pushed, by digest, in the form that it accepts.
func TestImagesArePushed(t *testing.T) {
	w := newImageWorld(t)
	w.created()
	for _, f := range companion.Functions {
		uri := w.stacks.Stack("prod").Parameters[f.Parameter]
		repository, digest, _ := strings.Cut(uri, "@")
		code, err := w.function("arm64", f.Executable)
		if err != nil {
			t.Fatal(err)
		}
		want, err := lambdaimage.New("arm64", repository, code)
		if err != nil || want.URI(repository) != uri || digest == "" {
			t.Errorf("%s is %s, want %s, %v", f.Parameter, uri, want.URI(repository), err)
		}
		to, err := companion.Open(w.config, repository, ecrclient.WithEndpoint(w.registry.URL()))
		if err != nil {
			t.Fatal(err)
		}
		if there, err := want.There(t.Context(), to.Registry()); err != nil || !there {
			t.Errorf("%s is there: %t, %v", uri, there, err)
		}
	}
}

// An executable that Lambda could not run is refused before anything is made.
func TestBadImage(t *testing.T) {
	w := newImageWorld(t)
	d, _ := w.deploy(settings.Settings{}, func(m *deploy.Mode) {
		m.Functions = func(string, string) ([]byte, error) { return functionzip.New("amd64", "x") }
	})
	err := d.Run(t.Context())
	if !errors.Is(err, lambdaimage.ErrLambda) || w.stacks.Stack(companion.StackName("prod")) != nil {
		t.Errorf("the error is %v, want ErrLambda", err)
	}
}

// An image that was deleted between its push and the execution fails the deploy
// before the stack is touched.
func TestImageDeletedMeanwhile(t *testing.T) {
	w := newImageWorld(t)
	d, screen := w.deploy(settings.Settings{}, nil)
	asked := 0
	d.Screen = &meanwhile{screen, func() {
		if asked++; asked == 2 { // after the push
			w.account.DeleteImages()
		}
	}}
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrMissing) || w.status() != "absent" {
		t.Errorf("the error is %v, want ErrMissing; the stack is %s", err, w.status())
	}
}

// The role, the tags and the topics go to both stacks.
func TestCompanionGetsWhatTheStackGets(t *testing.T) {
	w := newImageWorld(t)
	s := settings.Settings{RoleARN: "arn:aws:iam::123456789012:role/deploy",
		Tags:             map[string]string{"team": "platform"},
		NotificationARNs: []string{"arn:aws:sns:eu-west-1:123456789012:topic"}}
	d, _ := w.deploy(s, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prod", companion.StackName("prod")} {
		is := w.stacks.Stack(name)
		expect.Equal(t, expect.Facts{
			{"RoleARN", is.RoleARN, s.RoleARN},
			{"tag team", is.Tags["team"], "platform"},
			{"tag ManagedStackSource", is.Tags["ManagedStackSource"], "SociIndexBuilder"},
			{"number of NotificationARNs", len(is.NotificationARNs), 1},
		}, "stack %s", name)
	}
}

// A function that sleeps is woken before the update that calls it.
func TestWake(t *testing.T) {
	w := newImageWorld(t)
	w.created()
	last := w.account.Deployment()
	last.Lock()
	last.Functions["RepositoryNameFunction"] = map[string]any{"State": "Inactive"}
	last.Unlock()
	d, screen := w.deploy(settings.Settings{Filters: "team/*:*"}, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !screen.has("has not run for weeks, and sleeps: waking it") || w.status() != "UPDATE_COMPLETE" {
		t.Errorf("said %q", screen.said)
	}
	// Without permission to call it nobody waits for it to wake: with --role-arn
	// only CloudFormation's role has it.
	last = w.account.Deployment()
	last.Lock()
	last.Functions["RepositoryNameFunction"] = map[string]any{"State": "Inactive"}
	last.Unlock()
	w.server.Refuse(func(r awstest.Request) *awstest.Error {
		if _, operation := r.Call(); operation == "Invoke" {
			return &awstest.Error{Status: 403, Code: "AccessDeniedException", Message: "no"}
		}
		return nil
	})
	d, screen = w.deploy(settings.Settings{Filters: "dev/*:*"}, nil)
	if err := d.Run(t.Context()); err != nil || !screen.has("is left to CloudFormation to wake") ||
		screen.has("sleeps is not known") {
		t.Errorf("%v, said %q", err, screen.said)
	}
	w.server.Refuse(nil)
	// Without permission to look the deploy goes on.
	w.server.Fail("lambda", "*", 1<<20, &awstest.Error{Status: 403, Code: "AccessDeniedException", Message: "no"})
	d, screen = w.deploy(settings.Settings{Filters: "prod/*:*"}, nil)
	if err := d.Run(t.Context()); err != nil || !screen.has("sleeps is not known") {
		t.Errorf("%v, said %q", err, screen.said)
	}
	if got := w.stacks.Stack("prod").Parameters[deployed.ParamFilters]; got != "prod/*:*" {
		t.Errorf("the filters are %s", got)
	}
}

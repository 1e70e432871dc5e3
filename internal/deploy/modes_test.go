package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/permission/deployer"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/iamtest"
)

// way is one of the ways of deploying, each of which has policies of its own.
type way struct {
	name    string
	mode    embedded.Package
	own     bool
	without []string // what is asked for and not allowed, by action and resource
}

var ways = []way{
	{"zip", embedded.Zip, false, []string{"s3:ListAllMyBuckets on *"}}, // for other regions
	// Once there is no stack that names another place, whether there is code of zip
	// files is only looked at.
	{"own bucket", embedded.Zip, true, []string{"s3:ListBucket on arn:aws:s3:::" + managedName}},
	{"image", embedded.Image, false, []string{"s3:ListBucket on arn:aws:s3:::" + managedName}},
	{"own repositories", embedded.Image, true, []string{"s3:ListBucket on arn:aws:s3:::" + managedName}},
}

// deploy makes a deploy of this way.
func (of way) deploy(w *imageWorld, s settings.Settings, change func(*deploy.Mode)) (*deploy.Deploy, *screen) {
	switch {
	case of.mode == embedded.Zip && of.own:
		return w.deployTo("code", s, change)
	case of.mode == embedded.Zip:
		return w.managed(s, change)
	case of.own:
		s.Repositories = map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter",
			generator: w.ecr.Host() + "/team/generator", "RepositoryNameFunction": w.ecr.Host() + "/team/reponame"}
	}
	return w.deploy(s, change)
}

// enforce has AWS and the registry refuse what the policies of this way do not
// allow. It returns a function that returns what was refused.
func (of way) enforce(w *imageWorld) func() []string {
	policies := iamtest.Policies{deployer.Policy(deployer.Needed(of.mode, of.own)...)}
	values := deployer.Names("aws", awstest.Account, awstest.Region, "prod")
	values["CodeBucket"], values["OwnRepositories"] = "code", "team/*"
	var mu sync.Mutex
	refused := map[string]bool{}
	w.guardBy(func(needs []iamtest.Need) string {
		for _, n := range needs {
			if !policies.Allow(n, values) {
				mu.Lock()
				defer mu.Unlock()
				refused[n.String()] = true
				return notAllowed(n)
			}
		}
		return ""
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(refused))
	}
}

// The policies that a way of deploying is said to need are enough for it, without
// those of the others, from the first deploy to the end.
func TestPoliciesOfEachWay(t *testing.T) {
	t.Parallel()
	for _, of := range ways {
		t.Run(of.name, func(t *testing.T) {
			w := newImageWorld(t)
			for _, name := range []string{"team/filter", "team/generator", "team/reponame"} {
				w.ecr.Repository(name, awstest.Repository{})
			}
			refused := of.enforce(w)
			for _, step := range of.steps(w) {
				s, err := step.do()
				if !errors.Is(err, step.want) {
					t.Fatalf("%s: %v, want %v, said %q", step.name, err, step.want, s.said)
				}
				for _, line := range []string{"could not be", "cannot be read", "no old code is deleted",
					"is not known"} {
					if s.has(line) {
						t.Errorf("%s: said %q", step.name, s.said)
					}
				}
			}
			if is := w.status(); is != "absent" {
				t.Errorf("the stack is %s", is)
			}
			if got := refused(); !slices.Equal(got, of.without) {
				t.Errorf("refused were %q, want %q", got, of.without)
			}
		})
	}
}

// wayStep is something that is done in a way of deploying.
type wayStep struct {
	name string
	do   func() (*screen, error)
	want error
}

func (of way) steps(w *imageWorld) []wayStep {
	version := 0
	run := func(s settings.Settings, change func(*deploy.Mode)) func() (*screen, error) {
		return func() (*screen, error) {
			version++
			w.version = fmt.Sprint(version)
			return w.try(of.deploy(w, s, change))
		}
	}
	fails := func(id, what string, do func() (*screen, error)) func() (*screen, error) {
		return func() (*screen, error) {
			w.stacks.FailResource("prod", id, what, "no")
			return do()
		}
	}
	slower := settings.Settings{Parameters: map[string]string{deployed.ParamMinLayerSizeMiB: "20"}}
	return []wayStep{
		{"a creation that fails", fails("FilterFunction", "", run(another, nil)), deploy.ErrFailed},
		{"create", run(settings.Settings{DeleteFailed: true}, nil), nil},
		{"update", run(another, nil), nil},
		{"nothing", func() (*screen, error) { return w.try(of.deploy(w, settings.Settings{}, nil)) }, nil},
		{"an update that fails", fails("GeneratorFunction", "", run(slower, nil)), deploy.ErrFailed},
		{"code only", run(settings.Settings{}, codeOnly), nil},
		{"rollback", func() (*screen, error) { return w.try(w.back(nil)) }, nil},
		{"a destroy that fails", fails("GeneratorLogGroup", "delete", w.destroyed), deploy.ErrFailed},
		{"destroy", w.destroyed, nil},
		{"destroy again", w.destroyed, nil},
	}
}

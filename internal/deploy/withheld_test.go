package deploy_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/iamtest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// caller is who asks, as awstest's STS says.
const caller = "arn:aws:sts::" + awstest.Account + ":assumed-role/operator/session"

// policy stands for IAM: it notes what actions are asked for, and denies one.
type policy struct {
	mu     sync.Mutex
	asked  map[string]bool
	denies string
}

// deny has all requests that need an action refused from now on, and forgets what
// was asked for.
func (p *policy) deny(action string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.denies = map[string]bool{}, action
}

// refuses returns the message for a request that needs this.
func (p *policy) refuses(needs []iamtest.Need) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range needs {
		p.asked[n.Action] = true
		if n.Action == p.denies {
			return notAllowed(n)
		}
	}
	return ""
}

// notAllowed is what AWS says of a need that no policy allows.
func notAllowed(n iamtest.Need) string {
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy "+
		"allows the %[2]s action", caller, n.Action, n.Resource)
}

// guard has a policy decide on all requests to AWS and to the registry.
func (w *imageWorld) guard() *policy {
	p := &policy{asked: map[string]bool{}}
	w.guardBy(p.refuses)
	return p
}

// guardBy has a function decide on all requests, by what they need: it returns the
// message of a refusal, or nothing.
func (w *imageWorld) guardBy(refuses func([]iamtest.Need) string) {
	w.server.Refuse(func(r awstest.Request) *awstest.Error {
		needs, err := iamtest.OfRequest(r)
		if err != nil {
			w.t.Error(err)
		}
		if said := refuses(needs); said != "" {
			return &awstest.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: said}
		}
		return nil
	})
	w.registry.Add(registrytest.Rule{Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		needs, err := iamtest.OfRegistry(r.Method, r.URL.Path)
		if err != nil {
			w.t.Error(err)
		}
		if said := refuses(needs); said != "" {
			registrytest.Status(http.StatusForbidden, "DENIED", said)(rw, r, next)
			return
		}
		next.ServeHTTP(rw, r)
	}})
}

// things are all that deploy makes, by a name that a user knows it by, with its
// state.
func (w *imageWorld) things() map[string]string {
	all := map[string]string{}
	for _, bucket := range w.s3.Buckets() {
		all[bucket] = "there"
		for key := range w.s3.Objects(bucket) {
			name := key
			if _, record, ok := strings.Cut(key, "records/prod/"); ok {
				name, _, _ = strings.Cut(record, ".")
			}
			all[name] = "there"
		}
	}
	for _, name := range []string{"prod", companion.StackName("prod")} {
		if s := w.stacks.Stack(name); s != nil {
			all[name] = fmt.Sprint(s.Status, s.Template, s.Parameters, s.Tags, s.Protected)
		}
	}
	for _, stored := range w.registry.Stored() {
		all[stored.Repository] = fmt.Sprint("content ", len(w.registry.Stored()))
	}
	if w.stacks.Stack("prod") != nil {
		for function, name := range w.functions() {
			all[function] = w.code.Sum(name)
		}
	}
	return all
}

// withheld is something that is done with one right missing.
type withheld struct {
	name   string
	before func(*imageWorld)
	do     func(*imageWorld) (*screen, error)

	// without are the actions that it does without, beside those of looking.
	without []string
	all     bool // also those of looking
}

// run does a deploy, which may fail.
func (w *imageWorld) try(d *deploy.Deploy, s *screen) (*screen, error) {
	return s, d.Run(w.t.Context())
}

func (w *imageWorld) destroyed() (*screen, error) {
	l, x := w.destroying(deploy.DestroyOptions{})
	return l.screen, x.Run(w.t.Context())
}

// destroying makes a destroy of the stack.
func (w *imageWorld) destroying(o deploy.DestroyOptions) (*listing, *deploy.Destroy) {
	w.t.Helper()
	l := &listing{screen: &screen{}}
	o.Stack = "prod"
	x, err := deploy.NewDestroy(o, deploy.Mode{Yes: true,
		Registry: []ecrclient.Option{ecrclient.WithEndpoint(w.registry.URL())},
		Patience: patience.Patience{Pause: 1, Errors: 1}}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	x.Deploy().AWS = w.config
	return l, x
}

// looking are the actions with which only something is looked at, by doctor, for a
// preview of filters, and for a hint of code that nothing names.
var looking = []string{"cloudformation:ListStackResources", "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData",
	"ecr:GetAccountSetting", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:GetSigningConfiguration",
	"ecr:ListPullTimeUpdateExclusions", "events:DescribeRule", "events:ListTargetsByRule", "iam:GetRole",
	"iam:GetRolePolicy", "iam:ListRolePolicies", "lambda:GetFunctionConcurrency", "lambda:GetFunctionEventInvokeConfig",
	"lambda:GetPolicy", "logs:DescribeLogGroups", "s3:ListAllMyBuckets", "sqs:GetQueueAttributes",
	"states:DescribeStateMachine"}

// deploys brings versions to the account, in the mode of a package.
func deploys(zip bool, versions ...string) func(*imageWorld) {
	return func(w *imageWorld) {
		for _, version := range versions {
			w.version = version
			if s, err := inMode(zip, settings.Settings{Filters: version + "/*:*"}, nil)(w); err != nil {
				w.t.Fatalf("%v, said %q", err, s.said)
			}
		}
		w.version = "new"
	}
}

func inMode(zip bool, s settings.Settings, change func(*deploy.Mode)) func(*imageWorld) (*screen, error) {
	return func(w *imageWorld) (*screen, error) {
		if zip {
			return w.try(w.managed(s, change))
		}
		return w.try(w.deploy(s, change))
	}
}

var allWithheld = []withheld{
	{"create zip", deploys(true), inMode(true, settings.Settings{}, nil), []string{"cloudformation:GetTemplate",
		"ecr:DescribeRepositories", "lambda:GetFunctionConfiguration", "s3:ListBucketVersions"}, true},
	{"create image", deploys(false), inMode(false, settings.Settings{}, nil), []string{"ecr:DescribeImages",
		"ecr:GetDownloadUrlForLayer", "ecr:ListImages", "lambda:GetFunction", "lambda:GetFunctionConfiguration"},
		false},
	{"update zip", deploys(true, "a"), inMode(true, another, nil), []string{"ecr:DescribeRepositories",
		"lambda:GetFunctionConfiguration", "s3:ListBucketVersions"}, false},
	{"update image", deploys(false, "a"), inMode(false, another, nil), []string{"ecr:DescribeImages",
		"ecr:DescribeRepositories", "ecr:GetDownloadUrlForLayer", "ecr:ListImages", "lambda:GetFunction",
		"lambda:GetFunctionConfiguration"}, false},
	{"code only zip", deploys(true, "a"), inMode(true, settings.Settings{}, codeOnly),
		[]string{"s3:ListBucketVersions"}, false},
	{"code only image", deploys(false, "a"), inMode(false, settings.Settings{}, codeOnly), []string{
		"ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"}, false},
	{"rollback zip", deploys(true, "a", "b"), func(w *imageWorld) (*screen, error) { return w.try(w.rollback(nil)) },
		[]string{"ecr:DescribeRepositories", "lambda:GetFunctionConfiguration", "s3:ListBucketVersions"}, false},
	{"rollback image", deploys(false, "a", "b"), func(w *imageWorld) (*screen, error) { return w.try(w.back(nil)) },
		[]string{"ecr:DescribeImages", "ecr:DescribeRepositories", "lambda:GetFunction",
			"lambda:GetFunctionConfiguration"}, false},
	{"destroy zip", deploys(true, "a"), (*imageWorld).destroyed, nil, false},
	{"destroy image", deploys(false, "a"), (*imageWorld).destroyed, []string{"ecr:ListImages", "s3:ListBucket"}, false},
}

// Rights are withheld one by one: the answer is one error that names the action,
// what was made all the same is said, and with the right a second attempt
// finishes.
func TestWithheld(t *testing.T) {
	t.Parallel()
	for _, of := range allWithheld {
		t.Run(of.name, func(t *testing.T) {
			w, p := of.begin(t)
			if s, err := of.do(w); err != nil {
				t.Fatalf("%v, said %q", err, s.said)
			}
			actions := slices.Sorted(maps.Keys(p.asked))
			w = nil
			for _, action := range actions {
				if slices.Contains(looking, action) && !of.all {
					continue
				}
				if w == nil {
					w, p = of.begin(t)
				}
				if made := of.withhold(t, w, p, action); made {
					w = nil
				}
			}
		})
	}
}

// begin opens an account in which nothing is denied yet.
func (of withheld) begin(t *testing.T) (*imageWorld, *policy) {
	w := newImageWorld(t)
	w.version = "new"
	of.before(w)
	p := w.guard()
	p.deny("")
	return w, p
}

// withhold reports whether something has been made.
func (of withheld) withhold(t *testing.T, w *imageWorld, p *policy, action string) bool {
	before := w.things()
	p.deny(action)
	s, err := of.do(w)
	err = awserror.Explain(err)
	if err == nil {
		if !slices.Contains(slices.Concat(of.without, looking), action) {
			t.Errorf("%s: no error, said %q", action, s.said)
		}
		return true
	}
	// The answer of a registry to HEAD has no text; the command line adds this.
	text := fmt.Sprint(err, permission.OfRefusal(err))
	if slices.Contains(of.without, action) {
		t.Errorf("%s: it does not do without: %s", action, text)
	}
	if !strings.Contains(text, action) {
		t.Errorf("%s: the error does not name it: %s", action, text)
	}
	var made []string
	for name, is := range w.things() {
		if before[name] != is {
			made = append(made, name)
		}
		delete(before, name)
	}
	for _, name := range made {
		if !s.has(name) && !strings.Contains(text, name) {
			t.Errorf("%s: %s was made, and that is not said: %q, %s", action, name, s.said, text)
		}
	}
	// What is gone went with the stack, or is told by number.
	if len(before) > 0 && !s.has("step stack prod") {
		t.Errorf("%s: %q are gone, said %q", action, slices.Sorted(maps.Keys(before)), s.said)
	}
	if len(made)+len(before) == 0 {
		return false // the next attempt is a first one
	}
	if strings.Contains(text, "nothing was made") {
		t.Errorf("%s: made %q: %s", action, made, text)
	}
	p.deny("")
	if s, err := of.do(w); err != nil {
		t.Errorf("%s: the second attempt: %v, said %q", action, err, s.said)
	}
	return true
}

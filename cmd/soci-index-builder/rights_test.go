package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/permission/deployer"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/iamtest"
)

// notInScripts are the flows that no script can run: what is asked of another
// party, or needs a signal.
var notInScripts = []deployer.Flow{
	deployer.AWSCLI, deployer.CloudFormation, deployer.Implied, deployer.Interrupt, deployer.Package,
}

// rights compares what the scripts that deploy ask of AWS with the policies for
// deployers.
type rights struct {
	policies iamtest.Policies

	mu   sync.Mutex
	runs int             // of scripts
	used map[string]bool // statement and action

	refused map[string]bool // actions that the program does without where they are not allowed
}

// newRights looks at the end of the test, when all scripts are through, for what
// is allowed and was never asked for.
func newRights(t *testing.T, scripts int) *rights {
	r := &rights{used: map[string]bool{}, refused: map[string]bool{}}
	for _, part := range deployer.Parts() {
		r.policies = append(r.policies, deployer.Policy(part))
	}
	t.Cleanup(func() {
		if r.runs == scripts && !t.Failed() { // not with some scripts alone
			r.checkUsed(t)
		}
	})
	return r
}

// checkUsed wants every action that a flow is said to use to have been asked for
// on its resources.
func (r *rights) checkUsed(t *testing.T) {
	unused := map[deployer.Flow][]string{}
	for _, c := range deployer.Calls {
		unused[c.Flow] = slices.Clip(unused[c.Flow]) // the key is there without actions too
		for _, action := range c.Actions {
			if !r.used[deployer.Sid(c.Scope)+" "+action] && !r.refused[action] {
				unused[c.Flow] = append(unused[c.Flow], fmt.Sprintf("%s on %s", action, c.Scope))
			}
		}
	}
	for flow, actions := range unused {
		if len(actions) > 0 && !slices.Contains(notInScripts, flow) {
			t.Errorf("%s: the policies allow what no script asks for: %q", flow, actions)
		}
	}
}

// script checks what a script that deploys has asked of AWS and of the registry.
func (r *rights) script(t *testing.T, deploys bool, requests []awstest.Request, asked *askedOfRegistry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs++
	if !deploys {
		return
	}
	needs := asked.needs(t)
	stacks := []string{guided.DefaultStack}
	for _, request := range requests {
		name := ""
		if request.Service == "cloudformation" {
			name = iamtest.StackName(request)
		}
		if name != "" && !slices.Contains(stacks, name) && !strings.HasSuffix(name, "-CompanionStack") {
			stacks = append(stacks, name)
		}
		more, err := iamtest.OfRequest(request)
		if err != nil {
			t.Error(err)
		}
		needs = append(needs, more...)
	}
	refused := map[iamtest.Need]bool{}
	for _, n := range needs {
		switch {
		case r.allow(n, stacks):
		case deployer.Optional[n.Action] != "":
			r.refused[n.Action] = true
		case !refused[n]:
			refused[n] = true
			t.Errorf("no policy for deployers allows %s", n)
		}
	}
}

// allow reports whether the policies of one of the stacks allow what is needed,
// and notes which statements do.
func (r *rights) allow(n iamtest.Need, stacks []string) bool {
	allowed := false
	for _, stack := range stacks {
		values := deployerValues(stack, n.Resource)
		for _, policy := range r.policies {
			for _, s := range policy.Statement {
				one := iamtest.Policies{{Statement: []deployer.Statement{s}}}
				if one.Allow(n, values) {
					allowed = true
					r.used[s.Sid+" "+n.Action] = true
				}
			}
		}
	}
	return allowed
}

// deployerValues are those of the placeholders for a stack. Buckets and
// repositories that have no name of the program's are the user's own.
func deployerValues(stack, resource string) map[string]string {
	values := deployer.Names("aws", awstest.Account, awstest.Region, stack)
	if _, path, ok := strings.Cut(resource, ":s3:::"); ok {
		bucket, _, _ := strings.Cut(path, "/")
		if strings.HasPrefix(bucket, "soci-index-builder-") {
			values["ManagedBucket"] = bucket // also one with a random name
		} else {
			values["CodeBucket"] = bucket
		}
	}
	if _, name, ok := strings.Cut(resource, ":repository/"); ok && name != "*" &&
		!strings.HasPrefix(name, values["Repositories"]+"/") {
		values["OwnRepositories"] = name
	}
	return values
}

// askedOfRegistry notes the program's requests to a script's registry; those of
// the script itself have another user agent.
type askedOfRegistry struct {
	mu       sync.Mutex
	requests [][2]string // method and path
}

func (a *askedOfRegistry) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), programName) {
			a.mu.Lock()
			a.requests = append(a.requests, [2]string{r.Method, r.URL.Path})
			a.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (a *askedOfRegistry) needs(t *testing.T) []iamtest.Need {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []iamtest.Need
	for _, r := range a.requests {
		needs, err := iamtest.OfRegistry(r[0], r[1])
		if err != nil {
			t.Error(err)
		}
		all = append(all, needs...)
	}
	return all
}

// review leaves a stack that was never created: it has a change set alone. With
// the name of another stack it is that one's companion.
func (a *accountWorld) review(ts *testscript.TestScript, _ bool, args []string) {
	body, err := embedded.Template(embedded.Zip, "arm64")
	parameter := func(key, value string) types.Parameter {
		return types.Parameter{ParameterKey: &key, ParameterValue: &value}
	}
	parameters := []types.Parameter{parameter("CodeS3Bucket", "b"), parameter("CodeS3KeyPrefix", "p/")}
	if len(args) > 1 {
		parameters = nil
		body, err = companion.Template(args[1], "FilterFunction")
	}
	ts.Check(err)
	_, err = cloudformation.NewFromConfig(a.aws.server.Config()).CreateChangeSet(a.t.Context(),
		&cloudformation.CreateChangeSetInput{StackName: &args[0], ChangeSetName: aws.String("left"),
			ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(string(body)),
			Capabilities: []types.Capability{types.CapabilityCapabilityIam},
			Parameters:   parameters})
	ts.Check(err)
}

package deptest_test

import (
	"testing"

	"soci-index-builder/internal/testkit/deptest"
)

const m = deptest.Module

// scripted is compiled only into the program that the command line's scripts run:
// go build reads no file of tests, and that program must not be the test's own
// executable, which takes longer to start than most commands. No release has the
// build tag.
var scripted = deptest.Except{
	m + "/cmd/soci-index-builder/scripted.go": "part of the tests",
}

// The packages that each package must not import, and why. The engine's own test is in pkg/soci.
func TestHouse(t *testing.T) {
	product := deptest.List(t,
		[]string{m + "/cmd/...", m + "/lambdas/...", m + "/pkg/...", m + "/internal/...", m + "/infra/..."}, []string{
			m + "/internal/testkit", m + "/internal/devtools", m + "/lambdas/processtest", // tests and tools themselves
		})
	functions := []string{m + "/lambdas/filter", m + "/lambdas/indexgen", m + "/lambdas/reponame"}
	for _, tt := range []struct {
		name      string
		packages  []string
		except    deptest.Except
		forbidden deptest.Forbidden
	}{
		{"product", product, scripted, deptest.Forbidden{
			m + "/internal/testkit":  "tests are not shipped",
			m + "/internal/devtools": "what builds the product is no part of it",
			"testing":                "a product with flags of go test is a mistake",
		}},
		{"command line", []string{m + "/cmd/soci-index-builder"}, scripted, deptest.Forbidden{
			"github.com/olareg/olareg":       "it computes the hash of a password at the start of every command, 0.1 s",
			"github.com/aws/aws-cdk-go":      "it takes minutes to compile, and starts Node.js",
			"github.com/aws/jsii-runtime-go": "it starts Node.js",
		}},
		{"functions", functions, nil, deptest.Forbidden{
			"github.com/spf13/cobra": "a function has no command line; each MiB makes its first " +
				"start slower",
			"github.com/vbauerster/mpb":      "nobody watches a function's progress",
			"github.com/aws/aws-cdk-go":      "a function deploys nothing",
			"github.com/aws/jsii-runtime-go": "a function deploys nothing",
			"github.com/aws/aws-sdk-go-v2/service/cloudformation": "a function gets what it knows of the stack from " +
				"its environment",
			"github.com/google/go-containerregistry": "ecrclient is the functions' client, a second one makes " +
				"the first start slower",
			"github.com/olareg/olareg": "a function serves no registry",
			m + "/internal/deploy":     "a function deploys nothing",
			m + "/internal/deployed":   "it asks CloudFormation",
			m + "/internal/estimate":   "people ask for estimates, not events",
			m + "/internal/devtools":   "what builds the functions is no part of them",
			m + "/infra":               "a function deploys nothing",
		}},
		{"reponame", []string{m + "/lambdas/reponame"}, nil, deptest.Forbidden{
			m + "/pkg/soci": "it reads filters and nothing else: the engine would make a deployment " +
				"wait for its start",
			m + "/pkg/ecrclient":                   "it asks no registry",
			"github.com/aws/aws-sdk-go-v2/service": "it asks nothing of AWS",
		}},
		{"filter", []string{m + "/lambdas/filter"}, nil, deptest.Forbidden{
			m + "/lambdas/indexgen": "the filter builds nothing, it asks the generator to",
		}},
		{"grammars", []string{m + "/internal/names", m + "/internal/names/lazyregexp"}, nil, deptest.Forbidden{
			"github.com": "whoever only asks whether a name is allowed must not get a library with the answer",
			m + "/pkg":   "pkg imports it",
			"net":        "a name is judged by its text alone",
		}},
		{"filters", []string{m + "/internal/filters"}, nil, deptest.Forbidden{
			"github.com": "the template's custom resource links it",
			m + "/pkg":   "the template's custom resource links it, which does not know the engine",
		}},
		{"client", []string{m + "/pkg/ecrclient"}, nil, deptest.Forbidden{
			m + "/pkg/soci": "it reads and writes a registry, whatever is in it",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { deptest.CheckExcept(t, tt.except, tt.forbidden, tt.packages...) })
	}
}

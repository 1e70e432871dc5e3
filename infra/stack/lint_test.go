package stack

import (
	"os/exec"
	"strings"
	"testing"
)

// cfn-lint knows CloudFormation's schemas of every region. One region of each
// partition stands for the others.
func TestLint(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	version, err := exec.CommandContext(t.Context(), "cfn-lint", "--version").Output()
	// npm has another program of that name.
	if err != nil || !strings.HasPrefix(string(version), "cfn-lint ") {
		t.Skip("cfn-lint is not installed (pip install cfn-lint): the template is not linted")
	}
	// W1033 looks at the default of the security groups, which is empty, also where
	// the condition leaves it out.
	out, err := exec.CommandContext(t.Context(), "cfn-lint", "--ignore-checks", "W1033",
		"--regions", "us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "--", committedTemplate,
		committedImages).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

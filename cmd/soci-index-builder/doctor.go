package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/text/terminal"
)

// errProblem: doctor found what keeps images from being indexed.
var errProblem = errors.New("problem")

func newDoctorCommand() *cobra.Command {
	var (
		aws    awsFlags
		stack  stackFlag
		output outputFlag
		full   fullFlag
	)
	cmd := &cobra.Command{
		Use:   "doctor --stack NAME",
		Short: "Find what keeps a deployed stack from indexing images",
		Long: `Check a deployed stack and its registry, and report what is in order, what is not,
and how to fix it. Nothing is changed.

Rules, functions, the state machine, roles, log groups, queue and alarms are
compared with the stack's template and parameters, to find changes made by hand.
For the repositories that the filters choose, the policies, tag mutability and
lifecycle rules are checked. The registry's signing configuration shows whether ECR
signs what the generator pushes. Of functions in private networks, routes, NAT gateways,
endpoints, network ACLs and security groups show whether they reach the services they
call.
The failure queue, the alarms and the metrics of the last 14 days show whether
images are being indexed.

  ok       in order
  note     whether it is in order cannot be told from here; nothing says that it is not
  warning  images are indexed, but something differs from the stack, can cause
           images to be missed later, or could not be checked
  problem  images are not indexed, or are lost; the exit code is 1

The caller needs cloudformation:DescribeStacks, and to check everything
cloudformation:GetTemplate, cloudformation:ListStackResources,
cloudwatch:DescribeAlarms, cloudwatch:GetMetricData, ecr:DescribeRepositories,
ecr:GetAccountSetting, ecr:GetLifecyclePolicy, ecr:GetRepositoryPolicy,
ecr:GetSigningConfiguration, ecr:ListPullTimeUpdateExclusions, events:DescribeRule,
events:ListTargetsByRule, iam:GetRole, iam:GetRolePolicy, iam:ListRolePolicies,
lambda:GetFunctionConcurrency, lambda:GetFunctionConfiguration,
lambda:GetFunctionEventInvokeConfig, lambda:GetPolicy, logs:DescribeLogGroups,
sqs:GetQueueAttributes and states:DescribeStateMachine; lambda:GetFunction where the
functions are images, and ec2:DescribeNatGateways, ec2:DescribeNetworkAcls,
ec2:DescribeRouteTables, ec2:DescribeSecurityGroups, ec2:DescribeSubnets and
ec2:DescribeVpcEndpoints where they are in private networks.
A missing permission is a warning that names it.

With --output json, the output is one JSON object:
  stack, region, account, version (of the stack), counts (ok, note, warning,
  problem), and findings, a list of check, severity (ok, note, warning, problem), subject
    (what the finding is about, such as a function or a repository), detail (what is so),
    hint (what to do about it, as in "status")`,
		Example: `  soci-index-builder doctor --stack soci-index-builder --region eu-west-1
  soci-index-builder doctor --stack soci-index-builder -o json \
      | jq '.findings[] | select(.severity != "ok")'`,
		Args: takes(0, 0, "no argument"),
	}
	stack.add(cmd)
	takeDefaults(cmd, always)
	aws.add(cmd)
	output.add(cmd)
	full.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, found, err := stack.find(cmd, &aws)
		if err != nil {
			return err
		}
		report, err := doctor.Examine(cmd.Context(), cfg, found, time.Now())
		if err != nil {
			return explain(err)
		}
		if output == outputJSON {
			err = writeJSONLine(cmd.OutOrStdout(), newDoctorJSON(report))
		} else {
			err = writeDoctorText(cmd.OutOrStdout(), report, full)
		}
		if err != nil {
			return err
		}
		if n := report.Count(doctor.Problem); n > 0 {
			return fmt.Errorf("stack %s: %w: %d found", found.Name, errProblem, n)
		}
		return nil
	}
	return cmd
}

func writeDoctorText(w io.Writer, r *doctor.Report, full fullFlag) error {
	t := full.table(w, "")
	screen := terminal.Of(w)
	fmt.Fprintf(w, "stack %s in region %s of account %s\n\n", r.Stack.Name, r.Stack.Region, r.Stack.Account)
	for _, f := range r.Findings {
		found := f.Found
		switch {
		case f.Subject != "" && f.Check == doctor.CheckFilters:
			found = "filter " + f.Subject + ": " + found
		case f.Subject != "":
			found = f.Subject + ": " + found
		}
		t.Row(severityText(screen, f.Severity), string(f.Check), found)
		if f.Hint != "" {
			t.Row("", "", "-> "+f.Hint)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", severities(r))
	return err
}

// severities counts the findings.
func severities(r *doctor.Report) string {
	notes := ""
	if n := r.Count(doctor.Note); n > 0 {
		notes = ", " + count(n, "note")
	}
	return fmt.Sprintf("%d ok%s, %s, %s", r.Count(doctor.OK), notes, count(r.Count(doctor.Warning), "warning"),
		count(r.Count(doctor.Problem), "problem"))
}

// severityText lets a problem stand out.
func severityText(screen terminal.Screen, s doctor.Severity) string {
	tone, text := terminal.Good, string(s)
	switch s {
	case doctor.Problem:
		tone, text = terminal.Bad, strings.ToUpper(text)
	case doctor.Warning:
		tone = terminal.Warning
	case doctor.Note:
		tone = terminal.Plain
	}
	return screen.Mark(tone) + screen.Paint(tone, text)
}

// The JSON output of doctor; its field names are promised in the help text.
type (
	doctorJSON struct {
		Stack    string                  `json:"stack"`
		Region   string                  `json:"region"`
		Account  string                  `json:"account"`
		Version  string                  `json:"version"`
		Counts   map[doctor.Severity]int `json:"counts"`
		Findings []findingJSON           `json:"findings"`
	}

	findingJSON struct {
		Check    doctor.Check    `json:"check"`
		Severity doctor.Severity `json:"severity"`
		Subject  string          `json:"subject,omitempty"`
		Found    string          `json:"detail"`
		Hint     string          `json:"hint,omitempty"`
	}
)

func newDoctorJSON(r *doctor.Report) doctorJSON {
	out := doctorJSON{
		Stack: r.Stack.Name, Region: r.Stack.Region, Account: r.Stack.Account,
		Version: r.Stack.Outputs[deployed.OutVersion],
		Counts:  map[doctor.Severity]int{}, Findings: []findingJSON{},
	}
	for _, s := range []doctor.Severity{doctor.OK, doctor.Note, doctor.Warning, doctor.Problem} {
		out.Counts[s] = r.Count(s)
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, findingJSON{f.Check, f.Severity, f.Subject, f.Found, f.Hint})
	}
	return out
}

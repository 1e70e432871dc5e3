package stack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// addNag has cdk-nag look at a stack, with a report in the cloud assembly.
func addNag(stack awscdk.Stack) {
	awscdk.Aspects_Of(stack).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{
		ReportFormats: &[]cdknag.NagReportFormat{cdknag.NagReportFormat_JSON},
	}), nil)
}

// nagAccepted are the findings that stand, each with the reason in one
// sentence. The template has no word of them: cdk-nag's own suppressions would
// be written into it. It does not see the statements that a condition may leave out, such as that on network
// interfaces,
// of which TestRolesRights knows why they are on everything.
var nagAccepted = []struct {
	resource string // logical id
	finding  string // the rule and what it applies to, as cdk-nag writes it
	why      string
}{
	{"FailureQueue", "AwsSolutions-SQS3",
		"It is the dead-letter queue of the rules and the last stop of every other failure, so nothing can come " +
			"after it."},
	{"GeneratorRole", "AwsSolutions-IAM5[Resource::*]",
		"This is ecr:GetAuthorizationToken, which knows no resource, and what Lambda needs for network interfaces."},
	{"GeneratorRole",
		"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:" +
			"<SociLargeImages.Name>:*]",
		"An execution has its own name, so the generator may describe all of the one state machine."},
	{"StepsRole", "AwsSolutions-IAM5[Resource::*]",
		"This is ecr:GetAuthorizationToken, which knows no resource, and what Lambda needs for network interfaces."},
	{"SociLargeImages", "AwsSolutions-SF1",
		"To log its executions the role would need actions that know no resource, and the functions log every step."},
	{"SociLargeImages", "AwsSolutions-SF2",
		"Nothing is traced in the functions either, and an execution has its history."},
}

// Rules for AWS solutions. A finding is accepted by name or mended, and what
// is accepted must be found.
func TestNag(t *testing.T) {
	synthAssets(t)
	var report struct {
		Lines []struct{ RuleID, ResourceID, Compliance string }
	}
	readJSON(t, "AwsSolutions-second-NagReport.json", &report)
	compliant := 0
	for _, line := range report.Lines {
		switch line.Compliance {
		case "Compliant":
			compliant++
		case "Non-Compliant": // among the annotations, with what it applies to
		default:
			t.Errorf("%s: %s is %s", line.ResourceID, line.RuleID, line.Compliance)
		}
	}
	if compliant < 5 {
		t.Errorf("cdk-nag looked at little: %+v", report)
	}

	var annotations map[string][]struct {
		Type string
		Data any
	}
	readJSON(t, "Second.metadata.json", &annotations)
	found := make([]bool, len(nagAccepted))
	for path, all := range annotations {
		id := path[strings.LastIndexByte(path, '/')+1:]
		for _, annotation := range all {
			text, _ := annotation.Data.(string)
			if annotation.Type != "aws:cdk:error" && annotation.Type != "aws:cdk:warning" {
				continue
			}
			accepted := false
			for i, a := range nagAccepted {
				if a.resource == id && strings.HasPrefix(text, a.finding+": ") {
					accepted, found[i] = true, true
				}
			}
			if !accepted {
				t.Errorf("%s: %s", id, text)
			}
		}
	}
	for i, a := range nagAccepted {
		if !found[i] {
			t.Errorf("%s: %s is accepted, but not found", a.resource, a.finding)
		}
		if !strings.HasSuffix(a.why, ".") || strings.Contains(a.why, ". ") {
			t.Errorf("%s: %s is not accepted for a reason of one sentence: %q", a.resource, a.finding, a.why)
		}
	}
}

// CloudFormation's own rules were held against both templates, and what was
// acknowledged of them is known.
func TestDefaultRules(t *testing.T) {
	synthAssets(t)
	var report struct {
		PluginReports []struct {
			PluginName, Conclusion string

			Violations, SuppressedViolations []struct {
				RuleName, Description, Reason string
			}
		}
	}
	readJSON(t, "validation-report.json", &report)
	if len(report.PluginReports) != 1 || report.PluginReports[0].PluginName != "CloudFormation Validate" ||
		report.PluginReports[0].Conclusion != "success" {
		t.Fatalf("the rules were not looked at: %+v", report)
	}
	for _, v := range report.PluginReports[0].Violations {
		t.Errorf("%s: %s", v.RuleName, v.Description)
	}
	for _, v := range report.PluginReports[0].SuppressedViolations {
		// Both are empty only where a condition leaves them out.
		boundary := v.RuleName == "F3033" && strings.HasPrefix(v.Description, "PermissionsBoundary: ")
		groups := slices.Contains([]string{"F3031", "E1150"}, v.RuleName) &&
			strings.HasPrefix(v.Description, "VpcConfig.SecurityGroupIds.")
		if !boundary && !groups || v.Reason == "" {
			t.Errorf("acknowledged is %+v", v)
		}
	}
}

// readJSON reads a file of the cloud assembly.
func readJSON(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(synthesized.folder, "cdk.out", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

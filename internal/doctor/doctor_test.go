package doctor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/expect"
)

const stackName = "prod-soci"

var now = time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)

// deploy returns an account in which all is well: a stack of the project's own
// template, repositories, and images that were indexed.
func deploy(t *testing.T) (*awstest.Server, *stacktest.Deployment) {
	t.Helper()
	server := awstest.Start(t)
	ecr := awstest.NewECR(nil)
	ecr.Repository("prod/api", awstest.Repository{})
	ecr.Repository("prod/web", awstest.Repository{
		Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"*-soci"},
		KMSKey:          "arn:aws:kms:eu-west-1:123456789012:key/1",
		Policy:          `{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "ecr:*"}]}`,
		LifecyclePolicy: `{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}]}`,
	})
	ecr.Repository("dev/api", awstest.Repository{Mutability: "IMMUTABLE"}) // of no filter
	d := stacktest.Deploy(t, server, stackName, map[string]string{
		deployed.ParamFilters:    "prod/*:*,!*:*-debug",
		deployed.ParamAlarmTopic: "arn:aws:sns:eu-west-1:123456789012:alarms",
	}, ecr)
	ecr.ExcludePullTime("arn:aws:iam::123456789012:role/other",
		d.Resources["GeneratorPullTimeExclusion"].At("PrincipalArn").(string),
		d.Resources["StepsPullTimeExclusion"].At("PrincipalArn").(string))
	d.Metrics["ImagesMatched"] = []stacktest.Point{{At: now.Add(-50 * time.Hour), Value: 3},
		{At: now.Add(-2 * time.Hour), Value: 2}}
	d.Metrics["ImagesIndexed"] = []stacktest.Point{{At: now.Add(-50 * time.Hour), Value: 3},
		{At: now.Add(-2 * time.Hour), Value: 1}, {At: now.Add(-time.Hour), Value: 0}}
	d.Metrics["ImagesFailed"] = []stacktest.Point{{At: now.Add(-2 * time.Hour), Value: 1}}
	return server, d
}

func examine(t *testing.T, server *awstest.Server) *doctor.Report {
	t.Helper()
	stack, err := deployed.Find(t.Context(), server.Config(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Examine(t.Context(), server.Config(), stack, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHealthy(t *testing.T) {
	server, _ := deploy(t)
	r := examine(t, server)
	seen := map[doctor.Check]bool{}
	for _, f := range r.Findings {
		expect.Equal(t, expect.Facts{
			{"Severity", f.Severity, doctor.OK},
			{"hint", f.Hint, ""},
			{"nothing found", f.Found == "", false},
			{"the check's second finding", seen[f.Check], false},
		}, "finding %+v", f)
		seen[f.Check] = true
		const activity = "last image indexed within the hour of 2026-03-20 10:00 UTC; in 14 days 5 passed on, 4 " +
			"indexed, 0 skipped, 1 failed attempts"
		if f.Check == doctor.CheckActivity && f.Found != activity {
			t.Errorf("%s, want %s", f.Found, activity)
		}
	}
	want := []doctor.Check{
		doctor.CheckResources, doctor.CheckStackStatus, doctor.CheckStackVersion, doctor.CheckRule, doctor.CheckTarget,
		doctor.CheckPermission,
		doctor.CheckFunction, doctor.CheckConfiguration, doctor.CheckEnvironment, doctor.CheckLogging,
		doctor.CheckConcurrency, doctor.CheckAsync,
		doctor.CheckMachine,
		doctor.CheckRole, doctor.CheckLogGroup, doctor.CheckQueue, doctor.CheckMessages, doctor.CheckAlarm,
		doctor.CheckAlarmActions, doctor.CheckActivity,
		doctor.CheckFilters, doctor.CheckPolicy, doctor.CheckEncryption, doctor.CheckMutability, doctor.CheckLifecycle,
		doctor.CheckPullTime, doctor.CheckBlobMounting, doctor.CheckNetwork, doctor.CheckSigning,
	}
	for _, c := range want {
		if !seen[c] {
			t.Errorf("nothing is said of %s", c)
		}
	}
	if len(seen) != len(want) || r.Count(doctor.OK) != len(want) || r.Count(doctor.Problem) != 0 {
		t.Errorf("%d checks, want %d", len(seen), len(want))
	}
}

// Nothing that was asked for changes anything.
func TestReadsOnly(t *testing.T) {
	server, d := deploy(t)
	d.Waiting = 1
	examine(t, server)
	reads := []string{"Describe", "Get", "List", "GET "}
	for _, r := range server.Requests() {
		if !slices.ContainsFunc(reads, func(prefix string) bool { return strings.HasPrefix(r.Operation, prefix) }) {
			t.Errorf("%s %s", r.Service, r.Operation)
		}
	}
}

// Lists come in pages of one.
func TestPages(t *testing.T) {
	server, d := deploy(t)
	cloudformation := awstest.NewCloudFormation(d.Stack)
	cloudformation.PageSize = 1
	server.Handle("cloudformation", cloudformation)
	if r := examine(t, server); r.Count(doctor.OK) != len(r.Findings) {
		t.Errorf("%+v", r.Findings)
	}
	if n := server.Count("cloudformation", "ListStackResources"); n != len(d.Resources) {
		t.Errorf("%d pages of resources, want %d", n, len(d.Resources))
	}
}

// Every other set of parameters is as healthy.
func TestHealthyParameters(t *testing.T) {
	for name, parameters := range map[string]map[string]string{
		"everything": {
			deployed.ParamFilters: "*:*", deployed.ParamIndexVersion: "V2", deployed.ParamTagSuffix: ".lazy",
			deployed.ParamTagUnindexed:    "false",
			deployed.ParamMinLayerSizeMiB: "0", deployed.ParamIndexUntagged: "true",
			deployed.ParamIndexReplicated:     "true",
			deployed.ParamIndexPullThrough:    "true",
			deployed.ParamGeneratorMemorySize: "3008", deployed.ParamGeneratorConcurrency: "5",
			deployed.ParamLogRetentionDays: "7", deployed.ParamLogLevel: "DEBUG",
			deployed.ParamPermissionsBoundary: "arn:aws:iam::123456789012:policy/boundary",
			deployed.ParamAlarmTopic:          "arn:aws:sns:eu-west-1:123456789012:alarms",
			deployed.ParamEventBus:            "bus",
		},
		"nothing": {deployed.ParamEventBus: "", deployed.ParamIndexVersion: "V1", deployed.ParamLogLevel: "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			server := awstest.Start(t)
			ecr := awstest.NewECR(nil)
			ecr.Repository("app", awstest.Repository{})
			d := stacktest.Deploy(t, server, stackName, parameters, ecr)
			ecr.ExcludePullTime(d.Resources["GeneratorPullTimeExclusion"].At("PrincipalArn").(string),
				d.Resources["StepsPullTimeExclusion"].At("PrincipalArn").(string))
			d.Metrics["ImagesIndexed"] = []stacktest.Point{{At: now.Add(-time.Hour), Value: 1}}
			for _, f := range examine(t, server).Findings {
				silent := f.Check == doctor.CheckAlarmActions && parameters[deployed.ParamAlarmTopic] == ""
				if (f.Severity != doctor.OK) != silent {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// Steps with less memory than the generator are told of, unless nothing is handed over.
func TestStepsMemory(t *testing.T) {
	for _, tt := range []struct {
		generator, steps, from string
		want                   string // the value that is advised; none if all is well
	}{{"1769", "3008", "8", ""}, {"3008", "3008", "8", ""}, {"5120", "3008", "8", "5120"},
		{"1769", "1024", "100", "1769"}, {"5120", "3008", "0", ""}} {
		server := awstest.Start(t)
		stacktest.Deploy(t, server, stackName, map[string]string{
			deployed.ParamGeneratorMemorySize: tt.generator, deployed.ParamStepsMemorySize: tt.steps,
			deployed.ParamFanOutFromGiB: tt.from}, awstest.NewECR(nil))
		var found []doctor.Finding
		for _, f := range examine(t, server).Findings {
			if f.Check == doctor.CheckMachine {
				found = append(found, f)
			}
		}
		severity, hint := doctor.OK, ""
		if tt.want != "" {
			severity = doctor.Warning
			hint = "soci-index-builder deploy --stack " + stackName + " --region eu-west-1 --parameter " +
				"StepsMemorySize=" + tt.want
		}
		if len(found) != 1 || found[0].Severity != severity || found[0].Hint != hint ||
			tt.want != "" && !strings.Contains(found[0].Found, "StepsMemorySize is "+tt.steps+", less than ") {
			t.Errorf("%+v: %+v", tt, found)
		}
	}
}

// A missing permission is reported by name, and stops nothing else.
func TestDenied(t *testing.T) {
	tests := []struct {
		service, operation, action string
		lost                       int // checks that say nothing then
	}{
		{"cloudformation", "GetTemplate", "cloudformation:GetTemplate", 17},
		{"cloudformation", "ListStackResources", "cloudformation:ListStackResources", 17},
		{"events", "DescribeRule", "events:DescribeRule", 2},
		{"events", "ListTargetsByRule", "events:ListTargetsByRule", 2},
		{"lambda", "*", "lambda:GetPolicy", 8},
		{"iam", "GetRole", "iam:GetRole", 1},
		{"iam", "ListRolePolicies", "iam:ListRolePolicies", 1},
		{"iam", "GetRolePolicy", "iam:GetRolePolicy", 1},
		{"states", "DescribeStateMachine", "states:DescribeStateMachine", 1},
		{"logs", "DescribeLogGroups", "logs:DescribeLogGroups", 1},
		{"sqs", "GetQueueAttributes", "sqs:GetQueueAttributes", 2},
		{"monitoring", "DescribeAlarms", "cloudwatch:DescribeAlarms", 2},
		{"monitoring", "GetMetricData", "cloudwatch:GetMetricData", 1},
		{"ecr", "DescribeRepositories", "ecr:DescribeRepositories", 6},
		{"ecr", "GetRepositoryPolicy", "ecr:GetRepositoryPolicy", 1},
		{"ecr", "GetLifecyclePolicy", "ecr:GetLifecyclePolicy", 1},
		{"ecr", "ListPullTimeUpdateExclusions", "ecr:ListPullTimeUpdateExclusions", 1},
		{"ecr", "GetAccountSetting", "ecr:GetAccountSetting", 1},
		{"ecr", "GetSigningConfiguration", "ecr:GetSigningConfiguration", 1},
	}
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			server, _ := deploy(t)
			well := examine(t, server)
			server.Fail(tt.service, tt.operation, 1000,
				&awstest.Error{Status: 403, Code: "AccessDeniedException", Message: "User: me is not authorized."})
			r := examine(t, server)
			named := false
			for _, f := range r.Findings {
				if f.Severity == doctor.OK {
					continue
				}
				if f.Severity != doctor.Warning || !strings.HasPrefix(f.Found, "could not be checked: ") ||
					!strings.HasPrefix(f.Hint, "allow ") {
					t.Errorf("%+v", f)
				}
				named = named || strings.Contains(f.Hint, tt.action)
			}
			if !named {
				t.Errorf("%s is not named: %+v", tt.action, r.Findings)
			}
			if lost := well.Count(doctor.OK) - r.Count(doctor.OK); lost != tt.lost {
				t.Errorf("%d checks less are well, want %d: %+v", lost, tt.lost, r.Findings)
			}
		})
	}
}

func TestExamineFails(t *testing.T) {
	server, _ := deploy(t)
	stack, err := deployed.Find(t.Context(), server.Config(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	server.Fail("lambda", "*", 1000, &awstest.Error{Status: 403, Code: "ExpiredTokenException", Message: "expired"})
	if r, err := doctor.Examine(t.Context(), server.Config(), stack, now); !errors.Is(awserror.Explain(err),
		awserror.ErrCredentials) {
		t.Errorf("expired: %v, %v", r, err)
	}
}

func findings(r *doctor.Report) map[doctor.Check][]doctor.Finding {
	all := map[doctor.Check][]doctor.Finding{}
	for _, f := range r.Findings {
		if f.Severity != doctor.OK {
			all[f.Check] = append(all[f.Check], f)
		}
	}
	return all
}

// Each row breaks one thing, which is then found, with its fix, and nothing
// else is.
func TestFindings(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			server, d := deploy(t)
			tt.breakIt(d)
			all := findings(examine(t, server))
			if len(all) != 1 || len(all[tt.check]) != 1 {
				t.Fatalf("found %+v, want %s alone", all, tt.check)
			}
			f := all[tt.check][0]
			if f.Severity != tt.severity || f.Subject != tt.subject(d) {
				t.Errorf("%+v, want a %s of %s", f, tt.severity, tt.subject(d))
			}
			if !strings.Contains(f.Found, tt.found) || !strings.Contains(f.Hint, tt.hint) || f.Hint == "" ||
				strings.ContainsAny(f.Found+f.Hint, "\n\x00") {
				t.Errorf("found %q, hint %q, want %q and %q in them", f.Found, f.Hint, tt.found, tt.hint)
			}
			if strings.HasPrefix(f.Hint, "aws ") && !strings.Contains(f.Hint, " --region eu-west-1") {
				t.Errorf("the hint names no region: %s", f.Hint)
			}
		})
	}
}

// There is a row for every check that can find something.
func TestRowsCoverChecks(t *testing.T) {
	covered := map[doctor.Check]bool{doctor.CheckEncryption: true, doctor.CheckBlobMounting: true} // which only inform
	for _, tt := range broken {
		covered[tt.check] = true
	}
	server, _ := deploy(t)
	for _, f := range examine(t, server).Findings {
		if !covered[f.Check] {
			t.Errorf("no row breaks %s", f.Check)
		}
	}
}

// A stack of another version may have what this one cannot work out, or cannot
// read at all.
func TestAnotherTemplate(t *testing.T) {
	server, d := deploy(t)
	const variable = `"SOCI_STACK_NAME":{"Ref":"AWS::StackName"}`
	well := d.Stack.Template
	d.Stack.Template = strings.Replace(well, variable, `"SOCI_STACK_NAME": {"Fn::GetAtt": ["FailureQueue", "Age"]}`, 1)
	if d.Stack.Template == well {
		t.Fatal("the template has no such variable")
	}
	if all := findings(examine(t, server)); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	for name, template := range map[string]string{
		"YAML":                  "Resources: {}",
		"an intrinsic function": strings.Replace(well, variable, `"SOCI_STACK_NAME": {"Fn::Base64": "x"}`, 1),
	} {
		d.Stack.Template = template
		all := findings(examine(t, server))
		if len(all) != 1 || len(all[doctor.CheckResources]) != 1 ||
			all[doctor.CheckResources][0].Severity != doctor.Warning {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

package doctor_test

import (
	"maps"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

const registryHost = awstest.Account + ".dkr.ecr." + awstest.Region + ".amazonaws.com/"

// imageParameters are those of a stack whose functions are images.
var imageParameters = map[string]string{
	deployed.ParamFilterImage:         registryHost + "s1/filter@sha256:" + strings.Repeat("a", 64),
	deployed.ParamGeneratorImage:      registryHost + "s1/generator@sha256:" + strings.Repeat("b", 64),
	deployed.ParamRepositoryNameImage: registryHost + "s1/name@sha256:" + strings.Repeat("c", 64),
}

// imageStack deploys such a stack, and examines it after a change by hand.
func imageStack(t *testing.T, change func(*stacktest.Deployment)) (*doctor.Report, *awstest.Server) {
	t.Helper()
	server, ecr := awstest.Start(t), awstest.NewECR(nil)
	for _, name := range []string{"s1/filter", "s1/generator", "s1/name", "prod/api"} {
		r := awstest.Repository{}
		if name != "prod/api" {
			r.Mutability = "IMMUTABLE"
		}
		ecr.Repository(name, r)
	}
	d := stacktest.Deploy(t, server, "prod-soci", maps.Clone(imageParameters), ecr)
	if change != nil {
		change(d)
	}
	stack, err := deployed.Find(t.Context(), server.Config(), "prod-soci")
	if err != nil {
		t.Fatal(err)
	}
	report, err := doctor.Examine(t.Context(), server.Config(), stack, now)
	if err != nil {
		t.Fatal(err)
	}
	return report, server
}

// A stack of images is judged as one of zip files is. The repositories of its
// functions are not, since nothing in them is indexed.
func TestImageStack(t *testing.T) {
	report, server := imageStack(t, nil)
	for _, f := range report.Findings {
		if f.Severity == doctor.Problem || strings.Contains(f.Subject, "s1/") {
			t.Errorf("%+v, want no problem, and nothing of s1", f)
		}
		if (f.Check == doctor.CheckConfiguration || f.Check == doctor.CheckRole) && f.Severity != doctor.OK {
			t.Errorf("%+v, want that it is in order", f)
		}
	}
	asked := 0
	for _, r := range server.Requests() {
		if r.Service == "lambda" && strings.HasSuffix(r.Operation, "/functions/prod-soci-FilterFunction-1A2B3C4D5E6F") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the image of the filter function was asked for %d times", asked)
	}
}

func TestImageStackBroken(t *testing.T) {
	other := registryHost + "s1/filter@sha256:" + strings.Repeat("d", 64)
	for _, row := range []row{
		{"sleeping", function("RepositoryNameFunction", "State", "Inactive"),
			doctor.CheckFunction, doctor.Warning, physical("RepositoryNameFunction"), "state Inactive",
			"the next event wakes it"},
		{"another image", set(filterFunction, other, "Code", "ImageUri"),
			doctor.CheckConfiguration, doctor.Warning, physical(filterFunction),
			"runs the image " + other + ", the stack's is ",
			"--image-uri " + imageParameters[deployed.ParamFilterImage]},
		{"zip file", function(generator, "PackageType", "Zip"),
			doctor.CheckConfiguration, doctor.Problem, physical(generator), "package type is Zip, the stack's is Image",
			""},
		{"own repositories", set(filterFunction, "s1/filter", "Environment", "Variables", "SOCI_OWN_REPOSITORIES"),
			doctor.CheckEnvironment, doctor.Problem, physical(filterFunction),
			`SOCI_OWN_REPOSITORIES is "s1/filter", the stack's is "s1/filter,s1/generator,s1/name"`, ""},
		{"nothing denied", func(d *stacktest.Deployment) {
			policy := d.Resources["GeneratorRepositoryPolicy"]
			policy.Set(policy.At("PolicyDocument", "Statement").([]any)[:1], "PolicyDocument", "Statement")
		}, doctor.CheckRole, doctor.Warning, physical("GeneratorRole"),
			"may use ecr:InitiateLayerUpload on arn:aws:ecr:eu-west-1:123456789012:repository/s1/filter", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var subject string
			report, _ := imageStack(t, func(d *stacktest.Deployment) {
				subject = row.subject(d)
				row.breakIt(d)
			})
			for _, f := range report.Findings {
				if f.Check == row.check && f.Severity == row.severity && f.Subject == subject &&
					strings.Contains(f.Found, row.found) &&
					strings.Contains(f.Hint, row.hint) {
					return
				}
			}
			t.Errorf("nothing of it in %+v", report.Findings)
		})
	}
}

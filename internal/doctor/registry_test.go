package doctor_test

import (
	"net/http"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// Settings that look like a problem, and are none.
func TestRegistryIsWell(t *testing.T) {
	policy := func(selection string) awstest.Repository {
		return awstest.Repository{LifecyclePolicy: `{"rules": [{"rulePriority": 1, "selection": {` + selection +
			`, "countNumber": 10}, "action": {"type": "expire"}}]}`}
	}
	deny := func(rest string) awstest.Repository {
		return awstest.Repository{Policy: `{"Statement": {"Effect": "Deny", ` + rest + `}}`}
	}
	tests := []struct {
		name, filters, version string
		repository             awstest.Repository
	}{
		{"immutable but for the suffixed tags of the filter", "app:v*,app:latest", "Both",
			awstest.Repository{Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"v*-soci", "latest*"}}},
		{"mutable but for other tags", "app:*", "Both",
			awstest.Repository{Mutability: "MUTABLE_WITH_EXCLUSION", Exclusions: []string{"v*", "*-release"}}},
		{"immutable, no suffixed tags", "app:*", "V1", awstest.Repository{Mutability: "IMMUTABLE"}},
		{"rule by age", "app:*", "Both",
			policy(`"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days"`)},
		{"rule on images without a tag", "app:*", "Both",
			policy(`"tagStatus": "untagged", "countType": "imageCountMoreThan"`)},
		{"rule on a pattern with an end", "app:*", "Both",
			policy(`"tagStatus": "tagged", "tagPatternList": ["v*", "*-release"], "countType": "imageCountMoreThan"`)},
		{"rule that counts, no suffixed tags", "app:*", "V1",
			policy(`"tagStatus": "any", "countType": "imageCountMoreThan"`)},
		{"policy that denies others", "app:*", "Both",
			deny(`"Principal": {"AWS": "arn:aws:iam::123456789012:role/ci"}, "Action": "ecr:*"`)},
		{"policy that denies all but us", "app:*", "Both",
			deny(`"NotPrincipal": {"AWS": "123456789012"}, "Action": "ecr:*"`)},
		{"policy that denies what is not done", "app:*", "Both",
			deny(`"Principal": "*", "Action": ["ecr:BatchDeleteImage", "ecr:DeleteRepository"]`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := awstest.Start(t)
			ecr := awstest.NewECR(nil)
			ecr.Repository("app", tt.repository)
			stacktest.Deploy(t, server, stackName,
				map[string]string{deployed.ParamFilters: tt.filters, deployed.ParamIndexVersion: tt.version}, ecr)
			for _, f := range examine(t, server).Findings {
				if strings.HasPrefix(string(f.Check), "repository-") && f.Severity != doctor.OK {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// Many repositories are looked at, each finding with its own, in order.
func TestManyRepositories(t *testing.T) {
	server, d := deploy(t)
	for i := range 200 {
		name := "prod/" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		r := awstest.Repository{}
		if i%50 == 0 {
			r.Policy = `{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "ecr:PutImage"}}`
		}
		d.ECR.Repository(name, r)
	}
	var subjects []string
	for _, f := range examine(t, server).Findings {
		if f.Check == doctor.CheckPolicy {
			subjects = append(subjects, f.Subject)
		}
	}
	if got, want := strings.Join(subjects, " "), "prod/aa prod/by prod/dw prod/fu"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// A setting that cannot be read is one finding for all repositories.
func TestRegistryNotAnswering(t *testing.T) {
	server, _ := deploy(t)
	server.Fail("ecr", "GetRepositoryPolicy", 1000, awstest.Throttled)
	server.Fail("ecr", "GetAccountSetting",
		1, &awstest.Error{Status: http.StatusBadRequest, Code: "InvalidParameterException", Message: "no such setting"})
	all := findings(examine(t, server))
	if len(all) != 2 || len(all[doctor.CheckPolicy]) != 1 || len(all[doctor.CheckBlobMounting]) != 1 {
		t.Fatalf("%+v", all)
	}
	if f := all[doctor.CheckPolicy][0]; f.Severity != doctor.Warning || !strings.Contains(f.Found, "asked too often") ||
		f.Hint != "try again later" {
		t.Errorf("throttled: %+v", f)
	}
	if f := all[doctor.CheckBlobMounting][0]; f.Severity != doctor.Warning ||
		!strings.Contains(f.Found, "no such setting") {
		t.Errorf("refused: %+v", f)
	}
}

// A policy that cannot be understood hides no other.
func TestBrokenPolicies(t *testing.T) {
	server, d := deploy(t)
	d.ECR.Repository("prod/api", awstest.Repository{Policy: "{", LifecyclePolicy: "["})
	d.ECR.Repository("prod/web",
		awstest.Repository{Policy: `{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "ecr:*"}}`})
	all := findings(examine(t, server))
	if len(all) != 2 || len(all[doctor.CheckPolicy]) != 2 || len(all[doctor.CheckLifecycle]) != 1 {
		t.Fatalf("%+v", all)
	}
	if f := all[doctor.CheckPolicy]; f[0].Subject != "prod/web" || !strings.Contains(f[1].Found, "prod/api") {
		t.Errorf("%+v", f)
	}
}

// Some findings only inform.
func TestInforms(t *testing.T) {
	server, d := deploy(t)
	d.ECR.Setting("BLOB_MOUNTING", "ENABLED")
	for _, tt := range []struct {
		check doctor.Check
		found string
	}{
		{doctor.CheckBlobMounting, "on; the builder does not depend on it"},
		{doctor.CheckEncryption,
			"1 repository is encrypted under a KMS key, for which the generator needs no permission"},
	} {
		for _, f := range examine(t, server).Findings {
			if f.Check == tt.check && (f.Severity != doctor.OK || f.Found != tt.found) {
				t.Errorf("%+v, want %q", f, tt.found)
			}
		}
	}
}

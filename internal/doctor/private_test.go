package doctor_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
	"soci-index-builder/internal/testkit/expect"
)

// deployWith deploys the stack with more parameters.
func deployWith(t *testing.T, parameters map[string]string) (*awstest.Server, *stacktest.Deployment) {
	t.Helper()
	server := awstest.Start(t)
	ecr := awstest.NewECR(nil)
	for _, name := range []string{"prod/api", "prod/web", "test/api"} {
		ecr.Repository(name, awstest.Repository{})
	}
	all := map[string]string{deployed.ParamFilters: "prod/*:*"}
	for name, value := range parameters {
		all[name] = value
	}
	return server, stacktest.Deploy(t, server, stackName, all, ecr)
}

// only returns the findings of one check.
func only(r *doctor.Report, c doctor.Check) []doctor.Finding {
	var found []doctor.Finding
	for _, f := range r.Findings {
		if f.Check == c {
			found = append(found, f)
		}
	}
	return found
}

func TestSigning(t *testing.T) {
	all, prod, test := awstest.SigningRule{Profile: profile("all")},
		awstest.SigningRule{Profile: profile("prod"), Repositories: []string{"*/web"}},
		awstest.SigningRule{Profile: profile("test"), Repositories: []string{"test/*", "prod"}}
	const set = "set the stack's parameter: soci-index-builder deploy --stack " + stackName +
		" --region eu-west-1 --parameter SigningProfileArns="
	for _, tt := range []struct {
		name    string
		rules   []awstest.SigningRule
		allowed []string
		want    []string // subject and text of each warning; none: all is well
		hint    string   // of each; empty: any
	}{
		{"off", nil, nil, nil, ""},
		{"no rule", []awstest.SigningRule{}, nil, nil, ""},
		{"allowed", []awstest.SigningRule{all}, []string{"all"}, nil, ""},
		{"both allowed", []awstest.SigningRule{all, prod}, []string{"all", "prod"}, nil, ""},
		{"of other repositories", []awstest.SigningRule{test}, nil, nil, ""},
		{"one is not allowed", []awstest.SigningRule{all, prod}, []string{"all"},
			[]string{"prod 1 chosen repository (prod/web"}, set + profile("all") + "," + profile("prod")},
		{"none is allowed", []awstest.SigningRule{all, prod}, nil,
			[]string{"all 2 chosen repositories (prod/api", "prod 1 chosen repository"},
			set + profile("all") + "," + profile("prod")},
		{"more than the parameter takes", []awstest.SigningRule{all, prod}, []string{"a", "b"},
			[]string{"all signs what", "prod signs what", "a no rule", "b no rule"}, ""},
		{"without a rule", nil, []string{"old"}, []string{"old no rule"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var arns []string
			for _, name := range tt.allowed {
				arns = append(arns, profile(name))
			}
			server, d := deployWith(t, map[string]string{deployed.ParamSigningProfiles: strings.Join(arns, ",")})
			if tt.rules != nil {
				d.ECR.Sign(tt.rules...)
			}
			r := examine(t, server)
			found := only(r, doctor.CheckSigning)
			if len(tt.want) == 0 {
				if len(found) != 1 || found[0].Severity != doctor.OK {
					t.Errorf("%+v", found)
				}
				return
			}
			if len(found) != len(tt.want) {
				t.Fatalf("%+v, want %q", found, tt.want)
			}
			hint := map[string]int{}
			for i, want := range tt.want {
				hint[found[i].Hint]++
				name, text, _ := strings.Cut(want, " ")
				f := found[i]
				expect.Equal(t, expect.Facts{
					{"Severity", f.Severity, doctor.Warning},
					{"Subject", f.Subject, profile(name)},
					{"has the text", strings.Contains(f.Found, text), true},
					{"has a hint", f.Hint != "", true},
				}, "%q, want %q", f.Found, want)
			}
			if tt.hint != "" && hint[tt.hint] != len(tt.want) {
				t.Errorf("the hints are %v, want %q", hint, tt.hint)
			}
			for _, f := range only(r, doctor.CheckRole) {
				if f.Severity != doctor.OK {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// Four profiles do not go into the parameter: nothing is advised that CloudFormation
// refuses.
func TestSigningLimit(t *testing.T) {
	server, d := deployWith(t, nil)
	var rules []awstest.SigningRule
	for _, name := range []string{"a1", "b1", "c1", "d1"} {
		rules = append(rules, awstest.SigningRule{Profile: profile(name)})
	}
	d.ECR.Sign(rules...)
	for _, f := range only(examine(t, server), doctor.CheckSigning) {
		if f.Hint != "the stack's parameter SigningProfileArns takes 3 profiles, and these would be 4: let the rules "+
			"share profiles" {
			t.Errorf("%+v", f)
		}
	}
	var template struct {
		Parameters map[string]struct{ AllowedPattern string }
	}
	if err := json.Unmarshal(stacktest.Template(t), &template); err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(template.Parameters[deployed.ParamSigningProfiles].AllowedPattern)
	three := profile("a1") + "," + profile("b1") + "," + profile("c1")
	if !pattern.MatchString(three) || pattern.MatchString(three+","+profile("d1")) {
		t.Errorf("the parameter does not take 3 profiles at most: %s", pattern)
	}
	d.ECR.Sign(rules[:3]...)
	found := only(examine(t, server), doctor.CheckSigning)
	if len(found) != 3 || strings.Count(found[0].Hint, "/signing-profiles/") != 3 {
		t.Errorf("%+v", found)
	}
}

// A region without managed signing is as one where it is off.
func TestSigningUnknown(t *testing.T) {
	server, _ := deployWith(t, nil)
	server.Fail("ecr", "GetSigningConfiguration", 1, &awstest.Error{Status: 400, Code: "UnknownOperationException"})
	found := only(examine(t, server), doctor.CheckSigning)
	if len(found) != 1 || found[0].Severity != doctor.OK ||
		!strings.Contains(found[0].Found, "managed signing is off") {
		t.Errorf("%+v", found)
	}
}

// The functions are in the stack's private network, and the custom resource's
// function is not.
func TestNetwork(t *testing.T) {
	for _, tt := range []struct {
		name       string
		parameters map[string]string
		want, not  string
	}{
		{"none", nil, "no private network", "subnets"},
		{"private", map[string]string{}, "are in the stack's subnets of " + awstest.VPC, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.parameters != nil {
				tt.parameters[deployed.ParamSubnets] = "subnet-01234567,subnet-01234568"
				tt.parameters[deployed.ParamSecurityGroups] = "sg-01234567"
			}
			server, d := deployWith(t, tt.parameters)
			r := examine(t, server)
			found := only(r, doctor.CheckNetwork)
			if len(found) != 1 || found[0].Severity != doctor.OK {
				t.Fatalf("%+v, want one finding that is OK", found)
			}
			if text := found[0].Found; !strings.Contains(text, tt.want) || strings.Contains(text, tt.not) {
				t.Errorf("%q, want %q in it, and no %q", text, tt.want, tt.not)
			}
			if r.Count(doctor.Problem) > 0 {
				t.Errorf("%+v", r.Findings)
			}
			if tt.parameters == nil {
				return
			}
			d.Resources["FilterFunction"].Set([]any{"sg-99999999"}, "VpcConfig", "SecurityGroupIds")
			d.Resources["RepositoryNameFunction"].Set(map[string]any{"SubnetIds": []any{"subnet-01234567"},
				"SecurityGroupIds": []any{"sg-01234567"}}, "VpcConfig")
			texts := ""
			for _, f := range only(examine(t, server), doctor.CheckNetwork) {
				texts += f.Subject + ": " + f.Found + "\n"
			}
			for _, want := range []string{
				d.Resources["FilterFunction"].Physical +
					": its security groups are sg-99999999, the stack's are sg-01234567",
				d.Resources["RepositoryNameFunction"].Physical +
					": its subnets are subnet-01234567, the stack's are none",
			} {
				if !strings.Contains(texts, want) {
					t.Errorf("found %s, want %s", texts, want)
				}
			}
		})
	}
}

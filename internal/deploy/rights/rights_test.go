package rights_test

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/permission/deployer"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
)

// notAllowed is AWS's message.
func notAllowed(action string) string {
	return "User: arn:aws:iam::123456789012:user/me is not authorized to perform: " + action +
		" on resource: r because no " +
		"identity-based policy allows the " + action + " action"
}

// Only an answer that names the right, or what belongs to it, counts.
func TestAnswers(t *testing.T) {
	const create = "cloudformation:CreateChangeSet"
	for _, tt := range []struct {
		name    string
		answer  *awstest.Error
		missing string
		scope   deployer.Scope
	}{
		{"denied", &awstest.Error{Status: 403, Code: "AccessDenied", Message: notAllowed(create)}, create,
			deployer.Stack},
		{"the tags", &awstest.Error{Status: 403, Code: "AccessDenied",
			Message: notAllowed("cloudformation:TagResource")},
			"cloudformation:TagResource", deployer.Stack},
		{"the role", &awstest.Error{Status: 403, Code: "AccessDenied", Message: notAllowed("iam:PassRole")},
			"iam:PassRole", deployer.ServiceRole},
		{"another call", &awstest.Error{Status: 403, Code: "AccessDenied", Message: notAllowed("s3:GetObject")}, "",
			""},
		{"no action", &awstest.Error{Status: 403, Code: "AccessDenied", Message: "no"}, "", ""},
		{"credentials", &awstest.Error{Status: 403, Code: "ExpiredToken", Message: "expired"}, "", ""},
		{"throttled", &awstest.Error{Status: 400, Code: "Throttling", Message: "Rate exceeded"}, "", ""},
		{"a proxy", &awstest.Error{Status: 403, Page: true}, "", ""},
		{"no answer", &awstest.Error{}, "", ""},
		{"not understood", &awstest.Error{Status: 400, Code: "ValidationError", Message: "unknown"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := awstest.Start(t)
			stacks := awstest.NewCloudFormation()
			server.Handle("cloudformation", stacks)
			server.Fail("cloudformation", "CreateChangeSet", 1, tt.answer)
			s := rights.Stack{Name: "s", Scope: deployer.Stack, RoleARN: "arn:aws:iam::123456789012:role/r",
				Tags: map[string]string{"k": "v"}}
			missing := rights.Ask(t.Context(), s.ChangeSets(server.RetryingConfig(3)))
			if got := len(missing) > 0; got != (tt.missing != "") || len(missing) > 1 {
				t.Fatalf("missing %+v, want %q", missing, tt.missing)
			}
			for _, m := range missing {
				expect.Equal(t, expect.Facts{
					{"Action", m.Question.Action, tt.missing},
					{"Scope", m.Scope, tt.scope},
					{"Policy", m.Policy, "identity-based"},
				}, "missing")
			}
			if n := len(server.Requests()); n != 3 {
				t.Errorf("%d requests, want each question once", n)
			}
			if stacks.Stack("s") != nil || len(stacks.ChangeSets()) > 0 {
				t.Error("something was made")
			}
		})
	}
}

// Nothing is made of any stack, in whatever state it is.
func TestChangeSetsMakeNothing(t *testing.T) {
	for _, status := range []string{"", "REVIEW_IN_PROGRESS", "CREATE_COMPLETE", "UPDATE_IN_PROGRESS",
		"ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"} {
		server, stacks := awstest.Start(t), awstest.NewCloudFormation()
		server.Handle("cloudformation", stacks)
		s := rights.Stack{Name: "s", Scope: deployer.Stack}
		if status != "" {
			is := &awstest.Stack{Name: "s", Status: status, Template: `{"Resources":{"Q":{"Type":"AWS::SQS::Queue"}}}`}
			stacks.Add(is)
			s.Now = &target.Stack{Name: "s", ID: is.ID(), Status: status}
		}
		questions := append(s.ChangeSets(server.Config()), s.Watch(server.Config()), s.Template(server.Config()),
			s.Protection(server.Config()))
		if missing := rights.Ask(t.Context(), questions); len(missing) > 0 {
			t.Errorf("%s: missing %+v", status, missing)
		}
		if left := stacks.ChangeSets(); len(left) > 0 {
			t.Errorf("%s: the change sets %q are left", status, left)
		}
		is := stacks.Stack("s")
		if (is == nil) != (status == "") {
			t.Errorf("%s: the stack is %+v", status, is)
		}
		if is != nil && (is.Status != status || is.Protected) {
			t.Errorf("%s: the stack is %s, protected: %t", status, is.Status, is.Protected)
		}
	}
}

// What stands for CloudFormation may take any change set: it is deleted again.
func TestTakenChangeSet(t *testing.T) {
	server := awstest.Start(t)
	var asked []string
	server.Handle("cloudformation", awstest.Query(map[string]func(url.Values) (string, error){
		"CreateChangeSet": func(url.Values) (string, error) {
			return "<Id>arn:set</Id><StackId>arn:stack</StackId>", nil
		},
		"DeleteChangeSet": func(form url.Values) (string, error) {
			asked = append(asked, "set "+form.Get("ChangeSetName"))
			return "", nil
		},
		"ListChangeSets": func(url.Values) (string, error) { return "<Summaries></Summaries>", nil },
		"DescribeStacks": func(form url.Values) (string, error) {
			return "<Stacks><member><StackName>s</StackName><StackId>" + form.Get("StackName") + "</StackId>" +
				"<StackStatus>REVIEW_IN_PROGRESS</StackStatus><CreationTime>2026-01-02T03:04:05Z</CreationTime>" +
				"</member></Stacks>", nil
		},
		"DeleteStack": func(form url.Values) (string, error) {
			asked = append(asked, "stack "+form.Get("StackName"))
			return "", nil
		},
	}))
	s := rights.Stack{Name: "s", Scope: deployer.Stack}
	rights.Ask(t.Context(), s.ChangeSets(server.Config())[:1])
	if !slices.Equal(asked, []string{"set arn:set", "stack arn:stack"}) {
		t.Errorf("deleted %q", asked)
	}
}

// What stands for CloudFormation may make the change set that it is asked for: that
// one is not executed.
func TestOtherChangeSetIsExecuted(t *testing.T) {
	server := awstest.Start(t)
	var mu sync.Mutex
	named := map[string]string{}
	note := func(operation string) func(url.Values) (string, error) {
		return func(form url.Values) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			named[operation] = form.Get("ChangeSetName")
			return "", nil
		}
	}
	server.Handle("cloudformation", awstest.Query(map[string]func(url.Values) (string, error){
		"CreateChangeSet": note("create"), "DescribeChangeSet": note("describe"), "ExecuteChangeSet": note("execute"),
	}))
	s := rights.Stack{Name: "s", Scope: deployer.Stack}
	rights.Ask(t.Context(), s.ChangeSets(server.Config()))
	if named["create"] == "" || named["execute"] == "" || named["create"] == named["execute"] {
		t.Errorf("asked for %q", named)
	}
}

// Of a repository nothing is changed, whether it is there or not. Nothing is asked
// that would make a repository in an account that has them made on push.
func TestRepositoryQuestions(t *testing.T) {
	for _, exists := range []bool{true, false} {
		server, ecr := awstest.Start(t), awstest.NewECR(nil)
		server.Handle("ecr", ecr)
		if exists {
			ecr.Repository("r", awstest.Repository{})
		}
		questions := append(rights.Repository(server.Config(), "r", exists, deployer.OwnRepositories, nil),
			rights.Registry(server.Config()))
		if missing := rights.Ask(t.Context(), questions); len(missing) > 0 {
			t.Errorf("missing %+v", missing)
		}
		if n := server.Count("ecr", "InitiateLayerUpload"); n != 0 {
			t.Errorf("%d uploads are begun", n)
		}
		if n := server.Count("ecr", "PutImage"); n != map[bool]int{true: 1, false: 0}[exists] {
			t.Errorf("exists %t: %d images are put", exists, n)
		}
		server.Fail("ecr", "*", 100, &awstest.Error{Status: http.StatusBadRequest, Code: "AccessDeniedException",
			Message: notAllowed("ecr:UploadLayerPart")})
		if missing := rights.Ask(t.Context(), questions); len(missing) != 1 ||
			missing[0].Question.Action != "ecr:UploadLayerPart" {
			t.Errorf("missing %+v", missing)
		}
	}
}

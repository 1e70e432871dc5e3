package permission

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/ecrclient"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestOfRequest(t *testing.T) {
	tests := []struct {
		name, method, path string
		want               []string
	}{
		{"ping", http.MethodGet, "/v2/", nil},
		{"ping without a slash", http.MethodGet, "/v2", nil},
		{"resolve a tag", http.MethodHead, "/v2/app/manifests/v1", []string{"ecr:BatchGetImage"}},
		{"manifest", http.MethodGet, "/v2/team/app/manifests/" + sum, []string{"ecr:BatchGetImage"}},
		{"push a manifest", http.MethodPut, "/v2/app/manifests/v1-soci", []string{"ecr:PutImage"}},
		{"delete a manifest", http.MethodDelete, "/v2/app/manifests/" + sum, []string{"ecr:BatchDeleteImage"}},
		{"referrers", http.MethodGet, "/v2/app/referrers/" + sum, []string{"ecr:BatchGetImage"}},
		{"tags", http.MethodGet, "/v2/app/tags/list", []string{"ecr:ListImages"}},
		{"layer", http.MethodGet, "/v2/app/blobs/" + sum, []string{"ecr:GetDownloadUrlForLayer"}},
		{"is the layer there", http.MethodHead, "/v2/app/blobs/" + sum, []string{"ecr:BatchCheckLayerAvailability"}},
		{"begin an upload", http.MethodPost, "/v2/app/blobs/uploads/", []string{"ecr:InitiateLayerUpload"}},
		{"send all", http.MethodPut, "/v2/app/blobs/uploads/0b1c",
			[]string{"ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}},
		{"send a part", http.MethodPatch, "/v2/app/blobs/uploads/0b1c", []string{"ecr:UploadLayerPart"}},
		{"a name made of the kinds", http.MethodGet, "/v2/blobs/uploads/manifests/tags/blobs/" + sum,
			[]string{"ecr:GetDownloadUrlForLayer"}},
		{"a name that ends in a kind", http.MethodGet, "/v2/team/blobs/manifests/v1", []string{"ecr:BatchGetImage"}},
		{"a tag called list", http.MethodGet, "/v2/team/tags/manifests/list", []string{"ecr:BatchGetImage"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := OfRequest(tt.method, tt.path); err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("OfRequest(%s, %s) = %q, %v, want %q", tt.method, tt.path, got, err, tt.want)
			}
		})
	}
}

func TestOfRequestUnknown(t *testing.T) {
	for _, r := range []struct{ method, path string }{
		{http.MethodGet, "/"},
		{http.MethodGet, "/v1/app/manifests/v1"},
		{http.MethodGet, "/v2/_catalog"},
		{http.MethodGet, "/v2/manifests/v1"}, // without a name
		{http.MethodPost, "/v2/app/manifests/v1"},
		{http.MethodDelete, "/v2/app/blobs/" + sum},
		{http.MethodDelete, "/v2/app/blobs/uploads/0b1c"},
		{http.MethodGet, "/v2/app/tags/other"},
	} {
		if got, err := OfRequest(r.method, r.path); err == nil {
			t.Errorf("OfRequest(%s, %s) = %q, want an error", r.method, r.path, got)
		}
	}
}

func TestOfCall(t *testing.T) {
	for _, tt := range []struct{ service, operation, want string }{
		{"ECR", "DescribeImages", "ecr:DescribeImages"},
		{"ECR", "ListImageReferrers", "ecr:BatchGetImage"},
		{"Lambda", "Invoke", "lambda:InvokeFunction"},
		{"SQS", "SendMessage", "sqs:SendMessage"},
		{"SQS", "DeleteMessageBatch", "sqs:DeleteMessage"},
		{"EventBridge", "PutEvents", "events:PutEvents"},
		{"CloudWatch Logs", "StartQuery", "logs:StartQuery"},
		{"CloudFormation", "DescribeStacks", "cloudformation:DescribeStacks"},
		{"S3", "HeadObject", "s3:GetObject"},
		{"Braket", "CreateJob", ""},
		{"ECR", "", ""},
	} {
		if got := OfCall(tt.service, tt.operation); got != tt.want {
			t.Errorf("OfCall(%s, %s) = %q, want %q", tt.service, tt.operation, got, tt.want)
		}
	}
}

func TestOfOperation(t *testing.T) {
	for op, want := range map[string][]string{
		"authenticate": {"ecr:GetAuthorizationToken"},
		"list images":  {"ecr:DescribeImages"},
		"push blob":    {"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"},
		"sing":         nil,
	} {
		if got := ofOperation(op); !slices.Equal(got, want) {
			t.Errorf("ofOperation(%s) = %q, want %q", op, got, want)
		}
	}
	for op, of := range operations {
		for _, r := range of {
			if len(requests[r]) == 0 {
				t.Errorf("%s: nothing is known of %s %s", op, r.method, r.kind)
			}
		}
	}
}

// A list that a reader can trust: each action once, written as IAM writes it,
// with a reason, and none both given and withheld.
func TestFunctions(t *testing.T) {
	action := regexp.MustCompile(`^[a-z0-9]+:[A-Z][A-Za-z]+$`)
	for name, needs := range Functions {
		seen := map[string]bool{}
		for _, n := range slices.Concat(needs, Withheld[name]) {
			expect.Equal(t, expect.Facts{
				{"seen[n.Action]", seen[n.Action], false},
				{"action.MatchString(n.Action)", action.MatchString(n.Action), true},
				{`n.On == ""`, n.On == "", false},
				{`n.Why == ""`, n.Why == "", false},
			}, "%s: %+v", name, n)
			if n.On == Everything && n.Action != "ecr:GetAuthorizationToken" {
				t.Errorf("%s: %s is for everything", name, n.Action)
			}
			seen[n.Action] = true
		}
	}
	for name := range Withheld {
		if Functions[name] == nil {
			t.Errorf("there is no function %s", name)
		}
	}
}

func TestOfRefusal(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"
	push := []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}
	for _, row := range []struct {
		name string
		err  error
		want []string
	}{
		{"another error", errors.New("403"), nil},
		{"403 of an upload", &ecrclient.Error{Op: "push blob", Repository: host, Status: 403}, push},
		{"401 of an upload", &ecrclient.Error{Op: "push blob", Repository: host, Status: 401}, push},
		{"401 of an upload elsewhere",
			&ecrclient.Error{Op: "push blob", Repository: "registry.example/app", Status: 401},
			nil},
		{"401 of the tag",
			fmt.Errorf("pushing: %w", &ecrclient.Error{Op: "push manifest", Repository: host, Status: 401}),
			[]string{"ecr:PutImage"}},
		{"401 of reading", &ecrclient.Error{Op: "fetch blob", Repository: host, Status: 401}, nil},
		{"403 of reading", &ecrclient.Error{Op: "fetch blob", Repository: host, Status: 403},
			[]string{"ecr:GetDownloadUrlForLayer"}},
		{"no token", &ecrclient.Error{Op: "fetch blob", Repository: host, Err: &ecrclient.Error{Op: "authenticate"}},
			[]string{"ecr:GetAuthorizationToken"}},
		{"down", &ecrclient.Error{Op: "push blob", Repository: host, Status: 503}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := OfRefusal(row.err); !slices.Equal(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	for want, actions := range map[string][]string{"": nil, "a": {"a"}, "a and b": {"a", "b"},
		"a, b and c": {"a", "b", "c"}} {
		if got := List(actions); got != want {
			t.Errorf("List(%q) is %q", actions, got)
		}
	}
}

// A function that lacks a permission pushes nothing: no upload begins, and no
// manifest is stored.
func TestDenied(t *testing.T) {
	denied := map[string]bool{}
	for _, need := range Denied["indexgen"] {
		denied[need.Action] = true
		if need.On != OwnRepositories || need.Why == "" {
			t.Errorf("%+v", need)
		}
	}
	for _, r := range [][2]string{{"POST", "/v2/s/filter/blobs/uploads/"}, {"PUT", "/v2/s/filter/manifests/v1"}} {
		actions, err := OfRequest(r[0], r[1])
		if err != nil || !slices.ContainsFunc(actions, func(a string) bool { return denied[a] }) {
			t.Errorf("%s %s needs %q, %v: none is denied", r[0], r[1], actions, err)
		}
	}
}

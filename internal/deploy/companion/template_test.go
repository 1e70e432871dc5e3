package companion

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
)

// The example of SAM CLI's design.
func TestNames(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{StackName("Hello-World-Stack"), "Hello-World-Stack-925976eb-CompanionStack"},
		{RepositoryName("Hello-World-Stack", "TestFunction01"), "helloworldstack925976eb/testfunction0150919004repo"},
		{RepositoryLogicalID("TestFunction01"), "TestFunction0150919004Repo"},
		{OutputLogicalID("TestFunction01"), "TestFunction0150919004Out"},
		{RepositoryName("Hello-World-Stack", "AnotherTestFunction02"),
			"helloworldstack925976eb/anothertestfunction025c2cfd8crepo"},
		{RepositoryLogicalID("AnotherTestFunction02"), "AnotherTestFunction025c2cfd8cRepo"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	long := strings.Repeat("Ab-", 42) + "cd" // 128
	if got := StackName(long); len(got) != 128 || !strings.HasPrefix(got, long[:104]+"-") {
		t.Errorf("the companion of a long name is %s of %d characters", got, len(got))
	}
	id := strings.Repeat("Function", 8) // 64
	if r, o := RepositoryLogicalID(id), OutputLogicalID(id); len(r) != 64 || len(o) != 63 || r[:52] != id[:52] {
		t.Errorf("the logical ids are %s and %s", r, o)
	}
	if StackName("My-Stack") == StackName("my-stack") ||
		RepositoryName("My-Stack", "F") == RepositoryName("my-stack", "F") {
		t.Error("two stacks have one companion")
	}
	for _, f := range Functions {
		if name := RepositoryName(long, f.LogicalID); len(name) > 256 {
			t.Errorf("%s has %d characters", name, len(name))
		} else if _, err := names.ParseHosted("example.com/" + name); err != nil {
			t.Error(err)
		} else if !IsRepositoryName(name) || !IsRepositoryName(RepositoryName("p", f.LogicalID)) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "prod/api", RepositoryName("prod", "TestFunction01"),
		"filterfunction0f8a6661repo",
		"a/" + RepositoryName("prod", "FilterFunction"), "prod/filterfunction0f8a6661repo",
		RepositoryName("prod", "FilterFunction") + "2"} {
		if IsRepositoryName(name) {
			t.Errorf("%q passes for a companion's", name)
		}
	}
}

func TestRepositoryURI(t *testing.T) {
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
	got, err := RepositoryURI("123456789012", "eu-west-1", "Hello-World-Stack", "TestFunction01")
	want := "123456789012.dkr.ecr.eu-west-1.amazonaws.com/helloworldstack925976eb/testfunction0150919004repo"
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if _, err := RepositoryURI("12", "eu-west-1", "s", "f"); err == nil {
		t.Error("there is no account 12")
	}
}

// The functions are those of the template for images.
func TestFunctions(t *testing.T) {
	text, err := embedded.Template(embedded.Image, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Parameters map[string]any
		Resources  map[string]struct {
			Type       string
			Properties struct {
				Code struct{ ImageUri struct{ Ref string } }
			}
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	images := map[string]bool{}
	for _, r := range template.Resources {
		if r.Type == "AWS::Lambda::Function" {
			images[r.Properties.Code.ImageUri.Ref] = true // the steps have the generator's
		}
	}
	if len(images) != len(Functions) {
		t.Errorf("%d images, want %d", len(images), len(Functions))
	}
	for _, f := range Functions {
		if got := template.Resources[f.LogicalID].Properties.Code.ImageUri.Ref; got != f.Parameter ||
			template.Parameters[got] == nil {
			t.Errorf("the image of %s is the parameter %q, not %s", f.LogicalID, got, f.Parameter)
		}
		if _, err := os.Stat(filepath.Join("../../../lambdas", f.Executable)); err != nil {
			t.Error(err)
		}
	}
}

func template(t *testing.T, stack string, functions ...string) []byte {
	t.Helper()
	text, err := Template(stack, functions...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTemplate(t *testing.T) {
	text := template(t, "Hello-World-Stack", "TestFunction01", "AnotherTestFunction02")
	if again := template(t, "Hello-World-Stack", "AnotherTestFunction02", "TestFunction01"); !bytes.Equal(text, again) {
		t.Error("the order of the functions changes the template")
	}
	var tmpl struct {
		Resources map[string]struct {
			Type           string
			DeletionPolicy string
			Properties     map[string]any
		}
		Outputs map[string]struct{ Value map[string][]string }
	}
	if err := json.Unmarshal(text, &tmpl); err != nil {
		t.Fatal(err)
	}
	r := tmpl.Resources["TestFunction0150919004Repo"]
	if len(tmpl.Resources) != 2 || r.Type != "AWS::ECR::Repository" || r.DeletionPolicy != "" {
		t.Fatalf("the resources are %+v", tmpl.Resources)
	}
	for property, want := range map[string]string{
		"RepositoryName":             `"helloworldstack925976eb/testfunction0150919004repo"`,
		"ImageTagMutability":         `"IMMUTABLE"`,
		"ImageScanningConfiguration": `{"ScanOnPush":true}`,
		"EmptyOnDelete":              `true`,
		"Tags":                       `[{"Key":"ManagedStackSource","Value":"SociIndexBuilder"}]`,
		"RepositoryPolicyText": `{"Statement":[{"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Condition":` +
			`{"StringLike":{"aws:sourceARN":{"Fn::Sub":` +
			`"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*"}}},` +
			`"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Sid":"LambdaReadsImages"}],` +
			`"Version":"2012-10-17"}`,
	} {
		if got, err := json.Marshal(r.Properties[property]); err != nil || string(got) != want {
			t.Errorf("%s is %s, %v, want %s", property, got, err, want)
		}
	}
	var lifecycle struct {
		Rules []struct{ Selection struct{ TagStatus string } }
	}
	policy, _ := r.Properties["LifecyclePolicy"].(map[string]any)
	if err := json.Unmarshal([]byte(policy["LifecyclePolicyText"].(string)), &lifecycle); err != nil ||
		len(lifecycle.Rules) != 1 || lifecycle.Rules[0].Selection.TagStatus != "untagged" {
		t.Errorf("the lifecycle policy is %v, %v", policy, err)
	}
	if got := tmpl.Outputs["TestFunction0150919004Out"].Value["Fn::GetAtt"]; strings.Join(got, ".") !=
		"TestFunction0150919004Repo.RepositoryUri" {
		t.Errorf("the output is %q", got)
	}
	if len(text) > 51_200 {
		t.Errorf("%d bytes do not travel inline", len(text))
	}
	if _, err := Template("s"); !errors.Is(err, ErrNoFunction) {
		t.Errorf("the error is %v, want ErrNoFunction", err)
	}
}

func TestRepositories(t *testing.T) {
	stack, all, err := Repositories(template(t, "s", "TestFunction01", "AnotherTestFunction02"))
	if err != nil || stack != "s" || len(all) != 2 {
		t.Fatalf("%s has %+v, %v", stack, all, err)
	}
	if all[0].Function != "AnotherTestFunction02" || all[1].Name != RepositoryName("s", "TestFunction01") {
		t.Errorf("%s has %+v, %v", stack, all, err)
	}
	if left := Unneeded(all, "TestFunction01"); len(left) != 1 || left[0] != all[0] || len(all) != 2 {
		t.Errorf("unneeded are %+v", left)
	}
	if left := Unneeded(all); len(left) != 2 {
		t.Errorf("unneeded are %+v", left)
	}
	for _, bad := range []string{
		"", "[]", `{"Resources":{}}`, `{"Metadata":{"SociIndexBuilder":{"Stack":"s"}}}`,
		`{"Metadata":{"SociIndexBuilderCompanion":{"Stack":"s"}},"Resources":{"B":{"Type":"AWS::S3::Bucket"}}}`,
		`{"Metadata":{"SociIndexBuilderCompanion":{"Stack":"s"}},"Resources":{"R":{"Type":"AWS::ECR::Repository"}}}`,
	} {
		if _, _, err := Repositories([]byte(bad)); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: the error is %v, want ErrTemplate", bad, err)
		}
	}
}

func TestURIs(t *testing.T) {
	outputs := map[string]string{"TestFunction0150919004Out": "host/name", "Other": "x"}
	if uris, err := URIs(outputs, "TestFunction01"); err != nil || uris["TestFunction01"] != "host/name" ||
		len(uris) != 1 {
		t.Errorf("%v, %v", uris, err)
	}
	if _, err := URIs(outputs, "TestFunction01", "F"); !errors.Is(err, ErrOutput) ||
		!strings.Contains(err.Error(), "for F:") {
		t.Errorf("the error is %v, want ErrOutput", err)
	}
}

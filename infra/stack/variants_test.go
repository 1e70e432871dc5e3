package stack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded/version"
)

// The two ways of deploying differ in where the code is, and in what was asked
// for: the architecture.
func TestVariants(t *testing.T) {
	plain, assets := synth(t), synthAssets(t)
	code := []string{deployed.ParamCodeBucket, deployed.ParamCodeKeyPrefix}
	for _, name := range code {
		if _, ok := plain.Parameters[name]; !ok {
			t.Errorf("the plain template has no parameter %s", name)
		}
	}
	rest := maps.Clone(plain.Parameters)
	for _, name := range code {
		delete(rest, name)
	}
	if got, want := slices.Sorted(maps.Keys(assets.Parameters)),
		slices.Sorted(maps.Keys(rest)); !slices.Equal(got, want) {
		t.Errorf("the stack with assets has the parameters\n%q, want\n%q", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(assets.Resources)),
		slices.Sorted(maps.Keys(plain.Resources)); !slices.Equal(got, want) {
		t.Errorf("the stack with assets has the resources\n%q, want\n%q", got, want)
	}

	files := map[string]string{"FilterFunction": "filter", "GeneratorFunction": "indexgen",
		"RepositoryNameFunction": "reponame"}
	keys := map[string]bool{}
	for id, file := range files {
		p, a := plain.Resources[id], assets.Resources[id]
		for path, want := range map[string]string{
			"Code":          "{S3Bucket: ${CodeS3Bucket}, S3Key: ${CodeS3KeyPrefix}" + file + ".zip}",
			"Architectures": "[arm64]",
		} {
			if got := p.at(path); got != want {
				t.Errorf("plain template: %s of %s is %s, want %s", path, id, got, want)
			}
		}
		if got := a.at("Architectures"); got != "[x86_64]" {
			t.Errorf("the architecture of %s is %s, want that of AMD64", id, got)
		}
		if got := a.at("Code.S3Bucket"); !strings.HasPrefix(got, "cdk-") {
			t.Errorf("the code of %s is in %s, want CDK's bucket", id, got)
		}
		keys[a.at("Code.S3Key")] = true
	}
	if len(keys) != len(files) {
		t.Errorf("the functions have the code %q", slices.Sorted(maps.Keys(keys)))
	}

	// The custom resource is asked again when its code is another one.
	if got := plain.Resources["Repositories"].at("Code"); got != "${CodeS3KeyPrefix}" {
		t.Errorf("plain template: the custom resource changes with %s", got)
	}
	if got, key := assets.Resources["Repositories"].at("Code"),
		assets.Resources["RepositoryNameFunction"].at("Code.S3Key"); got == "" || got+".zip" != key {
		t.Errorf("the custom resource changes with %s, its code has the key %s", got, key)
	}

	// Nothing else differs.
	for id := range plain.Resources {
		p, a := without(t, plain.Resources[id]), without(t, assets.Resources[id])
		if !bytes.Equal(p, a) {
			t.Errorf("%s is\n%s\nin the plain template, and with assets\n%s", id, p, a)
		}
	}
}

// The functions as images differ from those as zip files in what makes them, and
// in the logical id of the custom resource: CloudFormation refuses another
// service token for one that is there.
func TestImages(t *testing.T) {
	plain, images := synth(t), synthImages(t)
	ids := map[string]string{"Repositories": "ImageRepositories"}
	if _, ok := images.Resources["Repositories"]; ok {
		t.Error("the custom resource has the logical id that it has with zip files")
	}
	if len(images.Resources) != len(plain.Resources) {
		t.Errorf("%d resources, want %d", len(images.Resources), len(plain.Resources))
	}
	uris := map[string]string{
		"FilterFunction": deployed.ParamFilterImage, "GeneratorFunction": deployed.ParamGeneratorImage,
		"RepositoryNameFunction": deployed.ParamRepositoryNameImage,
	}
	for id, parameter := range uris {
		if parameter != id+"ImageUri" {
			t.Errorf("the image of %s is %s", id, parameter)
		}
		for path, want := range map[string]string{
			"Code": "{ImageUri: ${" + parameter + "}}", "PackageType": "Image", "Runtime": "", "Handler": "",
			"Architectures": "[arm64]",
		} {
			if got := images.Resources[id].at(path); got != want {
				t.Errorf("%s of %s is %s, want %s", path, id, got, want)
			}
		}
	}
	// The custom resource is asked again when its code is another one. It tells in
	// which repositories the images are: these are never indexed.
	if got := images.Resources["ImageRepositories"].at("Code"); got !=
		"${FilterFunctionImageUri},${GeneratorFunctionImageUri},${RepositoryNameFunctionImageUri}" {
		t.Errorf("the custom resource changes with %s", got)
	}
	for id, r := range plain.Resources {
		other := clone(t, images.Resources[cmp.Or(ids[id], id)])
		switch id {
		case "FilterFunction":
			variables := other.Properties["Environment"].(map[string]any)["Variables"].(map[string]any)
			if got := textOf(variables["SOCI_OWN_REPOSITORIES"]); got != "${ImageRepositories.OwnNames}" {
				t.Errorf("the filter has the own repositories %s", got)
			}
			delete(variables, "SOCI_OWN_REPOSITORIES")
		case "GeneratorRepositoryPolicy", "StepsRepositoryPolicy":
			document := other.Properties["PolicyDocument"].(map[string]any)
			statements := document["Statement"].([]any)
			if want := "{Action: [ecr:InitiateLayerUpload, ecr:PutImage], Effect: Deny, " +
				"Resource: ${ImageRepositories.OwnArns}, Sid: OwnRepositories}"; len(statements) != 2 ||
				textOf(statements[1]) != want {
				t.Errorf("%s has the statements %s", id, textOf(statements))
			}
			document["Statement"] = statements[:1]
		}
		p, i := without(t, r), without(t, other)
		p = bytes.ReplaceAll(p, []byte("${Repositories."), []byte("${ImageRepositories."))
		p = bytes.ReplaceAll(p, []byte(`"Repositories","RepositoryArns"`),
			[]byte(`"ImageRepositories","RepositoryArns"`))
		if !bytes.Equal(p, i) {
			t.Errorf("%s is\n%s\nwith zip files, and with images\n%s", id, p, i)
		}
	}
	one, other := textOf(plain.Conditions), textOf(images.Conditions)
	if one != other {
		t.Errorf("the conditions are %s, with images %s", one, other)
	}
	for name, output := range plain.Outputs {
		if got, want := textOf(images.Outputs[name].Value), textOf(output.Value); got != want {
			t.Errorf("output %s is %s, want %s", name, got, want)
		}
	}
}

// clone copies a resource, so that a test can change it.
func clone(t *testing.T, r resource) (out resource) {
	t.Helper()
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The function behind the custom resource may be gone, broken or asleep when the
// resource is removed: it is not asked.
func TestNothingIsAskedToDelete(t *testing.T) {
	for id, tmpl := range map[string]*template{"Repositories": synth(t), "ImageRepositories": synthImages(t)} {
		if r := tmpl.Resources[id]; r.DeletionPolicy != "Retain" || r.UpdateReplacePolicy != "Retain" {
			t.Errorf("%s has the policies %q and %q, want Retain", id, r.DeletionPolicy, r.UpdateReplacePolicy)
		}
	}
}

// without returns a resource but for what TestVariants looks at.
func without(t *testing.T, r resource) []byte {
	t.Helper()
	r.Properties = maps.Clone(r.Properties)
	for _, name := range []string{"Code", "Architectures", "PackageType", "Runtime", "Handler"} {
		delete(r.Properties, name)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The plain template has nothing of CDK's own in it.
func TestPlainTemplate(t *testing.T) {
	tmpl := synth(t)
	for _, text := range []string{"aws:cdk", "AWS::CDK", "Bootstrap", "cdk-", "Transform"} {
		if bytes.Contains(tmpl.text, []byte(text)) {
			t.Errorf("the template has %q in it", text)
		}
	}
	if got, want := textOf(tmpl.Metadata), "{"+deployed.Metadata+": {Version: "+version.Version+"}}"; got != want {
		t.Errorf("the template has the metadata %s, want %s", got, want)
	}
	if got := slices.Sorted(maps.Keys(tmpl.Rules)); !slices.Equal(got, []string{"Network"}) {
		t.Errorf("the template has the rules %q", got)
	}
}

// Subnets and security groups are given both or not at all. The rule has only
// functions that rules know.
func TestNetworkRule(t *testing.T) {
	for _, tmpl := range []*template{synth(t), synthImages(t)} {
		const want = "or([equals([${SubnetIds}, ${SecurityGroupIds}]), " +
			"not([or([equals([${SubnetIds}, \"\"]), equals([${SecurityGroupIds}, \"\"])])])])"
		rule, _ := tmpl.Rules["Network"].(map[string]any)
		assertions, _ := rule["Assertions"].([]any)
		if len(rule) != 1 || len(assertions) != 1 {
			t.Fatalf("the rule is %s", textOf(rule))
		}
		assertion, _ := assertions[0].(map[string]any)
		if got := textOf(assertion["Assert"]); got != want {
			t.Errorf("asserted is\n%s, want\n%s", got, want)
		}
		for _, name := range []string{deployed.ParamSubnets, deployed.ParamSecurityGroups} {
			if !strings.Contains(textOf(assertion["AssertDescription"]), name) {
				t.Errorf("the message %s does not name %s", textOf(assertion["AssertDescription"]), name)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	built := t.TempDir()
	for _, f := range []string{"filter", "indexgen", "reponame"} {
		path := Props{CodeFolder: built}.complete().zip(f)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		props Props
		want  error
		text  string
	}{
		{"plain", Props{}, nil, ""},
		{"all", Props{StackName: "A-1", Architecture: ARM64, CodeFolder: built}, nil, ""},
		{"other architecture is not built", Props{Architecture: AMD64, CodeFolder: built}, ErrNotBuilt,
			"amd64/filter.zip"},
		{"images and a folder", Props{Images: true, CodeFolder: built}, ErrTwoPackages, ""},
		{"architecture", Props{Architecture: "x86_64"}, ErrArchitecture, `"x86_64"`},
		{"name with _", Props{StackName: "a_b"}, ErrStackName, `"a_b"`},
		{"name with a digit first", Props{StackName: "1a"}, ErrStackName, `"1a"`},
		{"longest name", Props{StackName: strings.Repeat("a", 128)}, nil, ""},
		{"name too long", Props{StackName: strings.Repeat("a", 129)}, ErrStackName, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.props.Check()
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v does not name %s", err, tt.text)
			}
		})
	}
}

func TestAudible(t *testing.T) {
	for line, want := range map[string]string{
		"!!  Node 20 is end-of-life  !!\n":                                             "",
		"ERROR something\n":                                                            "ERROR something\n",
		"Runtime process exited abnormally: waitid: no child processes":                "",
		"Runtime process exited abnormally: waitid: no child processesinfra: failed\n": "infra: failed\n",
		"Runtime process exited abnormally: signal: killed": "Runtime process exited " +
			"abnormally: signal: killed",
	} {
		if got := audible(line); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
}

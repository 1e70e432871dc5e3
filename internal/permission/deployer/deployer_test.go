package deployer

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/testkit/expect"
)

const docs = "../../../docs"

// resource is one of the template.
type resource struct {
	Type       string
	Properties map[string]any
}

func template(t *testing.T) map[string]resource {
	t.Helper()
	content, err := os.ReadFile("../../../templates/soci-index-builder.template.json")
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct{ Resources map[string]resource }
	if err := json.Unmarshal(content, &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Resources) == 0 {
		t.Fatal("the template has no resources")
	}
	return parsed.Resources
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTypesAreThoseOfTheTemplates(t *testing.T) {
	content, err := companion.Template("s", "F")
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct{ Resources map[string]resource }
	if err := json.Unmarshal(content, &parsed); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct {
		types     []Type
		resources map[string]resource
	}{"the template": {Types, template(t)}, "the companion's template": {CompanionTypes, parsed.Resources}} {
		has := map[string]bool{}
		for _, r := range of.resources {
			has[r.Type] = true
		}
		var known []string
		for _, typ := range of.types {
			known = append(known, typ.Name)
		}
		for _, typ := range slices.Sorted(maps.Keys(has)) {
			if !slices.Contains(known, typ) {
				t.Errorf("%s has a %s, and the policy has nothing for it", name, typ)
			}
		}
		for _, typ := range known {
			if !has[typ] {
				t.Errorf("the policy has permissions for %s, and %s has none", typ, name)
			}
		}
		if !slices.IsSorted(known) {
			t.Errorf("the types are not in order: %q", known)
		}
	}
}

// beyond are the actions of another service than the type's own.
var beyond = map[string][]string{
	"AWS::Lambda::Function": {"iam:PassRole", "s3:GetObject", "ec2:DescribeNetworkInterfaces",
		"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"},
	"AWS::StepFunctions::StateMachine": {"iam:PassRole", "states:CreateStateMachine", "states:DeleteStateMachine",
		"states:DescribeStateMachine", "states:ListTagsForResource", "states:TagResource", "states:UntagResource",
		"states:UpdateStateMachine"},
	"Custom::SociRepositoryArns": {"lambda:InvokeFunction"},
}

var actionName = regexp.MustCompile(`^[a-z0-9]+:[A-Z][A-Za-z]+$`)

func TestActionsAreOfTheTypesService(t *testing.T) {
	for _, typ := range slices.Concat(Types, CompanionTypes) {
		own := strings.ToLower(strings.Split(typ.Name, "::")[1])
		if len(typ.Create) == 0 {
			t.Errorf("%s needs nothing to be created", typ.Name)
		}
		for _, u := range slices.Concat(typ.Create, typ.Update, typ.Delete) {
			for _, a := range u.Actions {
				if !actionName.MatchString(a) {
					t.Errorf("%s: %q is not an action", typ.Name, a)
				}
				if service(a) != own && !slices.Contains(beyond[typ.Name], a) {
					t.Errorf("%s needs %s, of another service", typ.Name, a)
				}
			}
		}
	}
}

// unset are the properties for which the types would need more permissions than
// they have here.
var unset = map[string][]string{
	"AWS::Events::Rule": {"EventBusName", "RoleArn"},
	"AWS::IAM::Role":    {"ManagedPolicyArns", "Path", "RoleName"},
	"AWS::Lambda::Function": {"CodeSigningConfigArn", "FileSystemConfigs", "KmsKeyArn", "Layers", "RecursiveLoop",
		"RuntimeManagementConfig", "FunctionName"},
	"AWS::Logs::LogGroup": {"DataProtectionPolicy", "FieldIndexPolicies", "KmsKeyId", "ResourcePolicyDocument",
		"DeletionProtectionEnabled", "LogGroupClass"},
	"AWS::SQS::Queue": {"KmsMasterKeyId", "QueueName"},
	"AWS::StepFunctions::StateMachine": {"DefinitionS3Location", "EncryptionConfiguration", "LoggingConfiguration",
		"StateMachineName", "TracingConfiguration"},
}

func TestTemplateSetsNothingThatNeedsMore(t *testing.T) {
	for id, r := range template(t) {
		for _, property := range unset[r.Type] {
			if _, ok := r.Properties[property]; ok {
				t.Errorf("%s, a %s, has %s: does its deployment need more rights?", id, r.Type, property)
			}
		}
	}
}

// withoutResource are the actions on * of which IAM's reference says that they
// know no resource.
var withoutResource = []string{
	"cloudwatch:GetMetricData",
	"ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables",
	"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs",
	"ecr:DeregisterPullTimeUpdateExclusion", "ecr:GetAccountSetting", "ecr:GetAuthorizationToken",
	"ecr:GetSigningConfiguration",
	"ecr:ListPullTimeUpdateExclusions", "ecr:RegisterPullTimeUpdateExclusion",
	"logs:DeleteQueryDefinition", "logs:DescribeIndexPolicies", "logs:DescribeLogGroups",
	"logs:DescribeQueryDefinitions",
	"logs:DescribeResourcePolicies", "logs:PutQueryDefinition",
	"s3:ListAllMyBuckets",
}

// names are the placeholders that make an ARN the stack's alone.
var stackNames = []string{"${Stack}", "${CodeBucket}", "${ManagedBucket}", "${Companion}", "${Repositories}",
	"${OwnRepositories}", "${ServiceRole}"}

// wide are the statements on what others have too, with all that they may allow.
var wide = map[string][]string{
	"AlarmsToRead": {"cloudwatch:DescribeAlarms"},
	"OtherStacks":  {"cloudformation:DescribeStacks"},
	"Repositories": {"ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy",
		"ecr:GetRepositoryPolicy"},
}

func TestPolicies(t *testing.T) {
	used := map[string]bool{}
	for _, part := range Parts() {
		p := Policy(part)
		if len(p.Statement) == 0 {
			t.Errorf("%s allows nothing", part.File)
		}
		for _, s := range p.Statement {
			used[s.Sid] = true
			checkStatement(t, part.File+" "+s.Sid, s)
		}
	}
	if len(used) != len(scopes) {
		t.Errorf("the policies have the statements %q, and there are %d scopes", slices.Sorted(maps.Keys(used)),
			len(scopes))
	}
	for name, d := range Documents() {
		content, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(regexp.MustCompile(`\s`).ReplaceAll(content, nil)); n > MaxPolicySize*9/10 {
			t.Errorf("%s has %d characters before its placeholders are filled in, of %d", name, n, MaxPolicySize)
		}
	}
}

func checkStatement(t *testing.T, name string, s Statement) {
	t.Helper()
	for _, arn := range s.Resource {
		if arn == "*" {
			for _, a := range s.Action {
				if !slices.Contains(withoutResource, a) {
					t.Errorf("%s allows %s on everything", name, a)
				}
			}
			continue
		}
		if got := strings.Split(arn, ":")[2]; slices.ContainsFunc(s.Action,
			func(a string) bool { return service(a) != got }) {
			t.Errorf("%s allows %q on %s", name, s.Action, arn)
		}
		own := slices.ContainsFunc(stackNames, func(n string) bool { return strings.Contains(arn, n) })
		// CloudFormation begins the name of a state machine with its logical id.
		own = own || arn == machines
		if !own && !slices.Equal(s.Action, wide[s.Sid]) {
			t.Errorf("%s allows %q on %s, which is not the stack's alone", name, s.Action, arn)
		}
	}
	for _, a := range s.Action {
		if slices.Contains([]string{"iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy",
			"iam:PutRolePermissionsBoundary"}, a) &&
			s.Condition["StringEquals"]["iam:PermissionsBoundary"] == "" {
			t.Errorf("%s allows %s without the boundary", name, a)
		}
		if to := s.Condition["StringEquals"]["iam:PassedToService"]; a == "iam:PassRole" &&
			to != "lambda.amazonaws.com" && to != "states.amazonaws.com" &&
			to != "cloudformation.amazonaws.com" {
			t.Errorf("%s allows to pass roles to %v", name, s.Condition)
		}
		if strings.Contains(a, "*") || a == "iam:DeleteRolePermissionsBoundary" ||
			strings.HasSuffix(a, "AttachRolePolicy") {
			t.Errorf("%s allows %s", name, a)
		}
	}
}

// The policies allow every call that CloudFormation makes for the resources and
// their code.
func TestPoliciesAllowWhatTypesNeed(t *testing.T) {
	allowed := map[string]bool{}
	for _, part := range Parts() {
		for _, s := range Policy(part).Statement {
			for _, a := range s.Action {
				allowed[s.Sid+" "+a] = true
			}
		}
	}
	for _, typ := range slices.Concat(Types, CompanionTypes) {
		for _, u := range slices.Concat(typ.Create, typ.Update, typ.Delete) {
			for _, a := range u.Actions {
				if !allowed[Sid(u.Scope)+" "+a] {
					t.Errorf("%s needs %s on %s, which no policy allows", typ.Name, a, u.Scope)
				}
			}
		}
	}
	for _, c := range Calls {
		expect.Equal(t, expect.Facts{
			{"slices.IsSorted(c.Actions)", slices.IsSorted(c.Actions), true},
			{`c.Flow == ""`, c.Flow == "", false},
			{`c.Why == ""`, c.Why == "", false},
			{`c.Part.File == ""`, c.Part.File == "", false},
		}, "%+v", c)
	}
	for action, why := range Optional {
		if !actionName.MatchString(action) || why == "" {
			t.Errorf("%s: %q", action, why)
		}
	}
}

// Each mode has what it needs, and nothing for another's code.
func TestNeeded(t *testing.T) {
	for _, tt := range []struct {
		mode embedded.Package
		own  bool
		sid  string
	}{
		{embedded.Zip, false, "ManagedCode"}, {embedded.Zip, true, "Code"},
		{embedded.Image, false, "ManagedRepositories"}, {embedded.Image, true, "OwnRepositories"},
	} {
		var places []string
		p := Policy(Needed(tt.mode, tt.own)...)
		for _, s := range p.Statement {
			if slices.Contains([]string{"ManagedCode", "Code", "ManagedRepositories", "OwnRepositories"}, s.Sid) {
				places = append(places, s.Sid)
			}
		}
		if !slices.Equal(places, []string{tt.sid}) || p.Statement[0].Sid != "Stack" {
			t.Errorf("%s, own %v: %q", tt.mode, tt.own, places)
		}
	}
	if got, want := Policy(), Policy(Base, Commands); !reflect.DeepEqual(got, want) {
		t.Errorf("without a part: %v", got)
	}
}

func TestNames(t *testing.T) {
	names := Names("aws-cn", "123456789012", "cn-north-1", "Hello-World-Stack")
	managed := codebucket.NewManaged(aws.Config{Region: "cn-north-1"},
		codebucket.ManagedOptions{Account: "123456789012"})
	for name, want := range map[string]string{
		"Companion": "Hello-World-Stack-925976eb-CompanionStack", "Repositories": "helloworldstack925976eb",
		"ManagedBucket": managed.RegionalName(), "CodePrefix": codebucket.OwnPrefix, "Partition": "aws-cn",
	} {
		if names[name] != want {
			t.Errorf("%s is %q, want %q", name, names[name], want)
		}
	}
}

func TestFilesAreCurrent(t *testing.T) {
	for name, d := range Documents() {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, name), want) {
			t.Errorf("docs/%s is out of date: make generate", name)
		}
	}
	page := string(read(t, "permissions.md"))
	for name, table := range Tables() {
		if !strings.Contains(page, "from internal/permission/deployer -->\n\n"+table+"\n<!-- end of "+name+" -->\n") {
			t.Errorf("the table %s of docs/permissions.md is out of date: make generate", name)
		}
	}
}

// grant is one action that a role of the template has.
type grant struct{ role, action, on string }

// targetOf is what package permission says that a role may use an action on;
// that it is so in the template is up to the tests of package stack.
func targetOf(t *testing.T, role, action string) permission.Target {
	t.Helper()
	needs := permission.Machine
	for _, f := range functions {
		if f.role == role {
			needs = permission.Functions[f.name]
		}
	}
	for _, n := range needs {
		if n.Action == action {
			return n.On
		}
	}
	t.Fatalf("%s may %s, and package permission does not say so", role, action)
	return ""
}

// grants reads the roles of the template.
func grants(t *testing.T) []grant {
	t.Helper()
	var all []grant
	add := func(role string, document any) {
		for _, s := range document.(map[string]any)["Statement"].([]any) {
			statement := s.(map[string]any)
			if condition, ok := statement["Fn::If"]; ok {
				statement = condition.([]any)[1].(map[string]any)
			}
			actions, several := statement["Action"].([]any)
			if !several {
				actions = []any{statement["Action"]}
			}
			for _, a := range actions {
				all = append(all, grant{role, a.(string), targetOf(t, role, a.(string)).Statement()})
			}
		}
	}
	for id, r := range template(t) {
		switch r.Type {
		case "AWS::IAM::Role":
			for _, p := range r.Properties["Policies"].([]any) {
				add(id, p.(map[string]any)["PolicyDocument"])
			}
		case "AWS::IAM::RolePolicy":
			add(r.Properties["RoleName"].(map[string]any)["Ref"].(string), r.Properties["PolicyDocument"])
		}
	}
	return all
}

var roleRow = regexp.MustCompile("(?m)^\\| [a-z]+ \\(`([A-Za-z]+)`\\) \\| `([a-z0-9]+:[A-Za-z]+)` \\| (.+?) \\|")

func TestRolesAreThoseOfTheTemplate(t *testing.T) {
	byText := map[string]string{}
	for target, text := range shown {
		byText[text] = target.Statement()
	}
	var documented []grant
	for _, m := range roleRow.FindAllStringSubmatch(string(read(t, "permissions.md")), -1) {
		documented = append(documented, grant{m[1], m[2], byText[m[3]]})
	}
	granted := grants(t)
	if len(granted) == 0 || len(documented) == 0 {
		t.Fatalf("%d rights in the template, %d in docs/permissions.md", len(granted), len(documented))
	}
	for _, g := range granted {
		if !slices.Contains(documented, g) {
			t.Errorf("%s may %s (%s), and docs/permissions.md does not say so", g.role, g.action, g.on)
		}
	}
	for _, g := range documented {
		if !slices.Contains(granted, g) {
			t.Errorf("docs/permissions.md says that %s may %s (%s), and the template does not grant it", g.role,
				g.action, g.on)
		}
	}
}

func TestBoundaryLeavesWhatTheRolesHave(t *testing.T) {
	within := map[string]bool{}
	for _, s := range Boundary().Statement {
		for _, a := range s.Action {
			within[s.Sid+" "+a] = true
		}
	}
	had := map[string]bool{}
	for _, g := range grants(t) {
		had[g.on+" "+g.action] = true
	}
	if !maps.Equal(within, had) {
		t.Errorf("the boundary allows %q, the roles have %q", slices.Sorted(maps.Keys(within)),
			slices.Sorted(maps.Keys(had)))
	}
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// filledIn is what the policies have for the values of docs/permissions.md.
var filledIn = map[string][]string{
	"boundary-policy.json":                  {"arn:aws:sqs:eu-west-1:123456789012:soci-index-builder-*"},
	"deployer-policy.json":                  {"arn:aws:sqs:eu-west-1:123456789012:soci-index-builder-*"},
	"deployer-policy-zip.json":              {"arn:aws:s3:::soci-index-builder-123456789012-eu-west-1-an/code/*"},
	"deployer-policy-own-bucket.json":       {"arn:aws:s3:::my-code-bucket/soci-index-builder/*"},
	"deployer-policy-role-arn.json":         {"arn:aws:iam::123456789012:role/"},
	"deployer-policy-own-repositories.json": {"arn:aws:ecr:eu-west-1:123456789012:repository/soci/*"},
	"deployer-policy-image.json": {
		"arn:aws:cloudformation:eu-west-1:123456789012:stack/" + companion.StackName("soci-index-builder") + "/*",
		"arn:aws:ecr:eu-west-1:123456789012:repository/" +
			strings.Split(companion.RepositoryName("soci-index-builder", "F"), "/")[0] + "/*",
	},
}

// The commands that fill in the placeholders work as they stand.
func TestPlaceholdersAreFilledIn(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "docs"), os.DirFS(docs)); err != nil {
		t.Fatal(err)
	}
	block := shellBlock.FindSubmatch(read(t, "permissions.md"))
	if block == nil {
		t.Fatal("docs/permissions.md has no commands")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", string(block[1]))
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range slices.Sorted(maps.Keys(Documents())) {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		var d Document
		if err := json.Unmarshal(content, &d); err != nil || bytes.Contains(content, []byte("$")) {
			t.Errorf("%s: %v: %s", name, err, content)
		}
		if n := len(regexp.MustCompile(`\s`).ReplaceAll(content, nil)); n > MaxPolicySize {
			t.Errorf("%s has %d characters, more than %d", name, n, MaxPolicySize)
		}
		for _, want := range filledIn[name] {
			if !bytes.Contains(content, []byte(want)) {
				t.Errorf("%s does not have %s", name, want)
			}
		}
	}
}

package docs

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"soci-index-builder/internal/testkit/shellwords"
)

// awsServices are the services of the AWS command line whose operations are known
// here, as the SDK's client has them.
var awsServices = map[string]reflect.Type{
	"cloudformation": reflect.TypeFor[*cloudformation.Client](),
	"cloudwatch":     reflect.TypeFor[*cloudwatch.Client](),
	"ecr":            reflect.TypeFor[*ecr.Client](),
	"events":         reflect.TypeFor[*eventbridge.Client](),
	"iam":            reflect.TypeFor[*iam.Client](),
	"lambda":         reflect.TypeFor[*lambda.Client](),
	"logs":           reflect.TypeFor[*cloudwatchlogs.Client](),
	"sqs":            reflect.TypeFor[*sqs.Client](),
	"stepfunctions":  reflect.TypeFor[*sfn.Client](),
	"sts":            reflect.TypeFor[*sts.Client](),
}

// awsCustom are commands that are no operations, or of services that the module
// does not use, with the flags that the AWS command line documents for them and the
// pages have.
var awsCustom = map[string][]string{
	"cloudformation deploy": {"--template-file", "--stack-name", "--parameter-overrides", "--capabilities",
		"--s3-bucket", "--s3-prefix", "--role-arn", "--tags"},
	"ecr get-login-password":        {},
	"ecs execute-command":           {"--cluster", "--task", "--container", "--interactive", "--command"},
	"ecs register-task-definition":  {},
	"s3 cp":                         {"--recursive"},
	"s3 mb":                         {},
	"s3 rm":                         {"--recursive"},
	"signer add-profile-permission": {},
}

// awsGlobal are the flags of every command.
var awsGlobal = []string{"--region", "--profile", "--output", "--query", "--no-cli-pager", "--no-paginate",
	"--max-items"}

var (
	firstCap = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	endCap   = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	manyCaps = regexp.MustCompile(`[A-Z]{2,}s$`)
)

// kebab is a name of an API as the AWS command line spells it: "NotificationARNs" is
// notification-arns.
func kebab(name string) string {
	if m := manyCaps.FindString(name); m != "" {
		name = strings.TrimSuffix(name, m) + "-" + strings.ToLower(m)
	}
	name = firstCap.ReplaceAllString(name, "$1-$2")
	name = endCap.ReplaceAllString(name, "$1-$2")
	return strings.ReplaceAll(strings.ToLower(name), "--", "-")
}

// input is the SDK's input of an operation, nil if the service has none of the name.
func input(client reflect.Type, command string) reflect.Type {
	for m := range client.Methods() {
		if kebab(m.Name) == command && m.Type.NumIn() == 4 {
			return m.Type.In(2).Elem()
		}
	}
	return nil
}

// awsFaults returns what is wrong with a command, without "aws" in front.
func awsFaults(words []string) []string {
	if len(words) < 2 {
		return nil // prose
	}
	service, command := words[0], words[1]
	known, custom := awsCustom[service+" "+command]
	client := awsServices[service]
	if client == nil && !custom {
		return []string{fmt.Sprintf("the service or command %s %s is not known", service, command)}
	}
	var of reflect.Type
	if !custom {
		if of = input(client, command); of == nil {
			return []string{fmt.Sprintf("%s has no command %s", service, command)}
		}
	}
	var faults []string
	for i := 2; i < len(words); i++ {
		flag, value, given := strings.Cut(words[i], "=")
		if !strings.HasPrefix(flag, "--") {
			continue
		}
		var values []string
		if given {
			values = []string{value}
		}
		for _, w := range words[i+1:] {
			if strings.HasPrefix(w, "--") {
				break
			}
			values = append(values, w)
		}
		switch {
		case slices.Contains(awsGlobal, flag) || slices.Contains(known, flag):
		case custom:
			faults = append(faults, fmt.Sprintf("%s %s has no flag %s", service, command, flag))
		default:
			faults = append(faults, flagFaults(of, service+" "+command, flag, values)...)
		}
	}
	for _, flag := range required[service+" "+command] {
		if len(words) > 2 && !slices.Contains(words, flag) { // one that is only named has none
			faults = append(faults, fmt.Sprintf("%s %s needs %s", service, command, flag))
		}
	}
	return faults
}

// required are the flags without which a command is refused: the SDK's types do not
// say so.
var required = map[string][]string{
	"cloudformation create-stack-set":       {"--stack-set-name", "--template-body"},
	"cloudformation create-stack-instances": {"--stack-set-name", "--regions", "--deployment-targets"},
	"ecr create-repository":                 {"--repository-name"},
	"ecr put-image-tag-mutability":          {"--repository-name", "--image-tag-mutability"},
	"ecr put-lifecycle-policy":              {"--repository-name", "--lifecycle-policy-text"},
	"ecr describe-images":                   {"--repository-name"},
	"iam create-policy":                     {"--policy-name", "--policy-document"},
}

// flagFaults returns what is wrong with a flag and its values.
func flagFaults(of reflect.Type, command, flag string, values []string) []string {
	for f := range of.Fields() {
		name := kebab(f.Name)
		if name == "" || !f.IsExported() || flag != "--"+name && flag != "--no-"+name {
			continue
		}
		var faults []string
		for _, v := range values {
			faults = append(faults, valueFaults(f.Type, command+" "+flag, v)...)
		}
		return faults
	}
	return []string{fmt.Sprintf("%s has no flag %s", command, flag)}
}

// valueFaults returns what is wrong with a value of a field: a word that is not one of
// an enumeration's, a key that a structure does not have, a text for a number.
func valueFaults(of reflect.Type, flag, value string) []string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if strings.HasPrefix(value, "file://") || strings.ContainsAny(value, "$<{[") || value == "..." {
		return nil // is known when it runs
	}
	if m, ok := of.MethodByName("Values"); ok {
		var all []string
		for _, v := range m.Func.Call([]reflect.Value{reflect.Zero(of)})[0].Seq2() {
			all = append(all, v.String())
		}
		for _, v := range strings.Split(value, ",") {
			if !slices.Contains(all, v) {
				return []string{fmt.Sprintf("%s cannot be %s, but %q", flag, v, all)}
			}
		}
		return nil
	}
	if of.Kind() != reflect.Struct || of.PkgPath() == "time" {
		return nil
	}
	var faults []string
	for _, part := range strings.Split(value, ",") {
		key, _, ok := strings.Cut(part, "=")
		if !ok {
			continue // more of a list
		}
		if _, there := of.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, key) }); !there {
			faults = append(faults, fmt.Sprintf("%s has no key %s", flag, key))
		}
	}
	return faults
}

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	awsCall   = regexp.MustCompile("(?m)(?:^|[\\s(`\"'$])aws ([a-z0-9-]+ [^\n]*)")
	awsWord   = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

// awsCommands returns the words of each call of the AWS command line in a text of
// code, without "aws".
func awsCommands(text string) [][]string {
	var all [][]string
	for _, m := range awsCall.FindAllStringSubmatch(continued.ReplaceAllString(text, " "), -1) {
		if words := shellwords.Split(m[1]); len(words) > 1 && awsWord.MatchString(words[1]) {
			all = append(all, words)
		}
	}
	return all
}

// Every call of the AWS command line that a page has is of a command with such
// flags, keys and words.
func TestAWSCommands(t *testing.T) {
	found, unused := 0, maps.Clone(awsCustom)
	for _, page := range pages(t) {
		content := read(t, page)
		texts := strings.Join(fence.FindAllString(content, -1), "\n")
		for _, m := range code.FindAllStringSubmatch(fence.ReplaceAllString(content, ""), -1) {
			texts += "\n" + m[1]
		}
		for _, words := range awsCommands(texts) {
			found++
			delete(unused, words[0]+" "+words[1])
			for _, fault := range awsFaults(words) {
				t.Errorf("%s: aws %s: %s", page, strings.Join(words, " "), fault)
			}
		}
	}
	for command := range unused {
		t.Errorf("no page has aws %s", command)
	}
	if found < 30 {
		t.Errorf("only %d commands were found", found)
	}
}

// What is wrong is seen.
func TestAWSFaults(t *testing.T) {
	for text, want := range map[string]string{
		"aws cloudformation create-stacks":                                                "no command create-stacks",
		"aws cloudfront create-distribution":                                              "is not known",
		"aws iam create-policy --name a --policy-name a --policy-document b":              "no flag --name",
		"aws iam create-policy --policy-name a":                                           "needs --policy-document",
		"aws s3 cp --recursively a b":                                                     "no flag --recursively",
		"aws ecr describe-images --repository-name a --image-ids tag=1":                   "no key tag",
		"aws ecr put-image-tag-mutability --repository-name a --image-tag-mutability NO":  "cannot be NO",
		"aws cloudformation delete-stack \\\n  --stack a":                                 "no flag --stack",
		"x=$(aws cloudformation delete-stack --stack-name a --deletion-mode FORCE) --bad": "cannot be FORCE",
		"aws cloudformation create-stack --stack-name a --notification-arns b --role-arn c --template-url d " +
			"--capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM --tags Key=a,Value=b --no-disable-rollback": "",
		"until aws ecr describe-images --repository-name a --image-ids imageTag=1 >/dev/null 2>&1; do --bad": "",
		"aws events disable-rule --name <its name> # --bad":                                                  "",
	} {
		commands := awsCommands(text)
		if len(commands) != 1 {
			t.Errorf("%s: %q", text, commands)
			continue
		}
		faults := awsFaults(commands[0])
		if (want == "") != (len(faults) == 0) || len(faults) > 1 || want != "" && !strings.Contains(faults[0], want) {
			t.Errorf("%s: %q, want %q", text, faults, want)
		}
	}
}

package awstest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/names"
)

// Physical is what AWS calls a resource of the stack.
func (s *Stack) Physical(kind, id string) string { return s.physical(kind, id, 0) }

func (s *Stack) physical(kind, id string, renewed int) string {
	suffix := "-1A2B3C4D5E6F"
	if n := s.renewed[id] + renewed; n > 0 {
		suffix = fmt.Sprintf("-1A2B3C4D%04d", n)
	}
	name := s.Name + "-" + id + suffix
	switch kind {
	case "AWS::SQS::Queue":
		return "https://sqs." + Region + ".amazonaws.com/" + Account + "/" + name
	case "AWS::Logs::LogGroup":
		// The name is the template's: it is written out there.
		function := map[string]string{
			"GeneratorLogGroup": "SociIndexGeneratorLambda", "FilterLogGroup": "ECRImageActionEventFilteringLambda",
			"RepositoryNameLogGroup": "RepositoryNameParsingLambda", "StepsLogGroup": "SociIndexStepsLambda",
		}[id]
		return "/aws/lambda/" + s.Name + "-" + function
	case "AWS::StepFunctions::StateMachine": // of the logical id alone
		return "arn:aws:states:" + Region + ":" + Account + ":stateMachine:" + id + suffix
	}
	return name
}

// Attribute returns what Ref and GetAtt say of a resource, for filters that are
// those of parameters.
func (s *Stack) Attribute(parameters map[string]string, kind, id, attribute string) (any, bool) {
	return s.attribute(parameters, kind, id, attribute, 0)
}

func (s *Stack) attribute(parameters map[string]string, kind, id, attribute string, renewed int) (any, bool) {
	physical := s.physical(kind, id, renewed)
	where := ":" + Region + ":" + Account + ":"
	switch kind + " " + attribute {
	case "AWS::Lambda::Function Arn":
		return "arn:aws:lambda" + where + "function:" + physical, true
	case "AWS::SQS::Queue Arn":
		return "arn:aws:sqs" + where + physical[strings.LastIndexByte(physical, '/')+1:], true
	case "AWS::SQS::Queue QueueName":
		return physical[strings.LastIndexByte(physical, '/')+1:], true
	case "AWS::IAM::Role Arn":
		return "arn:aws:iam::" + Account + ":role/" + physical, true
	case "AWS::Events::Rule Arn":
		return "arn:aws:events" + where + "rule/" + physical, true
	case "AWS::Logs::LogGroup Arn":
		return "arn:aws:logs" + where + "log-group:" + physical + ":*", true
	case "AWS::StepFunctions::StateMachine Name":
		return physical[strings.LastIndexByte(physical, ':')+1:], true
	case "AWS::CloudWatch::Alarm Arn":
		return "arn:aws:cloudwatch" + where + "alarm:" + physical, true
	case "Custom::SociRepositoryArns RepositoryArns":
		// The function's answer for the filters of the tests.
		var arns []any
		for _, filter := range strings.Split(parameters["SociRepositoryImageTagFilters"], ",") {
			if repository, _, _ := strings.Cut(strings.TrimSpace(filter), ":"); !strings.HasPrefix(repository, "!") {
				arns = append(arns, "arn:aws:ecr"+where+"repository/"+repository)
			}
		}
		return arns, true
	case "Custom::SociRepositoryArns OwnArns", "Custom::SociRepositoryArns OwnNames":
		var all []string
		var arns []any
		for _, parameter := range []string{deployed.ParamFilterImage, deployed.ParamGeneratorImage,
			deployed.ParamRepositoryNameImage} {
			if image, err := names.ParseHosted(parameters[parameter]); err == nil {
				all = append(all, image.Repository)
				arns = append(arns, "arn:aws:ecr"+where+"repository/"+image.Repository)
			}
		}
		slices.Sort(all)
		if attribute == "OwnNames" {
			return strings.Join(all, ","), true
		}
		return arns, true
	case "Custom::SociRepositoryArns RepositoryArnsDigest":
		return "0123456789abcdef", true
	}
	if attribute == "" {
		return physical, true
	}
	return nil, false
}

// values are those by which a template of the stack is resolved.
func (s *Stack) values(t *cfntemplate.Template, parameters map[string]string,
	renewed map[string]int) cfntemplate.Values {
	return cfntemplate.Values{
		Parameters: parameters, StackName: s.Name, StackID: s.ID(), Region: Region, Account: Account, Partition: "aws",
		Attribute: func(id, attribute string) (any, bool) {
			if name := repositoryName(t.Resources[id]); name != "" {
				if attribute == "RepositoryUri" {
					return Account + ".dkr.ecr." + Region + ".amazonaws.com/" + name, true
				}
				return name, attribute == ""
			}
			return s.attribute(parameters, t.Resources[id].Type, id, attribute, renewed[id])
		},
	}
}

// resolve returns the resources that a template has; renewed adds to how often
// each was replaced.
func (s *Stack) resolve(t *cfntemplate.Template, parameters map[string]string,
	renewed map[string]int) (map[string]cfntemplate.Resource, error) {
	return t.Resolve(s.values(t, parameters, renewed))
}

// repositoryName is the name of a repository of ECR, which the template has;
// empty for other resources.
func repositoryName(r cfntemplate.Resource) string {
	name, _ := r.Properties["RepositoryName"].(string)
	return name
}

// take has the stack have what a template makes.
func (s *Stack) take(body string, parameters, tags map[string]string) error {
	t, err := cfntemplate.Parse([]byte(body))
	if err != nil {
		return err
	}
	resources, err := s.resolve(t, parameters, nil)
	if err != nil {
		return err
	}
	outputs, err := t.ResolveOutputs(s.values(t, parameters, nil))
	if err != nil {
		return err
	}
	s.Template, s.Parameters, s.Tags, s.Resources, s.half = body, parameters, tags, nil, nil
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		kind := resources[id].Type
		physical := cmp.Or(repositoryName(t.Resources[id]), s.Physical(kind, id))
		s.Resources = append(s.Resources, StackResource{LogicalID: id, PhysicalID: physical, Type: kind})
	}
	s.Outputs = map[string]string{}
	for name, value := range outputs {
		s.Outputs[name] = ScalarText(value)
	}
	return nil
}

// ScalarText writes a value as CloudFormation writes a text.
func ScalarText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		texts := make([]string, len(v))
		for i, one := range v {
			texts[i] = ScalarText(one)
		}
		return strings.Join(texts, ",")
	}
	return fmt.Sprint(v)
}

// Has reports whether a stack has a resource of AWS's name that is there.
func (c *CloudFormation) Has(kind, physical string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stacks {
		for _, r := range s.Resources {
			if r.Type == kind && r.PhysicalID == physical && r.Status != deleted {
				return true
			}
		}
	}
	return false
}

// Stack returns a copy of the stack of a name, as far as tests read it; nil
// when there is none.
func (c *CloudFormation) Stack(name string) *Stack {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stacks {
		if s.Name == name && s.Status != deleted {
			is := *s
			return &is
		}
	}
	return nil
}

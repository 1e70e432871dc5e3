package companion

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deploy/ours"
)

// Metadata is the key in the metadata of every companion's template; its value is an
// object with the Stack that the companion belongs to.
const Metadata = "SociIndexBuilderCompanion"

// repositoryType is that of all resources of a companion.
const repositoryType = "AWS::ECR::Repository"

// untaggedDays is how long images without a tag are kept. The program's all
// have one, and records of deployments too.
const untaggedDays = 7

// ErrNoFunction: a companion without repositories would be an empty stack,
// which CloudFormation does not have.
var ErrNoFunction = errors.New("no function needs a repository: delete the companion stack")

type object = map[string]any

// Template returns the template of a stack's companion, with a repository for
// each function, by logical id. The same input has the same bytes. The error is
// ErrNoFunction.
func Template(stack string, functions ...string) ([]byte, error) {
	if len(functions) == 0 {
		return nil, ErrNoFunction
	}
	resources, outputs := object{}, object{}
	for _, f := range functions {
		id := RepositoryLogicalID(f)
		resources[id] = object{
			"Type":     repositoryType,
			"Metadata": object{"Function": f},
			"Properties": object{
				"RepositoryName":             RepositoryName(stack, f),
				"ImageTagMutability":         "IMMUTABLE",
				"ImageScanningConfiguration": object{"ScanOnPush": true},
				"LifecyclePolicy":            object{"LifecyclePolicyText": lifecycle},
				"RepositoryPolicyText":       policy,
				"EmptyOnDelete":              true,
				"Tags":                       []object{{"Key": ours.TagKey, "Value": ours.TagValue}},
			},
		}
		outputs[OutputLogicalID(f)] = object{
			"Description": "Repository for the image of " + f,
			"Value":       object{"Fn::GetAtt": []string{id, "RepositoryUri"}},
		}
	}
	return json.Marshal(object{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Description":              "SOCI Index Builder: repositories for the functions' images of the stack " + stack,
		"Metadata":                 object{Metadata: object{"Stack": stack}},
		"Resources":                resources,
		"Outputs":                  outputs,
	})
}

// lifecycle knows nothing of tagged images: no rule can tell which of them a
// function or a record names.
var lifecycle = fmt.Sprintf(`{"rules":[{"rulePriority":1,"description":"images without a tag","selection":`+
	`{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":%d},`+
	`"action":{"type":"expire"}}]}`, untaggedDays)

// policy lets Lambda read images for functions of this account and region, so
// that the deployer needs no permission to write such a policy.
var policy = object{
	"Version": "2012-10-17",
	"Statement": []object{{
		"Sid":       "LambdaReadsImages",
		"Effect":    "Allow",
		"Principal": object{"Service": "lambda.amazonaws.com"},
		"Action":    []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
		"Condition": object{"StringLike": object{"aws:sourceARN": object{
			"Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*"}}},
	}},
}

// Repository is one of a companion's.
type Repository struct {
	Name     string // in ECR
	Function string // logical id of the function that it is for
}

// ErrTemplate: not the template of a companion.
var ErrTemplate = errors.New("not the template of a companion stack")

// Repositories reads a companion's template: the stack that it belongs to and
// the repositories that it makes, by name. The error matches ErrTemplate.
func Repositories(template []byte) (stack string, _ []Repository, _ error) {
	var t struct {
		Metadata  map[string]struct{ Stack string }
		Resources map[string]struct {
			Type       string
			Metadata   struct{ Function string }
			Properties struct{ RepositoryName string }
		}
	}
	if err := json.Unmarshal(template, &t); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	if stack = t.Metadata[Metadata].Stack; stack == "" {
		return "", nil, fmt.Errorf("%w: it has no metadata %s", ErrTemplate, Metadata)
	}
	var all []Repository
	for id, r := range t.Resources {
		if r.Type != repositoryType || r.Properties.RepositoryName == "" || r.Metadata.Function == "" {
			return "", nil, fmt.Errorf("%w: the resource %.100q", ErrTemplate, id)
		}
		all = append(all, Repository{r.Properties.RepositoryName, r.Metadata.Function})
	}
	slices.SortFunc(all, func(a, b Repository) int { return strings.Compare(a.Name, b.Name) })
	return stack, all, nil
}

// Unneeded returns those repositories of a companion that none of the functions
// has its image in. They may go when the functions' stack has let go of them.
func Unneeded(all []Repository, functions ...string) []Repository {
	return slices.DeleteFunc(slices.Clone(all),
		func(r Repository) bool { return slices.Contains(functions, r.Function) })
}

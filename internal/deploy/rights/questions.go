package rights

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/permission/deployer"
)

// Stack is one that is to be created or updated by a change set.
type Stack struct {
	Name  string
	Now   *target.Stack // nil for one that does not exist
	Scope deployer.Scope

	Tags    map[string]string
	RoleARN string
}

// name is the stack as the later requests name it, so that the same policies
// apply.
func (s Stack) name() string {
	if s.Now == nil || s.Now.Condition() == target.Leftover {
		return s.Name
	}
	return s.Now.ID
}

// ChangeSet begins the names of the change sets in all requests here. No change
// set has such a name. The request to execute one names another than the request
// to create one, since a stand-in for CloudFormation may create it.
const ChangeSet = "soci-index-builder-question"

// withoutResources is a template that CloudFormation refuses.
const withoutResources = `{"Resources":{}}`

// ChangeSets asks for the rights to create, read and execute a change set.
func (s Stack) ChangeSets(cfg aws.Config) []Question {
	client, name := cloudformation.NewFromConfig(once(cfg)), s.name()
	return []Question{
		{"cloudformation:CreateChangeSet", s.Scope, nil,
			func(ctx context.Context) error { return s.create(ctx, client) }},
		{"cloudformation:DescribeChangeSet", s.Scope, nil, func(ctx context.Context) error {
			_, err := client.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: &name,
				ChangeSetName: aws.String(ChangeSet)})
			return err
		}},
		{"cloudformation:ExecuteChangeSet", s.Scope, nil, func(ctx context.Context) error {
			_, err := client.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: &name,
				ChangeSetName: aws.String(ChangeSet)})
			return err
		}},
	}
}

// create asks for a change set that cannot be made: its type is for a stack that
// exists where there is none, or the other way round, and its template has no
// resources.
func (s Stack) create(ctx context.Context, client *cloudformation.Client) error {
	in := &cloudformation.CreateChangeSetInput{StackName: aws.String(s.name()),
		ChangeSetName: aws.String(ChangeSet + "-new"),
		ChangeSetType: types.ChangeSetTypeUpdate, TemplateBody: aws.String(withoutResources)}
	if s.Now != nil && s.Now.Status != string(types.StackStatusReviewInProgress) {
		in.ChangeSetType = types.ChangeSetTypeCreate
	}
	if s.RoleARN != "" {
		in.RoleARN = &s.RoleARN
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(s.Tags[key])})
	}
	out, err := client.CreateChangeSet(ctx, in)
	if err == nil && out.Id != nil {
		// A substitute of CloudFormation may accept anything.
		set := &changeset.ChangeSet{ID: aws.ToString(out.Id), StackID: aws.ToString(out.StackId)}
		return set.Discard(context.WithoutCancel(ctx), client, s.Now == nil)
	}
	return err
}

// Watch asks for the right to see what happens to a stack.
func (s Stack) Watch(cfg aws.Config) Question {
	client := cloudformation.NewFromConfig(once(cfg))
	return Question{"cloudformation:DescribeStackEvents", s.Scope, nil, func(ctx context.Context) error {
		_, err := client.DescribeStackEvents(ctx,
			&cloudformation.DescribeStackEventsInput{StackName: aws.String(s.name())})
		return err
	}}
}

// Template asks for the right to read the stack's template.
func (s Stack) Template(cfg aws.Config) Question {
	client := cloudformation.NewFromConfig(once(cfg))
	return Question{"cloudformation:GetTemplate", s.Scope, nil, func(ctx context.Context) error {
		_, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: aws.String(s.name())})
		return err
	}}
}

// Protection asks for the right to set the protection from termination. The
// request sets it as it is; of a stack that does not exist it is refused.
func (s Stack) Protection(cfg aws.Config) Question {
	client := cloudformation.NewFromConfig(once(cfg))
	is := s.Now != nil && s.Now.Protected
	return Question{"cloudformation:UpdateTerminationProtection", s.Scope, nil, func(ctx context.Context) error {
		_, err := client.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{
			StackName: aws.String(s.name()), EnableTerminationProtection: &is})
		return err
	}}
}

// writeObject is the action of IAM that a bucket's objects are written with.
const writeObject = "s3:PutObject"

// Bucket asks for the rights to read and write objects of a bucket that exists:
// the first key is read, and there is no object of this key.
func Bucket(b *codebucket.Bucket, scope deployer.Scope, values map[string]string, keys ...string) []Question {
	all := []Question{{"s3:GetObject", scope, values, func(ctx context.Context) error {
		return b.AskToRead(ctx, keys[0])
	}}}
	for _, key := range keys {
		all = append(all, Question{writeObject, scope, values,
			func(ctx context.Context) error { return b.AskToWrite(ctx, key) }})
	}
	return all
}

// What no repository has.
const (
	noUpload = "00000000-0000-0000-0000-000000000000"
	noDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// Repository asks for the rights to push to a repository; exists is whether it is
// there. An upload is never begun. Where there is no repository, nothing is asked
// that ECR may take for a push: an account can have repositories made on push, and
// then the companion stack could not make its own.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html
func Repository(cfg aws.Config, name string, exists bool, scope deployer.Scope, values map[string]string) []Question {
	client := ecr.NewFromConfig(once(cfg))
	all := []Question{
		{"ecr:BatchGetImage", scope, values, func(ctx context.Context) error {
			_, err := client.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &name,
				ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: aws.String(noDigest)}}})
			return err
		}},
		{"ecr:BatchCheckLayerAvailability", scope, values, func(ctx context.Context) error {
			_, err := client.BatchCheckLayerAvailability(ctx,
				&ecr.BatchCheckLayerAvailabilityInput{RepositoryName: &name,
					LayerDigests: []string{noDigest}})
			return err
		}},
		{"ecr:UploadLayerPart", scope, values, func(ctx context.Context) error {
			_, err := client.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{RepositoryName: &name,
				UploadId: aws.String(noUpload), PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(0),
				LayerPartBlob: []byte{0}})
			return err
		}},
		{"ecr:CompleteLayerUpload", scope, values, func(ctx context.Context) error {
			_, err := client.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: &name,
				UploadId: aws.String(noUpload), LayerDigests: []string{noDigest}})
			return err
		}},
	}
	if !exists {
		return all
	}
	return append(all, Question{"ecr:PutImage", scope, values, func(ctx context.Context) error {
		// No manifest, and of another digest.
		_, err := client.PutImage(ctx,
			&ecr.PutImageInput{RepositoryName: &name, ImageManifest: aws.String("no manifest"),
				ImageDigest: aws.String(noDigest)})
		return err
	}})
}

// Registry asks for the right to log in to the registry.
func Registry(cfg aws.Config) Question {
	client := ecr.NewFromConfig(once(cfg))
	return Question{"ecr:GetAuthorizationToken", deployer.Anything, nil, func(ctx context.Context) error {
		_, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
		return err
	}}
}

// Function asks for the right to change a function's code. The request only asks
// whether it could be done, and names code that does not exist: an object in a
// bucket, or an image in a repository, whose URI is empty for functions that are
// zip files.
func Function(cfg aws.Config, name, bucket, repository string) Question {
	client := lambda.NewFromConfig(once(cfg))
	in := &lambda.UpdateFunctionCodeInput{FunctionName: &name, DryRun: true}
	if repository != "" {
		in.ImageUri = aws.String(repository + "@" + noDigest)
	} else {
		in.S3Bucket, in.S3Key = &bucket, aws.String(noUpload)
	}
	return Question{"lambda:UpdateFunctionCode", deployer.Functions, nil, func(ctx context.Context) error {
		_, err := client.UpdateFunctionCode(ctx, in)
		return err
	}}
}

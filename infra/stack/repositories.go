package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/permission"
)

// The attributes of the custom resource: what the function reponame answers.
const (
	repositoryARNs   = "RepositoryArns"
	repositoryDigest = "RepositoryArnsDigest"
)

// addRepositories adds the custom resource that turns the filters into the
// ARNs of the repositories they name.
//
// The function refuses filters that are too long for what they go into, before
// CloudFormation makes any of it; for that it gets the rest of the filter
// function's environment, to which it adds the filters and the generator's ARN.
//
// CloudFormation refuses another service token for a resource that is there,
// and a function of another package type is another function: so the resource
// has another logical id where the functions are images.
func addRepositories(s *builder) {
	id := "Repositories"
	if s.props.Images {
		id = "ImageRepositories"
	}
	r := awscdk.NewCfnCustomResource(s.stack, jsii.String(id), &awscdk.CfnCustomResourceProps{
		ServiceToken: s.reponame.resource.AttrArn(),
		// When no answer comes, CloudFormation waits an hour by itself.
		ServiceTimeout: jsii.Number(300),
	})
	r.AddOverride(jsii.String("Type"), "Custom::SociRepositoryArns")
	r.AddPropertyOverride(jsii.String("Filters"), s.params[deployed.ParamFilters].ValueAsList())
	r.AddPropertyOverride(jsii.String("FilterEnvironment"), s.filterEnvironment())
	// CloudFormation asks again only when a property changes. New code may
	// answer otherwise.
	r.AddPropertyOverride(jsii.String("Code"), s.reponame.code)
	s.repositories = r
}

// addRepositoryPolicy grants the generator what it does in repositories, on
// those that the filters name.
//
// There is no moment in which the filter passes on an image whose repository
// the generator may not use, although the filters in use change at another
// time than the rights. The policy's name has a digest of the ARNs, and a new
// name makes CloudFormation replace the resource: with new filters it adds a
// policy with the new rights beside the one with the old, then updates the
// filter, which depends on the policy, and removes the old policy when it
// cleans up after the update. If the update fails the new one is removed. A
// role has room for both, with as many ARNs as the custom resource can answer.
func addRepositoryPolicy(s *builder, generator awsiam.CfnRole) {
	s.repositoryPolicy = awsiam.NewCfnRolePolicy(s.stack, jsii.String("GeneratorRepositoryPolicy"),
		&awsiam.CfnRolePolicyProps{
			RoleName:   generator.Ref(),
			PolicyName: s.sub("repositories-${" + *s.repositories.Node().Id() + "." + repositoryDigest + "}"),
			PolicyDocument: policy(allow("indexgen", permission.Repositories,
				awscdk.Token_AsList(s.repositories.GetAtt(jsii.String(repositoryARNs), awscdk.ResolutionTypeHint_STRING_LIST),
					nil))),
		})
	s.first = append(s.first, s.repositoryPolicy)
}

package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/permission"
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
	r.AddOverride(jsii.String("Type"), contract.ResourceType)
	r.AddPropertyOverride(jsii.String(contract.PropFilters), s.params[deployed.ParamFilters].ValueAsList())
	r.AddPropertyOverride(jsii.String(contract.PropFilterEnvironment), s.filterEnvironment())
	// CloudFormation asks again only when a property changes. New code may
	// answer otherwise. Of images all are named here: the function tells which
	// repositories they are in.
	code := s.reponame.code
	if s.props.Images {
		var all []string
		for _, p := range asImages {
			all = append(all, "${"+p.name+"}")
		}
		code = s.sub(strings.Join(all, ","))
	}
	r.AddPropertyOverride(jsii.String(contract.PropCode), code)
	// There is nothing to delete, and the function to be asked may be gone, broken
	// or asleep: CloudFormation would wait for its answer, also where a change
	// between zip files and images removes this resource, or takes it back.
	r.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	s.repositories = r
}

// addRepositoryPolicy grants a function what it does in repositories, on those
// that the filters name, and denies it to write where the functions' own images
// are.
//
// There is no moment in which the filter passes on an image whose repository
// the generator may not use, although the filters in use change at another
// time than the permissions. The policy's name has a digest of the ARNs, and a new
// name makes CloudFormation replace the resource: with new filters it adds a
// policy with the new permissions beside the one with the old, then updates the
// filter, which depends on the policy, and removes the old policy when it
// cleans up after the update. If the update fails the new one is removed. A
// role has room for both, with as many ARNs as the custom resource can answer.
func addRepositoryPolicy(s *builder, id, function string, role awsiam.CfnRole) awsiam.CfnRolePolicy {
	arns := func(attribute string) *[]*string {
		return awscdk.Token_AsList(s.repositories.GetAtt(jsii.String(attribute), awscdk.ResolutionTypeHint_STRING_LIST),
			nil)
	}
	statements := []any{allow(function, permission.Repositories, arns(contract.AttrARNs))}
	if s.props.Images {
		statements = append(statements, deny(function, permission.OwnRepositories, arns(contract.AttrOwnARNs)))
	}
	p := awsiam.NewCfnRolePolicy(s.stack, jsii.String(id),
		&awsiam.CfnRolePolicyProps{
			RoleName:       role.Ref(),
			PolicyName:     s.sub("repositories-${" + *s.repositories.Node().Id() + "." + contract.AttrDigest + "}"),
			PolicyDocument: policy(statements...),
		})
	s.first = append(s.first, p)
	return p
}

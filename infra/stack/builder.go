package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/jsii-runtime-go"
)

// builder holds the parts of one stack while New puts them together. Each
// file of this package adds its own; a part is there for those that are added
// after it, in the order of New.
//
// All parts are L1 constructs with the stack as scope: their ids are the
// logical ids of the template, and nothing is in the template that is not
// written here.
type builder struct {
	stack awscdk.Stack
	props Props

	// params has every parameter by the name that package deployed gives it.
	params map[string]awscdk.CfnParameter

	conditions conditions
	queue      awssqs.CfnQueue // the failure queue; Ref is the URL

	filter, generator, steps, reponame function

	assets map[string]awss3assets.Asset // by the package, when the code is in a folder

	machine awsstepfunctions.CfnStateMachine // Ref is the ARN
	large   awscdk.CfnCondition              // images are handed over to it

	// repositories is the custom resource, repositoryPolicy what it grants.
	repositories     awscdk.CfnCustomResource
	repositoryPolicy awsiam.CfnRolePolicy
	stepsPolicy      awsiam.CfnRolePolicy // the same of the steps

	// first are what events need on their way: no rule comes before them.
	first []awscdk.CfnResource

	rules []rule
}

// function is one of the Lambda functions with what belongs to it.
type function struct {
	name     string                // as it is built
	resource awslambda.CfnFunction // Ref is the name
	logGroup awslogs.CfnLogGroup   // Ref is the name
	role     awsiam.CfnRole        // Ref is the name
	timeout  float64               // in seconds
	code     *string               // changes with the code
}

// name returns the stack's name with something behind it: the form of every
// physical name that is not CloudFormation's to choose.
func (s *builder) name(suffix string) *string {
	return s.sub("${AWS::StackName}" + suffix)
}

// sub puts the stack's name and the like into a text.
func (s *builder) sub(text string) *string {
	if !strings.Contains(text, "${") {
		return jsii.String(text)
	}
	return awscdk.Fn_Sub(jsii.String(text), nil)
}

// dashboardName is what the dashboard is called, so that the output can link
// to it.
func (s *builder) dashboardName() *string { return awscdk.Aws_STACK_NAME() }

// param returns the value of a parameter that is text.
func (s *builder) param(name string) *string { return s.params[name].ValueAsString() }

// quotationMark stands for the quotation mark in JSON that is a text of the
// template, where each would take two bytes.
const quotationMark = "~"

// quote returns a JSON text, or a part of one, with quotationMark for every
// quotation mark. Whatever it becomes a part of goes through unquote.
func quote(text string) *string {
	if strings.Contains(text, quotationMark) {
		panic("internal error: there is a " + quotationMark + " in " + text)
	}
	return jsii.String(strings.ReplaceAll(text, `"`, quotationMark))
}

// unquote has CloudFormation put the quotation marks in, by splitting and
// joining.
func unquote(quoted *string) *string {
	return awscdk.Fn_Join(jsii.String(`"`), awscdk.Fn_Split(jsii.String(quotationMark), quoted, nil))
}

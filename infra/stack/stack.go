// Package stack is the CloudFormation stack: New makes it in a CDK app, with
// the functions' code from a folder (for the CDK command line, which uploads
// it) or from a bucket that parameters name (for the plain template).
//
// Start with [NewApp] and [New].
package stack

import (
	"path/filepath"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/version"
)

// ID is the id of the stack in the app, and so the name of the template's
// file in the cloud assembly. What the stack is called in an account is
// Props.StackName.
const ID = "SociIndexBuilder"

// Architecture of the functions, as Go names it.
type Architecture string

// The architectures that Lambda has.
const (
	ARM64 Architecture = "arm64"
	AMD64 Architecture = "amd64"
)

// lambda gives the architecture as Lambda names it.
func (a Architecture) lambda() string {
	if a == AMD64 {
		return "x86_64"
	}
	return string(ARM64)
}

// Props of a stack. The zero value is the plain template.
type Props struct {
	// StackName is what the stack is called in the account. The default is ID.
	StackName string

	// Architecture of the functions and of their code. The default is ARM64.
	Architecture Architecture

	// CodeFolder has <architecture>/<function>.zip for each function, as make
	// build leaves them. When it is empty the template has the parameters
	// CodeS3Bucket and CodeS3KeyPrefix in its place.
	CodeFolder string
}

// code of a function is a file of this folder.
func (p Props) zip(function string) string {
	arch := p.Architecture
	if arch == "" {
		arch = ARM64
	}
	return filepath.Join(p.CodeFolder, string(arch), function+".zip")
}

// New adds the stack to an app.
func New(scope constructs.Construct, id string, props Props) awscdk.Stack {
	stackProps := &awscdk.StackProps{
		Description: jsii.String("SOCI Index Builder " + version.Version +
			": builds the SOCI index of every container image that is pushed to Amazon ECR and chosen by a filter"),
		AnalyticsReporting: jsii.Bool(false),
		// Nothing here needs the bootstrap stack but the upload of the code,
		// for which the CDK command line looks at its version itself.
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			GenerateBootstrapVersionRule: jsii.Bool(false),
		}),
	}
	if props.StackName != "" {
		stackProps.StackName = jsii.String(props.StackName)
	}
	s := &builder{stack: awscdk.NewStack(scope, jsii.String(id), stackProps), props: props}

	addParameters(s)
	addQueue(s)
	addReponame(s)
	addGenerator(s)
	addFilter(s)
	addRules(s)
	addQueuePolicy(s)
	addOutputs(s)
	return s.stack
}

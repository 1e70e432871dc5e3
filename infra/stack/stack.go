// Package stack is the CloudFormation stack: New creates it in a CDK app, with
// the functions' code from a folder (for the CDK command line, which uploads
// it), from a bucket or from images that parameters name (for the plain
// templates).
//
// Start with [NewApp] and [New].
package stack

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded/version"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/permission"
)

// ID is the id of the stack in the app, by which the CDK command line and the
// files of the cloud assembly name it. Its name in an account is
// Props.StackName.
const ID = "SociIndexBuilder"

// DefaultName is the default name of the stack in an account.
const DefaultName = "soci-index-builder"

// Architecture of the functions, as Go names it.
type Architecture string

// The architectures that Lambda has.
const (
	ARM64 Architecture = "arm64"
	AMD64 Architecture = "amd64"
)

// lambda returns the architecture as Lambda names it.
func (a Architecture) lambda() string {
	if a == AMD64 {
		return "x86_64"
	}
	return string(ARM64)
}

// Props of a stack. The zero value is the plain template.
type Props struct {
	// StackName is what the stack is called in the account. The default is
	// DefaultName. The plain template does not have it.
	StackName string

	// Architecture of the functions and of their code. The default is ARM64.
	Architecture Architecture

	// CodeFolder has <architecture>/<function>.zip for each function, as make
	// build leaves them. When it is empty the template has the parameters
	// CodeS3Bucket and CodeS3KeyPrefix in its place.
	CodeFolder string

	// Images: the functions are container images, which the parameters
	// FilterFunctionImageUri and so on name. CodeFolder must be empty.
	Images bool
}

// Errors of Props. Every error of Check matches one of them.
var (
	ErrStackName = errors.New(
		"is not the name of a stack: allowed are 1 to 128 of A-Z, a-z, 0-9 and -, a letter at the beginning")
	ErrArchitecture = errors.New("is not an architecture of Lambda's: allowed are arm64 and amd64")
	ErrTwoPackages  = errors.New("the functions are either images or zip files of a folder, not both")
	ErrNotBuilt     = errors.New("is not built: run make build")
)

// Check reports whether New can make a stack with these properties.
func (p Props) Check() error {
	p = p.complete()
	if !names.IsStack(p.StackName) {
		return fmt.Errorf("stack %q %w", p.StackName, ErrStackName)
	}
	if p.Architecture != ARM64 && p.Architecture != AMD64 {
		return fmt.Errorf("%q %w", p.Architecture, ErrArchitecture)
	}
	if p.CodeFolder == "" {
		return nil
	}
	if p.Images {
		return ErrTwoPackages
	}
	for _, function := range permission.Packages() {
		if _, err := os.Stat(p.zip(function)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the function %s (%s) %w", function, p.zip(function), ErrNotBuilt)
		} else if err != nil {
			return fmt.Errorf("looking for the function %s: %w", function, err)
		}
	}
	return nil
}

// complete fills in the defaults.
func (p Props) complete() Props {
	p.StackName = cmp.Or(p.StackName, DefaultName)
	p.Architecture = cmp.Or(p.Architecture, ARM64)
	return p
}

// zip is the file with the code of a function.
func (p Props) zip(function string) string {
	return filepath.Join(p.CodeFolder, string(p.Architecture), function+".zip")
}

// New adds the stack to an app. props must pass Check.
func New(scope constructs.Construct, id string, props Props) awscdk.Stack {
	props = props.complete()
	stackProps := &awscdk.StackProps{
		Description: jsii.String("SOCI Index Builder " + version.Version +
			": SOCI indexes of container images pushed to Amazon ECR"),
		StackName:          jsii.String(props.StackName),
		AnalyticsReporting: jsii.Bool(false),
		// Nothing here needs the bootstrap stack but the upload of the code,
		// for which the CDK command line looks at its version itself.
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			GenerateBootstrapVersionRule: jsii.Bool(false),
		}),
	}
	s := &builder{stack: awscdk.NewStack(scope, jsii.String(id), stackProps), props: props,
		assets: map[string]awss3assets.Asset{}}

	// This metadata marks a stack as one of ours.
	s.stack.AddMetadata(jsii.String(deployed.Metadata), map[string]any{"Version": version.Version})
	addParameters(s)
	addNetworkRule(s)
	addQueue(s)
	addReponame(s)
	addRepositories(s)
	addSteps(s)
	addMachine(s)
	addGenerator(s)
	addFilter(s)
	addRules(s)
	addMachineRule(s)
	addQueuePolicy(s)
	addAlarms(s)
	addDashboard(s)
	addQueries(s)
	addOutputs(s)
	return s.stack
}

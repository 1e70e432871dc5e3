package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/permission"
)

// Memory and timeouts of the functions, in MB and seconds. The generator's memory is a
// parameter.
const (
	filterMemory    = 256
	filterTimeout   = 60 // two calls, each of which may take half of what is left
	reponameMemory  = 128
	reponameTimeout = 60

	generatorTimeout = 15 * 60 // the longest that Lambda has
)

// Asynchronous invocations: what Lambda does with an event that fails, before
// it goes to the failure queue.
const (
	retryAttempts = 2           // after the first
	maxEventAge   = 6 * 60 * 60 // seconds; both are the most that Lambda takes
)

// addFunction adds the function itself to what belongs to it. What is the same
// for all is here; props has what is not.
func addFunction(s *builder, id string, f *function, env map[string]any, props *awslambda.CfnFunctionProps) {
	if s.props.Images {
		props.PackageType = jsii.String("Image")
	} else {
		props.Runtime = jsii.String("provided.al2023")
		props.Handler = jsii.String("bootstrap")
	}
	props.Architectures = jsii.Strings(s.props.Architecture.lambda())
	props.Code, f.code = s.code(permission.Package(f.name))
	props.Role = f.role.AttrArn()
	props.Timeout = jsii.Number(f.timeout)
	props.LoggingConfig = s.logging(f.logGroup)
	props.Environment = &awslambda.CfnFunction_EnvironmentProperty{Variables: env}
	f.resource = awslambda.NewCfnFunction(s.stack, jsii.String(id), props)
	if props.VpcConfig != nil {
		acknowledgeNetwork(f.resource)
	}
}

// code says where CloudFormation finds the code of a function, and returns what
// changes with it.
func (s *builder) code(function string) (code *awslambda.CfnFunction_CodeProperty, changes *string) {
	if s.props.Images {
		uri := s.param(imageParams[function])
		return &awslambda.CfnFunction_CodeProperty{ImageUri: uri}, uri
	}
	if s.props.CodeFolder == "" {
		prefix := s.param(deployed.ParamCodeKeyPrefix)
		return &awslambda.CfnFunction_CodeProperty{
			S3Bucket: s.param(deployed.ParamCodeBucket),
			S3Key:    s.sub("${" + deployed.ParamCodeKeyPrefix + "}" + function + ".zip"),
		}, prefix
	}
	asset := s.assets[function]
	if asset == nil { // two functions may have one package
		asset = awss3assets.NewAsset(s.stack, jsii.String("Code-"+function),
			&awss3assets.AssetProps{Path: jsii.String(s.props.zip(function))})
		s.assets[function] = asset
	}
	return &awslambda.CfnFunction_CodeProperty{S3Bucket: asset.S3BucketName(), S3Key: asset.S3ObjectKey()},
		asset.AssetHash()
}

// addGenerator adds the function that builds SOCI indexes.
func addGenerator(s *builder) {
	f := function{name: "indexgen", timeout: generatorTimeout}
	f.logGroup = addLogGroup(s, "GeneratorLogGroup", "SociIndexGeneratorLambda")
	rights := s.rights(f.name, f.logGroup, map[permission.Target]any{
		permission.Everything:      "*",
		permission.StateMachine:    s.machine.Ref(),
		permission.Executions:      s.executions(),
		permission.EventBus:        s.busARN(),
		permission.SigningProfiles: s.list(deployed.ParamSigningProfiles),
		permission.FailureQueue:    s.queue.AttrArn(),
	})
	f.role = addRole(s, "GeneratorRole", rights)
	s.repositoryPolicy = addRepositoryPolicy(s, "GeneratorRepositoryPolicy", f.name, f.role)
	env := s.builderEnvironment()
	env[contract.VarStateMachine] = s.machine.Ref()
	env[contract.VarFanOutFromGiB] = awscdk.Token_AsString(s.params[deployed.ParamFanOutFromGiB].Value(), nil)
	env[contract.VarStepsMemoryMiB] = awscdk.Token_AsString(s.params[deployed.ParamStepsMemorySize].Value(), nil)
	addFunction(s, deployed.GeneratorID, &f, env,
		&awslambda.CfnFunctionProps{
			VpcConfig:  s.network(),
			MemorySize: s.params[deployed.ParamGeneratorMemorySize].ValueAsNumber(),
			ReservedConcurrentExecutions: awscdk.Token_AsNumber(
				ifOnly(s.conditions.concurrency, s.params[deployed.ParamGeneratorConcurrency].Value())),
		})
	// New code may need new permissions.
	f.resource.AddResourceDependency(s.repositoryPolicy, nil)
	addAsyncConfig(s, "GeneratorAsyncConfig", f)
	s.generator = f

	// The generator reads every image that is pushed. Without this, lifecycle
	// rules by the time of the last pull would take each for one in use.
	s.first = append(s.first,
		awsecr.NewCfnPullTimeUpdateExclusion(s.stack, jsii.String("GeneratorPullTimeExclusion"),
			&awsecr.CfnPullTimeUpdateExclusionProps{
				PrincipalArn: f.role.AttrArn(),
			}))
}

// builderEnvironment is the environment that the functions which build SOCI
// indexes have in common.
func (s *builder) builderEnvironment() map[string]any {
	return map[string]any{
		contract.VarIndexVersion:    s.param(deployed.ParamIndexVersion),
		contract.VarTagSuffix:       s.param(deployed.ParamTagSuffix),
		contract.VarTagUnindexed:    s.param(deployed.ParamTagUnindexed),
		contract.VarPrefetch:        s.param(deployed.ParamPrefetch),
		contract.VarPlatforms:       s.param(deployed.ParamPlatforms),
		contract.VarMinLayerSizeMiB: awscdk.Token_AsString(s.params[deployed.ParamMinLayerSizeMiB].Value(), nil),
		contract.VarFailureQueue:    s.queue.Ref(),
		contract.VarEventBus:        s.param(deployed.ParamEventBus),
		contract.VarStackName:       awscdk.Aws_STACK_NAME(),
		contract.VarLogLevel:        s.param(deployed.ParamLogLevel),
	}
}

// addFilter adds the function that decides which events reach the generator.
func addFilter(s *builder) {
	f := function{name: "filter", timeout: filterTimeout}
	f.logGroup = addLogGroup(s, "FilterLogGroup", "ECRImageActionEventFilteringLambda")
	f.role = addRole(s, "FilterRole", s.rights(f.name, f.logGroup, map[permission.Target]any{
		permission.Generator:    s.generator.resource.AttrArn(),
		permission.FailureQueue: s.queue.AttrArn(),
	}))
	env := s.filterEnvironment()
	env[contract.VarFilters] = awscdk.Fn_Join(jsii.String(","),
		s.params[deployed.ParamFilters].ValueAsList())
	env[contract.VarGenerator] = s.generator.resource.AttrArn()
	if s.props.Images {
		env[contract.VarOwnRepositories] = awscdk.Token_AsString(
			s.repositories.GetAtt(jsii.String(contract.AttrOwnNames), awscdk.ResolutionTypeHint_STRING), nil)
	}
	addFunction(s, deployed.FilterID, &f, env, &awslambda.CfnFunctionProps{
		VpcConfig:  s.network(),
		MemorySize: jsii.Number(filterMemory),
	})
	// New filters may pass on images of repositories that the generator could
	// not use before.
	f.resource.AddResourceDependency(s.repositoryPolicy, nil)
	f.resource.AddResourceDependency(s.stepsPolicy, nil)
	addAsyncConfig(s, "FilterAsyncConfig", f)
	s.filter = f
}

// filterEnvironment is the environment of the filter, but for the filters, the
// generator's ARN and what the custom resource finds out.
func (s *builder) filterEnvironment() map[string]any {
	return map[string]any{
		contract.VarTagSuffix:    s.param(deployed.ParamTagSuffix),
		contract.VarUntagged:     s.param(deployed.ParamIndexUntagged),
		contract.VarFailureQueue: s.queue.Ref(),
		contract.VarStackName:    awscdk.Aws_STACK_NAME(),
		contract.VarLogLevel:     s.param(deployed.ParamLogLevel),
	}
}

// addReponame adds the function behind the custom resource.
func addReponame(s *builder) {
	f := function{name: "reponame", timeout: reponameTimeout}
	f.logGroup = addLogGroup(s, "RepositoryNameLogGroup", "RepositoryNameParsingLambda")
	f.role = addRole(s, "RepositoryNameRole", s.rights(f.name, f.logGroup, nil))
	addFunction(s, deployed.RepositoryNameID, &f, map[string]any{contract.VarLogLevel: s.param(deployed.ParamLogLevel)},
		&awslambda.CfnFunctionProps{
			MemorySize: jsii.Number(reponameMemory),
		})
	s.reponame = f
}

// addAsyncConfig sets how often a failed event is retried, and where it goes then.
func addAsyncConfig(s *builder, id string, f function) {
	s.first = append(s.first,
		awslambda.NewCfnEventInvokeConfig(s.stack, jsii.String(id), &awslambda.CfnEventInvokeConfigProps{
			FunctionName:             f.resource.Ref(),
			Qualifier:                jsii.String("$LATEST"),
			MaximumRetryAttempts:     jsii.Number(retryAttempts),
			MaximumEventAgeInSeconds: jsii.Number(maxEventAge),
			DestinationConfig: &awslambda.CfnEventInvokeConfig_DestinationConfigProperty{
				OnFailure: &awslambda.CfnEventInvokeConfig_OnFailureProperty{Destination: s.queue.AttrArn()},
			},
		}))
}

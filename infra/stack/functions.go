package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/deployed"
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
	env["SOCI_STATE_MACHINE_ARN"] = s.machine.Ref()
	env["SOCI_FAN_OUT_FROM_GIB"] = awscdk.Token_AsString(s.params[deployed.ParamFanOutFromGiB].Value(), nil)
	env["SOCI_STEPS_MEMORY_MIB"] = awscdk.Token_AsString(s.params[deployed.ParamStepsMemorySize].Value(), nil)
	addFunction(s, "GeneratorFunction", &f, env,
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
		"SOCI_INDEX_VERSION":        s.param(deployed.ParamIndexVersion),
		"SOCI_TAG_SUFFIX":           s.param(deployed.ParamTagSuffix),
		"SOCI_TAG_UNINDEXED_IMAGES": s.param(deployed.ParamTagUnindexed),
		"SOCI_PREFETCH":             s.param(deployed.ParamPrefetch),
		"SOCI_PLATFORMS":            s.param(deployed.ParamPlatforms),
		"SOCI_MIN_LAYER_SIZE_MIB":   awscdk.Token_AsString(s.params[deployed.ParamMinLayerSizeMiB].Value(), nil),
		"SOCI_FAILURE_QUEUE_URL":    s.queue.Ref(),
		"SOCI_EVENT_BUS":            s.param(deployed.ParamEventBus),
		"SOCI_STACK_NAME":           awscdk.Aws_STACK_NAME(),
		"LOG_LEVEL":                 s.param(deployed.ParamLogLevel),
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
	env["SOCI_REPOSITORY_IMAGE_TAG_FILTERS"] = awscdk.Fn_Join(jsii.String(","),
		s.params[deployed.ParamFilters].ValueAsList())
	env["SOCI_INDEX_GENERATOR_LAMBDA_ARN"] = s.generator.resource.AttrArn()
	if s.props.Images {
		env["SOCI_OWN_REPOSITORIES"] = awscdk.Token_AsString(
			s.repositories.GetAtt(jsii.String(ownNames), awscdk.ResolutionTypeHint_STRING), nil)
	}
	addFunction(s, "FilterFunction", &f, env, &awslambda.CfnFunctionProps{
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
		"SOCI_TAG_SUFFIX":            s.param(deployed.ParamTagSuffix),
		"SOCI_INDEX_UNTAGGED_IMAGES": s.param(deployed.ParamIndexUntagged),
		"SOCI_FAILURE_QUEUE_URL":     s.queue.Ref(),
		"SOCI_STACK_NAME":            awscdk.Aws_STACK_NAME(),
		"LOG_LEVEL":                  s.param(deployed.ParamLogLevel),
	}
}

// addReponame adds the function behind the custom resource.
func addReponame(s *builder) {
	f := function{name: "reponame", timeout: reponameTimeout}
	f.logGroup = addLogGroup(s, "RepositoryNameLogGroup", "RepositoryNameParsingLambda")
	f.role = addRole(s, "RepositoryNameRole", s.rights(f.name, f.logGroup, nil))
	addFunction(s, "RepositoryNameFunction", &f, map[string]any{"LOG_LEVEL": s.param(deployed.ParamLogLevel)},
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

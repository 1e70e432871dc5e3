package generator

import (
	"context"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Role is what a function of this package does.
type Role string

// The roles.
const (
	Generates Role = "generator"        // a Handler: events of ECR
	DoesSteps Role = contract.DoesSteps // a Steps: requests of the state machine
)

// Config is the environment of a function.
type Config struct {
	Role Role // SOCI_HANDLER

	MinLayerSizeMiB int64  // SOCI_MIN_LAYER_SIZE_MIB; 0 indexes every layer
	SpanSizeMiB     int64  // SOCI_SPAN_SIZE_MIB
	Concurrency     int    // SOCI_CONCURRENCY; 0 is the processors available
	MaxMemoryMiB    int64  // SOCI_MAX_MEMORY_MIB; 0 is the default of soci.Limits
	MemorySizeMiB   int64  // AWS_LAMBDA_FUNCTION_MEMORY_SIZE; 0 outside of Lambda
	Endpoint        string // ECR_REGISTRY_ENDPOINT; a registry that takes the place of ECR

	IndexVersion soci.IndexVersion // SOCI_INDEX_VERSION
	TagSuffix    string            // SOCI_TAG_SUFFIX
	TagUnindexed bool              // SOCI_TAG_UNINDEXED_IMAGES

	Prefetch bool // SOCI_PREFETCH

	Platforms []string // SOCI_PLATFORMS; those whose image manifests are read

	StateMachine   string // SOCI_STATE_MACHINE_ARN; empty: every image is built by the function itself
	FanOutFromGiB  int64  // SOCI_FAN_OUT_FROM_GIB; 0: the same
	StepsMemoryMiB int64  // SOCI_STEPS_MEMORY_MIB; of the function that does its steps; 0: not known

	FailureQueueURL string     // SOCI_FAILURE_QUEUE_URL; empty: failures are returned
	EventBus        string     // SOCI_EVENT_BUS; empty: nothing is announced
	StackName       string     // SOCI_STACK_NAME; the dimension of the metrics
	LogLevel        slog.Level // LOG_LEVEL
}

const mib = 1 << 20

// ReadConfig reads the environment through getenv. Its error names every
// variable that is invalid, each matching lambdafn.ErrInvalidVariable.
func ReadConfig(getenv func(name string) string) (Config, error) {
	env := lambdafn.NewEnv(getenv)
	c := Config{
		Role: lambdafn.OneOf(env, contract.VarHandler, Generates, DoesSteps),
		MinLayerSizeMiB: env.Int(contract.VarMinLayerSizeMiB, "MiB", 0, contract.MaxLayerMiB,
			soci.DefaultMinLayerSize/mib),
		SpanSizeMiB: env.Int("SOCI_SPAN_SIZE_MIB", "MiB", soci.MinSpanSize/mib, soci.MaxSpanSize/mib,
			soci.DefaultSpanSize/mib),
		Concurrency:     int(env.Int("SOCI_CONCURRENCY", "layers", 1, 64, 0)),
		MemorySizeMiB:   env.Int("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MiB", 1, 1<<20, 0),
		Endpoint:        env.Endpoint("ECR_REGISTRY_ENDPOINT"),
		IndexVersion:    lambdafn.OneOf(env, contract.VarIndexVersion, soci.Both, soci.V1, soci.V2),
		TagSuffix:       env.TagSuffix(),
		TagUnindexed:    env.Bool(contract.VarTagUnindexed, true),
		Prefetch:        env.Bool(contract.VarPrefetch, false),
		Platforms:       env.Platforms(),
		StateMachine:    env.StateMachine(contract.VarStateMachine),
		FanOutFromGiB:   env.Int(contract.VarFanOutFromGiB, "GiB", 0, 100_000, 0),
		StepsMemoryMiB:  env.Int(contract.VarStepsMemoryMiB, "MiB", 1, contract.MaxMemoryMB, 0),
		FailureQueueURL: env.QueueURL(contract.VarFailureQueue),
		EventBus:        env.EventBus(),
		StackName:       env.StackName(),
		LogLevel:        env.LogLevel(),
	}
	c.MaxMemoryMiB = env.Int("SOCI_MAX_MEMORY_MIB", "MiB", 1, contract.MaxMemoryMB, defaultMaxMemory(c.MemorySizeMiB))
	return c, env.Err()
}

// defaultMaxMemory is the budget of a build, in MiB, in a function of so much
// memory.
func defaultMaxMemory(memorySize int64) int64 {
	if memorySize == 0 {
		return 0
	}
	return fanout.Budget(memorySize) / mib
}

// MemoryLimit is the heap, in bytes, from which on the garbage collector works
// harder rather than let the function be killed; 0 sets none.
func (c Config) MemoryLimit() int64 { return c.MemorySizeMiB * mib * 90 / 100 }

// Options returns the configuration as the engine takes it.
func (c Config) Options() soci.Options {
	return soci.Options{
		SpanSize:     c.SpanSizeMiB * mib,
		MinLayerSize: max(c.MinLayerSizeMiB*mib, 1), // 1 byte is every layer
		IndexVersion: c.IndexVersion,
		TagSuffix:    c.TagSuffix,
		TagUnindexed: c.TagUnindexed,
		Choice:       c.Platforms,
		Concurrency:  c.Concurrency,
		Limits:       soci.Limits{MaxMemory: c.MaxMemoryMiB * mib},

		PrefetchLabel: c.Prefetch,
	}
}

// FanOut returns what is handed over to the state machine; nil is nothing.
func (c Config) FanOut(aws aws.Config) *FanOut {
	if c.StateMachine == "" || c.FanOutFromGiB == 0 {
		return nil
	}
	return &FanOut{Starter: fanout.Open(aws, c.StateMachine), From: c.FanOutFromGiB << 30,
		StepsMemorySizeMiB: c.StepsMemoryMiB}
}

// Opener returns the way to the repository of an event: in the ECR registry of
// its account and region, or in the one at the configured endpoint.
func (c Config) Opener(logger *slog.Logger) func(context.Context, *ecrevent.Event) (Repository, error) {
	options := []ecrclient.Option{ecrclient.WithLogger(logger)}
	if c.Endpoint != "" {
		options = append(options, ecrclient.WithEndpoint(c.Endpoint))
	}
	return func(_ context.Context, e *ecrevent.Event) (Repository, error) {
		host, err := ecrclient.RegistryHost(e.Account, e.Region)
		if err != nil {
			return nil, err
		}
		return ecrclient.New(host+"/"+e.Detail.RepositoryName, options...)
	}
}

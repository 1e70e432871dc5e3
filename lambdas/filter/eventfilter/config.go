package eventfilter

import (
	"log/slog"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/lambdafn"
)

// Config is the function's environment.
type Config struct {
	Filters         filters.Filters // SOCI_REPOSITORY_IMAGE_TAG_FILTERS, required
	GeneratorARN    string          // SOCI_INDEX_GENERATOR_LAMBDA_ARN, required
	TagSuffix       string          // SOCI_TAG_SUFFIX
	UntaggedImages  bool            // SOCI_INDEX_UNTAGGED_IMAGES; whether images without a tag are passed on
	OwnRepositories []string        // SOCI_OWN_REPOSITORIES; in which nothing is passed on
	FailureQueueURL string          // SOCI_FAILURE_QUEUE_URL; empty: failures are returned
	StackName       string          // SOCI_STACK_NAME; the dimension of the metrics
	LogLevel        slog.Level      // LOG_LEVEL
}

// ReadConfig reads the environment through getenv. Its error names every
// variable that is invalid, each matching lambdafn.ErrInvalidVariable.
func ReadConfig(getenv func(name string) string) (Config, error) {
	env := lambdafn.NewEnv(getenv)
	c := Config{
		Filters:         lambdafn.Parsed(env, contract.VarFilters, filters.Parse),
		GeneratorARN:    env.FunctionARN(contract.VarGenerator),
		TagSuffix:       env.TagSuffix(),
		UntaggedImages:  env.Bool(contract.VarUntagged, false),
		OwnRepositories: lambdafn.Parsed(env, contract.VarOwnRepositories, filters.OwnRepositories),
		FailureQueueURL: env.QueueURL(contract.VarFailureQueue),
		StackName:       env.StackName(),
		LogLevel:        env.LogLevel(),
	}
	return c, env.Err()
}

func (c Config) rules() filters.Rules {
	return filters.Rules{Filters: c.Filters, TagSuffix: c.TagSuffix, Untagged: c.UntaggedImages,
		OwnRepositories: c.OwnRepositories}
}

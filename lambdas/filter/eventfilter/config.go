package eventfilter

import (
	"log/slog"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/lambdafn"
)

// Config is the function's environment.
type Config struct {
	Filters      filters.Filters // SOCI_REPOSITORY_IMAGE_TAG_FILTERS, required
	GeneratorARN string          // SOCI_INDEX_GENERATOR_LAMBDA_ARN, required
	TagSuffix    string          // SOCI_TAG_SUFFIX
	LogLevel     slog.Level      // LOG_LEVEL
}

// ReadConfig reads the environment through getenv. Its error names every
// variable that is invalid, each matching lambdafn.ErrInvalidVariable.
func ReadConfig(getenv func(name string) string) (Config, error) {
	env := lambdafn.NewEnv(getenv)
	c := Config{
		Filters:      lambdafn.Parsed(env, "SOCI_REPOSITORY_IMAGE_TAG_FILTERS", filters.Parse),
		GeneratorARN: env.FunctionARN("SOCI_INDEX_GENERATOR_LAMBDA_ARN"),
		TagSuffix:    env.TagSuffix(),
		LogLevel:     env.LogLevel(),
	}
	return c, env.Err()
}

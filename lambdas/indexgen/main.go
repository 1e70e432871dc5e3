// Indexgen is the Lambda function that builds the SOCI index of a pushed
// image and pushes it beside the image. With SOCI_HANDLER=steps it is the one
// that does so step by step, as a state machine asks for it.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"

	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/lambdas/indexgen/generator"
)

func main() {
	lambdafn.Start(func(ctx context.Context) (lambda.Handler, error) {
		c, err := generator.ReadConfig(os.Getenv)
		if err != nil {
			return nil, err
		}
		if limit := c.MemoryLimit(); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(limit)
		}
		aws, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, fmt.Errorf("loading the AWS configuration: %w", err)
		}
		logger := lambdafn.NewLogger(os.Stdout, c.LogLevel)
		h := &generator.Handler{
			Open:    c.Opener(logger),
			Options: c.Options(),
			Logger:  logger,
			Queue:   failurequeue.Open(aws, c.FailureQueueURL),
			Bus:     announce.Open(aws, c.EventBus),
			Metrics: metrics.New(os.Stdout, c.StackName, time.Now),
		}
		if c.Role == generator.DoesSteps {
			steps := &generator.Steps{Handler: h, MemorySizeMiB: c.MemorySizeMiB}
			return lambdafn.Handler(steps.Handle), nil
		}
		h.FanOut = c.FanOut(aws)
		return lambdafn.Handler(h.Handle), nil
	})
}

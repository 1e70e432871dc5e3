// Indexgen is the Lambda function that builds the SOCI index of a pushed
// image and pushes it beside the image.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"soci-index-builder/internal/lambdafn"
	"soci-index-builder/lambdas/indexgen/generator"
)

func main() {
	lambdafn.Start(func(context.Context) (lambda.Handler, error) {
		c, err := generator.ReadConfig(os.Getenv)
		if err != nil {
			return nil, err
		}
		logger := lambdafn.NewLogger(os.Stdout, c.LogLevel)
		h := &generator.Handler{
			Open:    c.Opener(logger),
			Options: c.Options(),
			Logger:  logger,
		}
		return lambdafn.Handler(h.Handle), nil
	})
}

// Reponame is the Lambda function behind the custom resource that turns the
// filters into the ARNs of the repositories that the generator may work on.
package main

import (
	"context"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/lambdas/reponame/arnresolver"
)

func main() {
	lambdafn.Start(func(context.Context) (lambda.Handler, error) {
		env := lambdafn.NewEnv(os.Getenv)
		level := env.LogLevel()
		// Package cfn sends its answer with the default client.
		http.DefaultClient.Transport = &arnresolver.QuietTransport{Base: http.DefaultTransport}
		h := &arnresolver.Handler{Logger: lambdafn.NewLogger(os.Stdout, level), Broken: env.Err()}
		return lambda.NewHandler(h.Respond), nil
	})
}

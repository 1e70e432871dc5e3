// A function for the tests of package lambdaruntime: it does what its event
// says.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"soci-index-builder/internal/function/lambdafn"
)

func main() {
	lambdafn.Start(func(context.Context) (lambda.Handler, error) {
		if message := os.Getenv("FAIL"); message != "" {
			return nil, errors.New(message)
		}
		return lambdafn.Handler(handle), nil
	})
}

type result struct {
	Event, RequestID, ARN, Secret string

	HasDeadline bool
}

func handle(ctx context.Context, event []byte) (*result, error) {
	switch string(event) {
	case `"fail"`:
		return nil, errors.New("as it was told")
	case `"panic"`:
		panic("as it was told")
	case `"exit"`:
		os.Exit(3)
	case `"wait"`:
		<-make(chan struct{})
	}
	lc, _ := lambdacontext.FromContext(ctx)
	_, hasDeadline := ctx.Deadline()
	return &result{string(event), lc.AwsRequestID, lc.InvokedFunctionArn, os.Getenv("TESTERS_SECRET"), hasDeadline}, nil
}

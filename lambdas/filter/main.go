// Filter is the Lambda function that receives the events of ECR and passes on
// those of the images to index.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	lambdaservice "github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/function/metrics"
	"soci-index-builder/lambdas/filter/eventfilter"
)

func main() {
	lambdafn.Start(func(ctx context.Context) (lambda.Handler, error) {
		c, err := eventfilter.ReadConfig(os.Getenv)
		if err != nil {
			return nil, err
		}
		aws, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, fmt.Errorf("loading the AWS configuration: %w", err)
		}
		h := &eventfilter.Handler{
			Config:  c,
			Invoker: lambdaservice.NewFromConfig(aws),
			Logger:  lambdafn.NewLogger(os.Stdout, c.LogLevel),
			Queue:   failurequeue.Open(aws, c.FailureQueueURL),
			Metrics: metrics.New(os.Stdout, c.StackName, time.Now),
		}
		return lambdafn.Handler(h.Handle), nil
	})
}

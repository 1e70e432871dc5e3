package lambdafn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"soci-index-builder/internal/function/failure/class"
)

// Start runs a function: setup makes the handler in the cold start, and every
// invocation calls it. It does not return. A setup that fails ends the process
// with its error in the log and in Lambda's own report of the cold start.
func Start(setup func(ctx context.Context) (lambda.Handler, error)) {
	ctx := context.Background()
	handler, err := setup(ctx)
	if err != nil {
		logger := NewLogger(os.Stdout, slog.LevelInfo)
		logger.ErrorContext(ctx, "cold start failed", "class", class.Permanent, "error", err)
		if reportErr := reportInitError(ctx, os.Getenv("AWS_LAMBDA_RUNTIME_API"), err); reportErr != nil {
			logger.ErrorContext(ctx, "cold start failure not reported", "error", reportErr)
		}
		os.Exit(1)
	}
	lambda.Start(handler)
}

// reportInitError tells the runtime API at addr (host:port), which
// aws-lambda-go leaves to the function. Without an addr nothing is reported.
func reportInitError(ctx context.Context, addr string, err error) error {
	if addr == "" {
		return nil
	}
	const errorType = "Runtime.InitError"
	body, marshalErr := json.Marshal(messages.InvokeResponse_Error{Message: err.Error(), Type: errorType})
	if marshalErr != nil {
		return marshalErr
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/2018-06-01/runtime/init/error",
		bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Lambda-Runtime-Function-Error-Type", errorType)
	// The runtime API is on the machine itself: no proxy.
	client := http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("reporting the failed cold start: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("reporting the failed cold start: the runtime API answered %s", resp.Status)
	}
	return nil
}

// Handler adapts a function that takes the event's bytes, unchanged, and
// answers with a value that is sent as JSON.
func Handler[T any](handle func(ctx context.Context, event []byte) (T, error)) lambda.Handler {
	return handler[T](handle)
}

type handler[T any] func(ctx context.Context, event []byte) (T, error)

// typed is an error that names what went wrong. The name is in Lambda's record
// of an invocation that it gave up.
type typed interface {
	error
	ErrorType() string
}

// Invoke implements lambda.Handler.
func (h handler[T]) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	result, err := h(ctx, event)
	if t, ok := errors.AsType[typed](err); ok {
		return nil, messages.InvokeResponse_Error{Message: err.Error(), Type: t.ErrorType()}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

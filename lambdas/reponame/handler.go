package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sort"
	"strings"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/lambdafn"
)

const (
	// physicalID never changes: a new one would make CloudFormation delete
	// what it believes to be the old resource.
	physicalID = "soci-index-builder-repository-arns"

	// maxResponse is what CloudFormation takes of a custom resource's
	// response, in bytes. It waits for an hour for an answer when it gets a
	// larger one.
	maxResponse = 4096

	// propertyFilters is the only property that is read. Others may be there
	// to make CloudFormation call again when they change.
	propertyFilters = "Filters"
)

var (
	errNoFilters   = errors.New("property Filters is missing: allowed is a list of repository:tag, or a string of them separated by commas")
	errFiltersType = errors.New("property Filters is of the wrong type: allowed is a list of strings, or one string")
	errTooMany     = errors.New("too many repositories")
	errRequestType = errors.New("unknown request type: allowed are Create, Update and Delete")
	errFunctionARN = errors.New("the invocation does not name the function's ARN")
)

type handler struct {
	logger *slog.Logger
}

// respond answers CloudFormation through the event's ResponseURL, a panic
// included. Its own error means that no answer arrived.
func (h *handler) respond(ctx context.Context, event cfn.Event) (string, error) {
	_, err := cfn.LambdaWrap(h.handle)(ctx, event)
	// The response URL is signed: it must reach neither the log nor the
	// result of the invocation.
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if err != nil {
		err = fmt.Errorf("answering CloudFormation: %w", err)
		h.logger.ErrorContext(ctx, "response not sent", "class", lambdafn.Transient, "requestType", event.RequestType, "error", err)
		return "", err
	}
	return "", nil
}

// handle gives the answer as cfn.LambdaWrap sends it: within the limit,
// whatever happened.
func (h *handler) handle(ctx context.Context, event cfn.Event) (string, map[string]any, error) {
	logger := h.logger.With("requestType", event.RequestType, "stack", event.StackID, "resource", event.LogicalResourceID)
	if event.RequestType == cfn.RequestDelete {
		// There is nothing to delete, and a failure would hold the stack.
		logger.InfoContext(ctx, "resource deleted")
		if event.PhysicalResourceID != "" {
			return event.PhysicalResourceID, nil, nil
		}
		return physicalID, nil, nil
	}
	arns, err := repositoryARNs(ctx, event)
	data := map[string]any{"RepositoryArns": arns}
	if err == nil {
		if n := responseSize(event, data, ""); n > maxResponse {
			err = fmt.Errorf("%w: the answer with %d repository ARNs has %d bytes, CloudFormation takes %d; use fewer filters, or wider ones such as prod/*:*",
				errTooMany, len(arns), n, maxResponse)
		}
	}
	if err != nil {
		logger.ErrorContext(ctx, "filters refused", "class", lambdafn.Permanent, "error", err)
		return physicalID, nil, fit(event, err)
	}
	logger.InfoContext(ctx, "repositories named", "repositoryArns", arns)
	return physicalID, data, nil
}

func repositoryARNs(ctx context.Context, event cfn.Event) ([]string, error) {
	if event.RequestType != cfn.RequestCreate && event.RequestType != cfn.RequestUpdate {
		return nil, fmt.Errorf("%w, not %.100q", errRequestType, event.RequestType)
	}
	list, err := filterList(event.ResourceProperties[propertyFilters])
	if err != nil {
		return nil, err
	}
	parsed, err := filters.Parse(list)
	if err != nil {
		return nil, fmt.Errorf("property %s: %w", propertyFilters, err)
	}
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return nil, errFunctionARN
	}
	function, err := arn.Parse(lc.InvokedFunctionArn)
	if err != nil {
		return nil, fmt.Errorf("%w: %.200q: %w", errFunctionARN, lc.InvokedFunctionArn, err)
	}
	return parsed.RepositoryARNs(function.Partition, function.Region, function.AccountID), nil
}

// filterList reads the property as CloudFormation sends it: a
// CommaDelimitedList comes as a list, a String as a string.
func filterList(property any) (string, error) {
	switch p := property.(type) {
	case nil:
		return "", errNoFilters
	case string:
		return p, nil
	case []any:
		all := make([]string, len(p))
		for i, one := range p {
			s, ok := one.(string)
			if !ok {
				return "", fmt.Errorf("%w; number %d of the list is a %T", errFiltersType, i+1, one)
			}
			all[i] = s
		}
		return strings.Join(all, ","), nil
	}
	return "", fmt.Errorf("%w, not %T", errFiltersType, property)
}

// responseSize is the length in bytes of the answer that cfn sends.
func responseSize(event cfn.Event, data map[string]any, reason string) int {
	r := cfn.NewResponse(&event)
	r.Status = cfn.StatusSuccess // the longer of the two
	r.PhysicalResourceID = physicalID
	r.Data = data
	r.Reason = reason
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("internal error: a response of strings cannot be encoded: %v", err))
	}
	return len(b)
}

// reason is an error whose text was made to fit into the response.
type reason struct {
	text string
	err  error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.err }

// fit makes err's text one line, and cuts it so that the response stays
// within the limit.
func fit(event cfn.Event, err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if responseSize(event, nil, text) <= maxResponse {
		return &reason{text, err}
	}
	const more = "... (cut; the function's log has all of it)"
	runes := []rune(text)
	keep := sort.Search(len(runes), func(n int) bool {
		return responseSize(event, nil, string(runes[:n+1])+more) > maxResponse
	})
	return &reason{string(runes[:keep]) + more, err}
}

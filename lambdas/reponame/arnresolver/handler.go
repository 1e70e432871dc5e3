// Package arnresolver is the handler of the function behind the stack's custom
// resource: it turns the filters into the ARNs of the repositories that the
// generator may work on. It is a package of its own, since a main package cannot
// be imported by those who run the handler without Lambda.
package arnresolver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
)

// physicalID never changes: a new one would make CloudFormation delete what it
// believes to be the old resource.
const physicalID = "soci-index-builder-repository-arns"

// The properties that are read. Others may be there to make CloudFormation
// call again when they change.
const (
	// propertyFilters is the list of filters.
	propertyFilters = "Filters"

	// propertyFilterEnvironment is the environment of the filter function, but
	// for the filters and the generator's ARN.
	propertyFilterEnvironment = "FilterEnvironment"
)

// The classes of failure.Class. To import that package would link the engine.
const (
	permanent = "permanent"
	transient = "transient"
)

// What this function adds to the environment that it is given.
const (
	variableFilters   = "SOCI_REPOSITORY_IMAGE_TAG_FILTERS"
	variableGenerator = "SOCI_INDEX_GENERATOR_LAMBDA_ARN"
)

var (
	errProperty  = errors.New("the stack's template and the function do not fit together")
	errNoFilters = errors.New(
		"property Filters is missing: allowed is a list of repository:tag, or a string of them separated by commas")
	errFiltersType = errors.New("property Filters is of the wrong type: allowed is a list of strings, or one string")
	errRequestType = errors.New("unknown request type: allowed are Create, Update and Delete")
	errFunctionARN = errors.New("the invocation does not name the function's ARN")
)

// wrongType tells that a property, which the template makes, is not what it
// should be.
func wrongType(property, want string, got any) error {
	if got == nil {
		return fmt.Errorf("property %s is missing, it must be %s: %w", property, want, errProperty)
	}
	return fmt.Errorf("property %s is a %T, it must be %s: %w", property, got, want, errProperty)
}

// Handler answers CloudFormation. It holds no state between events.
type Handler struct {
	// Logger is required.
	Logger *slog.Logger

	// Broken is what is wrong with the function's environment. It is the
	// answer to everything but Delete: a function that does not start gives
	// none, and CloudFormation waits for one.
	Broken error
}

// Respond answers CloudFormation through the event's ResponseURL, a panic
// included. Its own error means that no answer arrived.
func (h *Handler) Respond(ctx context.Context, event cfn.Event) (string, error) {
	_, err := cfn.LambdaWrap(h.handle)(ctx, event)
	// The response URL is signed: it must reach neither the log nor the
	// result of the invocation.
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if err != nil {
		err = fmt.Errorf("answering CloudFormation: %w", err)
		h.Logger.ErrorContext(ctx, "response not sent", "class", transient, "requestType", event.RequestType, "error", err)
		return "", err
	}
	return "", nil
}

// handle returns the answer as cfn.LambdaWrap sends it: within the limit,
// whatever happened.
func (h *Handler) handle(ctx context.Context, event cfn.Event) (string, map[string]any, error) {
	logger := h.Logger.With("requestType", event.RequestType, "stack", event.StackID, "resource", event.LogicalResourceID)
	if event.RequestType == cfn.RequestDelete {
		// There is nothing to delete, and a failure would hold the stack.
		logger.InfoContext(ctx, "resource deleted")
		if event.PhysicalResourceID != "" {
			return event.PhysicalResourceID, nil, nil
		}
		return physicalID, nil, nil
	}
	arns, err := h.repositoryARNs(ctx, event)
	if err != nil {
		logger.ErrorContext(ctx, "filters refused", "class", permanent, "error", err)
		return physicalID, nil, fit(event, err)
	}
	logger.InfoContext(ctx, "repositories named", "repositoryArns", arns)
	return physicalID, answerData(arns), nil
}

// answerData is what the template reads of the answer. The digest is short,
// and another for other ARNs: it names the policy that is made of them.
func answerData(arns []string) map[string]any {
	sum := sha256.Sum256([]byte(strings.Join(arns, "\n")))
	return map[string]any{"RepositoryArns": arns, "RepositoryArnsDigest": hex.EncodeToString(sum[:8])}
}

// repositoryARNs returns the ARNs for the filters of the event, if everything
// fits that these go into.
func (h *Handler) repositoryARNs(ctx context.Context, event cfn.Event) ([]string, error) {
	if h.Broken != nil {
		return nil, h.Broken
	}
	if event.RequestType != cfn.RequestCreate && event.RequestType != cfn.RequestUpdate {
		return nil, fmt.Errorf("%w, not %.100q", errRequestType, event.RequestType)
	}
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return nil, errFunctionARN
	}
	function, err := arn.Parse(lc.InvokedFunctionArn)
	if err != nil {
		return nil, fmt.Errorf("%w: %.200q: %w", errFunctionARN, lc.InvokedFunctionArn, err)
	}
	list, err := filterList(event.ResourceProperties[propertyFilters])
	if err != nil {
		return nil, err
	}
	parsed, err := filters.Parse(list)
	if err != nil {
		return nil, fmt.Errorf("property %s: %w", propertyFilters, err)
	}
	// For the partition, region and account of the function.
	arns := parsed.RepositoryARNs(function.Partition, function.Region, function.AccountID)
	return arns, checkLimits(event, function, list, arns)
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

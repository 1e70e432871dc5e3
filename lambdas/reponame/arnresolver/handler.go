// Package arnresolver is the handler of the function behind the stack's custom
// resource: it turns the filters into the ARNs of the repositories that the
// generator may work on. It is separate from the main package, which cannot be
// imported, so that the handler can run without Lambda.
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
	"soci-index-builder/internal/function/contract"
	"soci-index-builder/internal/function/failure/class"
)

// physicalID never changes: a new one would make CloudFormation delete what it
// believes to be the old resource.
const physicalID = "soci-index-builder-repository-arns"

var (
	errProperty  = errors.New("the stack's template and the function do not fit together")
	errNoFilters = errors.New(
		"property Filters is missing: allowed is a list of repository:tag, or a string of them separated by commas")
	errFiltersType = errors.New("property Filters is of the wrong type: allowed is a list of strings, or one string")
	errRequestType = errors.New("unknown request type: allowed are Create, Update and Delete")
	errFunctionARN = errors.New("the invocation does not name the function's ARN")
)

// wrongType returns the error of a property, which the template makes, that is not what
// it should be.
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
	// answer to everything but Delete: a function that does not start
	// sends none, and CloudFormation waits for one.
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
		h.Logger.ErrorContext(ctx, "response not sent", "class", class.Transient, "requestType", event.RequestType,
			"error", err)
		return "", err
	}
	return "", nil
}

// handle returns the answer as cfn.LambdaWrap sends it: within the limit,
// whatever happened.
func (h *Handler) handle(ctx context.Context, event cfn.Event) (string, map[string]any, error) {
	logger := h.Logger.With("requestType", event.RequestType, "stack", event.StackID, "resource",
		event.LogicalResourceID)
	if event.RequestType == cfn.RequestDelete {
		// There is nothing to delete, and a failure would hold the stack.
		logger.InfoContext(ctx, "resource deleted")
		if event.PhysicalResourceID != "" {
			return event.PhysicalResourceID, nil, nil
		}
		return physicalID, nil, nil
	}
	arns, own, err := h.repositoryARNs(ctx, event)
	if err != nil {
		logger.ErrorContext(ctx, "filters refused", "class", class.Permanent, "error", err)
		return physicalID, nil, fit(event, err)
	}
	logger.InfoContext(ctx, "repositories named", "repositoryArns", arns)
	return physicalID, answerData(arns, own), nil
}

// answerData is what the template reads of the answer. The digest is short,
// and another for other ARNs: it names the policy that is made of them. own are
// the repositories of the functions' images, which the policy denies; none where
// the functions are zip files.
func answerData(arns []string, own ownRepositories) map[string]any {
	text := strings.Join(arns, "\n")
	if len(own.arns) > 0 {
		text += "\n!" + strings.Join(own.arns, "\n!")
	}
	sum := sha256.Sum256([]byte(text))
	data := map[string]any{contract.AttrARNs: arns, contract.AttrDigest: hex.EncodeToString(sum[:8])}
	if len(own.arns) > 0 {
		data[contract.AttrOwnARNs], data[contract.AttrOwnNames] = own.arns, own.names
	}
	return data
}

// repositoryARNs returns the ARNs for the filters of the event, and those of the
// repositories of the functions' images, if everything fits that these go into.
func (h *Handler) repositoryARNs(ctx context.Context, event cfn.Event) (arns []string, own ownRepositories, _ error) {
	if h.Broken != nil {
		return nil, own, h.Broken
	}
	if event.RequestType != cfn.RequestCreate && event.RequestType != cfn.RequestUpdate {
		return nil, own, fmt.Errorf("%w, not %.100q", errRequestType, event.RequestType)
	}
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return nil, own, errFunctionARN
	}
	function, err := arn.Parse(lc.InvokedFunctionArn)
	if err != nil {
		return nil, own, fmt.Errorf("%w: %.200q: %w", errFunctionARN, lc.InvokedFunctionArn, err)
	}
	list, err := filterList(event.ResourceProperties[contract.PropFilters])
	if err != nil {
		return nil, own, err
	}
	parsed, err := filters.Parse(list)
	if err != nil {
		return nil, own, fmt.Errorf("property %s: %w", contract.PropFilters, err)
	}
	// For the partition, region and account of the function.
	arns = parsed.RepositoryARNs(function.Partition, function.Region, function.AccountID)
	if own, err = findOwn(event.ResourceProperties[contract.PropCode], function); err != nil {
		return nil, own, err
	}
	return arns, own, checkLimits(event, function, list, arns, own)
}

// ownRepositories are those of the functions' own images.
type ownRepositories struct {
	arns  []string
	names string // with commas between them
}

// findOwn reads them from the property: images have URIs with a digest, which
// the prefix of zip files' keys cannot be.
func findOwn(property any, function arn.ARN) (own ownRepositories, _ error) {
	code, _ := property.(string)
	if !strings.Contains(code, "@sha256:") {
		return own, nil
	}
	all, err := filters.OwnRepositories(code)
	if err != nil {
		return own, fmt.Errorf("property %s: %w: %w", contract.PropCode, errProperty, err)
	}
	own.names = strings.Join(all, ",")
	for _, name := range all {
		own.arns = append(own.arns, arn.ARN{Partition: function.Partition, Service: "ecr", Region: function.Region,
			AccountID: function.AccountID, Resource: "repository/" + name}.String())
	}
	return own, nil
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

package arnresolver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"soci-index-builder/internal/function/contract"
)

// AWS's limits on everything that is made from the filters.
const (
	// maxResponse is CloudFormation's limit of a custom resource's response,
	// in bytes. It waits until its timeout for an answer when it gets a larger
	// one. ARNs that fit into a response fit twice, as an update needs it, into
	// the inline policies of the generator's role, of which IAM takes 10,240
	// characters: the stack's tests reckon it for the longest names.
	maxResponse = 4096

	// maxEnvironment is Lambda's limit of a function's environment, in bytes
	// of the JSON object that it makes of it; the message of its refusal shows
	// what was measured.
	maxEnvironment = 4096
)

var (
	errTooMany = errors.New("too many repositories")
	errTooLong = errors.New("the filters are too long")
)

// advice ends the messages of both.
const advice = "use fewer filters, or wider ones such as prod/*:*"

// maxFunctionName is the longest name of a function. The generator has none
// yet when this function is called.
const maxFunctionName = 64

// checkLimits measures everything that the filters go into, before
// CloudFormation makes any of it. Its error joins what does not fit.
func checkLimits(event cfn.Event, function arn.ARN, list string, arns []string,
	own ownRepositories) error {
	var errs []error
	if n := responseSize(event, answerData(arns, own), ""); n > maxResponse {
		errs = append(errs,
			fmt.Errorf("%w: the answer with %d repository ARNs has %d bytes, CloudFormation takes %d; %s",
				errTooMany, len(arns), n, maxResponse, advice))
	}
	function.Resource = "function:" + strings.Repeat("x", maxFunctionName)
	if n, err := environmentSize(event.ResourceProperties[contract.PropFilterEnvironment], list,
		function.String(), own.names); err != nil {
		errs = append(errs, err)
	} else if n > maxEnvironment {
		errs = append(errs, fmt.Errorf(
			"%w: with them the environment of the filter function has %d bytes, Lambda takes %d; %s",
			errTooLong, n, maxEnvironment, advice))
	}
	return errors.Join(errs...)
}

// environmentSize returns the size in bytes of the filter function's
// environment, as Lambda measures it.
func environmentSize(property any, list, generator, own string) (int, error) {
	given, ok := property.(map[string]any)
	if !ok {
		return 0, wrongType(contract.PropFilterEnvironment, "an object of variables", property)
	}
	variables := map[string]any{contract.VarFilters: list, contract.VarGenerator: generator}
	if own != "" {
		variables[contract.VarOwnRepositories] = own
	}
	maps.Copy(variables, given)
	return len(compact(variables)), nil
}

// compact is JSON without white space, and without the escapes that HTML needs.
func compact(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("internal error: what came as JSON cannot be encoded: %v", err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
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

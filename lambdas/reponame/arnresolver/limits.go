package arnresolver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/cfn"
)

// What AWS takes at most of what the filters go into.
const (
	// maxResponse is CloudFormation's limit of a custom resource's response,
	// in bytes. It waits until its timeout for an answer when it gets a larger
	// one.
	maxResponse = 4096

	// maxRolePolicies is IAM's limit of all inline policies of a role
	// together, in characters. It does not count white space.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
	maxRolePolicies = 10_240

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

// checkLimits measures everything that the filters go into, before
// CloudFormation makes any of it. Its error joins what does not fit. The ARNs
// of the filters before an update count as well, since the policy that was
// made of them stays until the update is through.
func checkLimits(event cfn.Event, arns, before []string) error {
	var errs []error
	if n := responseSize(event, answerData(arns), ""); n > maxResponse {
		errs = append(errs, fmt.Errorf("%w: the answer with %d repository ARNs has %d bytes, CloudFormation takes %d; %s",
			errTooMany, len(arns), n, maxResponse, advice))
	}
	if slices.Equal(arns, before) {
		before = nil // the same policy
	}
	if n, err := policiesSize(event.ResourceProperties[propertyRolePolicies], arns, before); err != nil {
		errs = append(errs, err)
	} else if n > maxRolePolicies {
		updated := ""
		if before != nil {
			updated = fmt.Sprintf(" beside the %d of the filters until now", len(before))
		}
		errs = append(errs, fmt.Errorf("%w: with %d repository ARNs%s the inline policies of the generator's role have %d characters, IAM takes %d; %s",
			errTooMany, len(arns), updated, n, maxRolePolicies, advice))
	}
	if n, err := environmentSize(event.ResourceProperties[propertyFilterEnvironment]); err != nil {
		errs = append(errs, err)
	} else if n > maxEnvironment {
		errs = append(errs, fmt.Errorf("%w: with them the environment of the filter function has %d bytes, Lambda takes %d; %s",
			errTooLong, n, maxEnvironment, advice))
	}
	return errors.Join(errs...)
}

// policiesSize gives the size of a role's policies as IAM counts it: that of
// the documents without white space, the ARNs in the place that is kept for
// them. A document with such a place counts twice when there are ARNs before
// these.
func policiesSize(property any, arns, before []string) (int, error) {
	documents, ok := property.([]any)
	if !ok {
		return 0, wrongType(propertyRolePolicies, "a list of policy documents", property)
	}
	size, found := 0, false
	for i, document := range documents {
		if _, ok := document.(map[string]any); !ok {
			return 0, fmt.Errorf("%w; number %d of the list is a %T", wrongType(propertyRolePolicies, "a list of policy documents", property), i+1, document)
		}
		filled, has := fill(document, arns)
		size += utf8.RuneCount(compact(filled))
		if found = found || has; has && before != nil {
			filled, _ = fill(document, before)
			size += utf8.RuneCount(compact(filled))
		}
	}
	if !found {
		return 0, fmt.Errorf("property %s has no %q where the repositories' ARNs go: %w", propertyRolePolicies, placeholder, errProperty)
	}
	return size, nil
}

// fill puts the ARNs into every place that is kept for them, and tells whether
// there is one. v stays as it is.
func fill(v any, arns []string) (filled any, found bool) {
	switch v := v.(type) {
	case string:
		if v == placeholder {
			return arns, true
		}
	case []any:
		all := make([]any, 0, len(v))
		for _, one := range v {
			if one == any(placeholder) {
				found = true
				for _, arn := range arns {
					all = append(all, arn)
				}
				continue
			}
			filled, has := fill(one, arns)
			all, found = append(all, filled), found || has
		}
		return all, found
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, one := range v {
			filled, has := fill(one, arns)
			all[name], found = filled, found || has
		}
		return all, found
	}
	return v, false
}

func environmentSize(property any) (int, error) {
	variables, ok := property.(map[string]any)
	if !ok {
		return 0, wrongType(propertyFilterEnvironment, "an object of variables", property)
	}
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

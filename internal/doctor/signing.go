package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/text/plural"
)

// signing looks whether ECR's managed signing signs what the generator pushes.
// ECR signs in the pusher's name: without permission for a rule's profile
// the SOCI-enabled image is pushed, and stays unsigned.
func (x *examination) signing(ctx context.Context) ([]Finding, error) {
	allowed := x.stack.SigningProfiles()
	out, err := x.ecr.GetSigningConfiguration(ctx, &ecr.GetSigningConfigurationInput{})
	_, none := errors.AsType[*types.SigningConfigurationNotFoundException](err)
	if awscode.Of(err) == "UnknownOperationException" {
		none = true // the region does not have managed signing
	}
	if err != nil && !none {
		return nil, fmt.Errorf("reading the registry's signing configuration: %w", err)
	}
	var rules []types.SigningRule
	if out != nil && out.SigningConfiguration != nil {
		rules = out.SigningConfiguration.Rules
	}
	var (
		found   []Finding
		lacking []string
	)
	for _, rule := range rules {
		profile := aws.ToString(rule.SigningProfileArn)
		matched := x.signedBy(rule)
		if slices.Contains(lacking, profile) || len(matched) == 0 || slices.Contains(allowed, profile) {
			continue
		}
		lacking = append(lacking, profile)
		found = append(found, Finding{CheckSigning, Warning, profile,
			fmt.Sprintf("signs what is pushed to %s (%s, ...), but not what the generator pushes",
				plural.Count(len(matched), "chosen repository", "chosen repositories"), matched[0]), ""})
	}
	for i := range found {
		found[i].Hint = x.allowSigning(allowed, lacking)
	}
	for _, profile := range allowed {
		if !slices.ContainsFunc(rules,
			func(r types.SigningRule) bool { return aws.ToString(r.SigningProfileArn) == profile }) {
			found = append(found, Finding{CheckSigning, Warning, profile,
				"the generator may sign with it, but no rule of the registry's signing configuration uses it",
				"add the rule (aws ecr put-signing-configuration), or take the profile out of the stack's parameter " +
					deployed.ParamSigningProfiles})
		}
	}
	if len(rules) == 0 {
		return wellOr(found, CheckSigning, "managed signing is off; the builder does not depend on it"), nil
	}
	return wellOr(found, CheckSigning, "what the generator pushes is signed as the registry's %s",
		plural.Count(len(rules), "rule says", "rules say")), nil
}

// maxSigningProfiles is how many the stack's parameter takes.
const maxSigningProfiles = 3

// allowSigning is the hint of profiles that the generator may not sign with. It is
// the same for all of them, since a parameter that is set twice has the last value.
func (x *examination) allowSigning(allowed, lacking []string) string {
	all := slices.Concat(allowed, lacking)
	if len(all) > maxSigningProfiles {
		return fmt.Sprintf(
			"the stack's parameter %s takes %d profiles, and these would be %d: let the rules share profiles",
			deployed.ParamSigningProfiles, maxSigningProfiles, len(all))
	}
	return "set the stack's parameter: soci-index-builder deploy --stack " + x.stack.Name + x.region() +
		" --parameter " +
		deployed.ParamSigningProfiles + "=" + strings.Join(all, ",")
}

// signedBy returns the repositories that the stack's filters choose and the rule
// is about.
func (x *examination) signedBy(rule types.SigningRule) []string {
	var names []string
	for _, r := range x.chosen {
		name := aws.ToString(r.RepositoryName)
		if len(rule.RepositoryFilters) == 0 || slices.ContainsFunc(rule.RepositoryFilters,
			func(f types.SigningRepositoryFilter) bool { return iampolicy.Match(aws.ToString(f.Filter), name) }) {
			names = append(names, name)
		}
	}
	return names
}

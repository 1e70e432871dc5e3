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
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/plural"
	"soci-index-builder/pkg/soci"
)

// listRepositories finds the repositories of the account, and those that the
// filters choose from: none that a function's image is in.
func (x *examination) listRepositories(ctx context.Context, source *inventory.ECRSource) {
	own := x.stack.OwnRepositories()
	for r, err := range source.Describe(ctx) {
		if err != nil {
			x.repositoriesErr = err
			return
		}
		x.repositories = append(x.repositories, r)
		if name := aws.ToString(r.RepositoryName); x.stack.Filters.MatchesRepository(name) && !slices.Contains(own, name) {
			x.chosen = append(x.chosen, r)
		}
	}
}

// each calls look for every repository that the filters choose from, some at
// once, and returns what they found in order. A repository deleted in the
// meantime is skipped.
func (x *examination) each(ctx context.Context,
	look func(ctx context.Context, name string) ([]Finding, error)) ([]Finding, error) {
	found := make([][]Finding, len(x.chosen))
	errs := make([]error, len(x.chosen))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, r := range x.chosen {
		g.Go(func() error {
			found[i], errs[i] = look(ctx, aws.ToString(r.RepositoryName))
			if _, gone := errors.AsType[*types.RepositoryNotFoundException](errs[i]); gone {
				errs[i] = nil
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), errors.Join(errs...)
}

// filters looks whether each filter has repositories to choose from.
func (x *examination) filters(context.Context) ([]Finding, error) {
	names := make([]string, len(x.repositories))
	for i, r := range x.repositories {
		names[i] = aws.ToString(r.RepositoryName)
	}
	var found []Finding
	for _, text := range x.stack.Filters.Unused(names) {
		found = append(found, Finding{CheckFilters, Warning, text,
			"matches none of the " + plural.Count(len(names), "repository", "repositories") + " of this account and region",
			"if it is mistyped, update the stack with the parameter " + deployed.ParamFilters +
				"; try it first: soci-index-builder filters test --filters"})
	}
	return wellOr(found, CheckFilters, "choose from %d of %s", len(x.chosen),
		plural.Count(len(names), "repository", "repositories")), nil
}

// repositoryPolicies looks for statements that keep the generator from its
// work. That a policy does not allow it does not matter: its role does.
func (x *examination) repositoryPolicies(ctx context.Context) ([]Finding, error) {
	role := x.roleARN(x.stack.Outputs[deployed.OutGeneratorRoleName])
	found, err := x.each(ctx, func(ctx context.Context, name string) ([]Finding, error) {
		out, err := x.ecr.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &name})
		if _, none := errors.AsType[*types.RepositoryPolicyNotFoundException](err); none {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the policy of repository %s: %w", name, err)
		}
		policy, err := iampolicy.Parse([]byte(aws.ToString(out.PolicyText)))
		if err != nil {
			return nil, fmt.Errorf("reading the policy of repository %s: %w", name, err)
		}
		var found []Finding
		for i, s := range policy.Statements {
			if f, denies := denial(s, i+1, role); denies {
				f.Subject = name
				f.Cure += x.region()
				found = append(found, f)
			}
		}
		return found, nil
	})
	if err == nil {
		found = wellOr(found, CheckPolicy, "none of %s denies the generator anything",
			plural.Count(len(x.chosen), "repository", "repositories"))
	}
	return found, err
}

// denial judges one statement of a repository's policy by what the generator
// does in repositories.
func denial(s iampolicy.Statement, number int, role string) (Finding, bool) {
	if !s.Deny || !s.HasRole(role) {
		return Finding{}, false
	}
	var actions []string
	for _, need := range permission.Functions["indexgen"] {
		if need.On == permission.Repositories && s.HasAction(need.Action) {
			actions = append(actions, need.Action)
		}
	}
	if len(actions) == 0 {
		return Finding{}, false
	}
	name := fmt.Sprintf("statement %d", number)
	if s.ID != "" {
		name += " (" + s.ID + ")"
	}
	f := Finding{Check: CheckPolicy, Severity: Problem, Found: name + " of its policy denies the generator " +
		strings.Join(actions, ", "),
		Cure: "take " + role + " out of that statement: aws ecr set-repository-policy"}
	if s.Condition != nil {
		f.Severity = Warning
		f.Found = name + " of its policy denies the generator, under a condition, " + strings.Join(actions, ", ")
		f.Cure = "see whether the condition holds for " + role + ": aws ecr get-repository-policy"
	}
	return f, true
}

// encryption reports how repositories are encrypted. ECR uses a KMS key through
// its own grant, so that clients need no permission on the key.
func (x *examination) encryption(context.Context) ([]Finding, error) {
	n := 0
	for _, r := range x.chosen {
		if c := r.EncryptionConfiguration; c != nil && c.EncryptionType != types.EncryptionTypeAes256 {
			n++
		}
	}
	f := Finding{Check: CheckEncryption, Severity: OK, Found: "no repository is encrypted under a KMS key"}
	if n > 0 {
		f.Found = plural.Count(n, "repository is", "repositories are") +
			" encrypted under a KMS key, for which the generator needs no right"
	}
	return []Finding{f}, nil
}

// enabled reports whether the stack makes SOCI-enabled images.
func (x *examination) enabled() bool { return x.stack.IndexVersion() != soci.V1 }

// anything stands for what the wildcard of a filter takes: no pattern has it among
// its literals.
const anything = "\x00"

// mutability looks whether the tags of SOCI-enabled images can follow their
// originals.
func (x *examination) mutability(context.Context) ([]Finding, error) {
	if !x.enabled() {
		return []Finding{{Check: CheckMutability, Severity: OK, Found: "the stack makes no SOCI-enabled images"}}, nil
	}
	var found []Finding
	for _, r := range x.chosen {
		name := aws.ToString(r.RepositoryName)
		if !x.immutable(r) {
			continue
		}
		filters := "filterType=WILDCARD,filter='*" + x.stack.TagSuffix() + "'"
		for _, f := range r.ImageTagMutabilityExclusionFilters {
			filters += " filterType=WILDCARD,filter='" + aws.ToString(f.Filter) + "'"
		}
		f := Finding{CheckMutability, Warning, name,
			"its tags are immutable, those that end with " + x.stack.TagSuffix() +
				" too: such a tag can be made, but never corrected",
			"aws ecr put-image-tag-mutability --repository-name " + name +
				" --image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters " + filters + x.region()}
		if r.ImageTagMutability == types.ImageTagMutabilityMutableWithExclusion {
			f.Found = "the filters of its mutable tags make those that end with " + x.stack.TagSuffix() +
				" immutable: such a tag can be made, but never corrected"
			f.Cure = "leave tags that end with " + x.stack.TagSuffix() +
				" out of the filters: aws ecr put-image-tag-mutability --repository-name " + name + x.region()
		}
		found = append(found, f)
	}
	return wellOr(found, CheckMutability, "tags that end with %s can be moved in %s", x.stack.TagSuffix(),
		plural.Count(len(x.chosen), "repository", "repositories")), nil
}

// immutable reports whether some suffixed tag of an image that the filters
// choose can be immutable.
func (x *examination) immutable(r types.Repository) bool {
	switch r.ImageTagMutability {
	case types.ImageTagMutabilityImmutable:
		return true
	case types.ImageTagMutabilityImmutableWithExclusion, types.ImageTagMutabilityMutableWithExclusion:
	default:
		return false
	}
	for _, pattern := range x.stack.Filters.TagPatterns(aws.ToString(r.RepositoryName)) {
		tag := strings.ReplaceAll(pattern, "*", anything) + x.stack.TagSuffix()
		covered := slices.ContainsFunc(r.ImageTagMutabilityExclusionFilters,
			func(f types.ImageTagMutabilityExclusionFilter) bool {
				return iampolicy.Match(aws.ToString(f.Filter), tag)
			})
		// What is excluded from one is the other.
		if covered == (r.ImageTagMutability == types.ImageTagMutabilityMutableWithExclusion) {
			return true
		}
	}
	return false
}

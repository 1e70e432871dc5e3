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

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/text/plural"
	"soci-index-builder/pkg/soci"
)

// listRepositories finds the repositories of the account, and those that the
// filters choose from: none that a function's image is in, or was before a
// change to zip files. Such images have the label that keeps them from being indexed.
func (x *examination) listRepositories(ctx context.Context, source *inventory.ECRSource) {
	own := x.stack.OwnRepositories()
	for r, err := range source.Describe(ctx) {
		if err != nil {
			x.repositoriesErr = err
			return
		}
		x.repositories = append(x.repositories, r)
		if name := aws.ToString(r.RepositoryName); x.stack.Filters.MatchesRepository(name) &&
			!slices.Contains(own, name) &&
			!companion.IsRepositoryName(name) {
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
			"matches none of the " + plural.Count(len(names), "repository", "repositories") +
				" of this account and region",
			"if it is mistyped, update the stack with the parameter " + deployed.ParamFilters +
				"; try it first: soci-index-builder filters test --filters FILTERS REPOSITORY:TAG"})
	}
	return wellOr(found, CheckFilters, "choose from %d of %s", len(x.chosen),
		plural.Count(len(names), "repository", "repositories")), nil
}

// worker is a function that works in repositories.
type worker struct {
	text     string // for people
	function string // as package permission knows it
	role     string // name
}

// workers returns the functions that work in repositories, the generator first.
// A stack of an older version has no other.
func (x *examination) workers() []worker {
	all := []worker{{"the generator", "indexgen", x.stack.Outputs[deployed.OutGeneratorRoleName]}}
	for _, r := range x.of(typeRole) {
		if r.id == deployed.StepsRoleID {
			all = append(all, worker{"the steps of the state machine", "steps", r.physical})
		}
	}
	return all
}

// repositoryPolicies looks for statements that keep the generator or the steps
// from their work. That a policy does not allow it does not matter: their roles
// do.
func (x *examination) repositoryPolicies(ctx context.Context) ([]Finding, error) {
	workers := x.workers()
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
			for _, f := range x.denials(s, i+1, workers) {
				f.Subject = name
				f.Hint += policyOf(s, name) + x.region()
				found = append(found, f)
			}
		}
		return found, nil
	})
	if err == nil {
		found = wellOr(found, CheckPolicy, "none of %s denies the functions anything",
			plural.Count(len(x.chosen), "repository", "repositories"))
	}
	return found, err
}

// denials judges one statement of a repository's policy by what the functions do
// in repositories. Those that lack the same are in one finding.
func (x *examination) denials(s iampolicy.Statement, number int, workers []worker) []Finding {
	name := fmt.Sprintf("statement %d", number)
	if s.ID != "" {
		name += " (" + s.ID + ")"
	}
	var (
		found   []Finding
		actions []string                // that each of these is denied
		who     = map[string][]worker{} // by the actions
	)
	for _, w := range workers {
		if denied := strings.Join(denied(s, w, x.roleARN(w.role)), ", "); denied != "" {
			if who[denied] == nil {
				actions = append(actions, denied)
			}
			who[denied] = append(who[denied], w)
		}
	}
	for _, list := range actions {
		first, also, roles := who[list][0], "", []string(nil)
		for i, w := range who[list] {
			roles = append(roles, x.roleARN(w.role))
			if i > 0 {
				also += "; " + w.text + " too"
			}
		}
		f := Finding{Check: CheckPolicy, Severity: Problem,
			Found: name + " of its policy denies " + first.text + " " + list + also,
			Hint:  "take " + strings.Join(roles, " and ") + " out of that statement: aws ecr set-repository-policy"}
		if s.Condition != nil {
			f.Severity = Warning
			f.Found = name + " of its policy denies " + first.text + ", under a condition, " + list + also
			f.Hint = "see whether the condition holds for " + strings.Join(roles, " and ") +
				": aws ecr get-repository-policy"
		}
		found = append(found, f)
	}
	return found
}

// policyOf returns the rest of the command with which a repository's policy is
// read, where a statement has a condition, or else replaced.
func policyOf(s iampolicy.Statement, repository string) string {
	if s.Condition != nil {
		return " --repository-name " + repository
	}
	return " --repository-name " + repository + " --policy-text file://policy.json"
}

// denied returns the actions of a function in repositories that a statement
// denies its role.
func denied(s iampolicy.Statement, w worker, role string) []string {
	var actions []string
	if !s.Deny || !s.HasRole(role) {
		return nil
	}
	for _, need := range permission.Functions[w.function] {
		if need.On == permission.Repositories && s.HasAction(need.Action) {
			actions = append(actions, need.Action)
		}
	}
	return actions
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
			" encrypted under a KMS key, for which the generator needs no permission"
	}
	return []Finding{f}, nil
}

// enabled reports whether the stack makes SOCI-enabled images.
func (x *examination) enabled() bool { return x.stack.IndexVersion() != soci.V1 }

// anything is the placeholder for what a filter's wildcard matches: no pattern has it
// among its literals.
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
				" --image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters " + filters +
				x.region()}
		if r.ImageTagMutability == types.ImageTagMutabilityMutableWithExclusion {
			f.Found = "the filters of its mutable tags make those that end with " + x.stack.TagSuffix() +
				" immutable: such a tag can be made, but never corrected"
			f.Hint = "leave tags that end with " + x.stack.TagSuffix() +
				" out of the filters: aws ecr put-image-tag-mutability --repository-name " + name +
				" --image-tag-mutability " +
				"MUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters filterType=WILDCARD,filter='PATTERN'" +
				x.region()
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
		// A tag that an exclusion covers has the opposite mutability.
		if covered == (r.ImageTagMutability == types.ImageTagMutabilityMutableWithExclusion) {
			return true
		}
	}
	return false
}

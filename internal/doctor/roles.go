package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/text/plural"
)

// roles looks whether each function's role has the permissions that the template
// gives it, the generator's on the repositories of the filters among them.
func (x *examination) roles(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	all := x.of(typeRole)
	for _, r := range all {
		some, err := x.role(ctx, r)
		found = append(found, some...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		found = wellOr(found, CheckRole, "%d roles have the stack's permissions, on %s", len(all),
			plural.Count(len(x.repositoryARNs()), "pattern of repositories", "patterns of repositories"))
	}
	return found, errors.Join(errs...)
}

func (x *examination) repositoryARNs() []string {
	return x.stack.Filters.RepositoryARNs(x.stack.Partition, x.stack.Region, x.stack.Account)
}

func (x *examination) role(ctx context.Context, r resource) ([]Finding, error) {
	out, err := x.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &r.physical})
	if _, gone := errors.AsType[*types.NoSuchEntityException](err); gone {
		return []Finding{x.deleted(CheckRole, Problem, r.physical)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading role %s: %w", r.physical, err)
	}
	var found []Finding
	boundary := ""
	if b := out.Role.PermissionsBoundary; b != nil {
		boundary = aws.ToString(b.PermissionsBoundaryArn)
	}
	if want := r.want.text("PermissionsBoundary"); boundary != want {
		found = append(found, Finding{CheckRole, Warning, r.physical,
			fmt.Sprintf("has permissions boundary %s, the stack's is %s", orNone(boundary), orNone(want)), byHand})
	}
	live, err := x.inlinePolicies(ctx, r.physical)
	if err != nil {
		return found, err
	}
	want, err := x.wantedRights(r)
	if err != nil {
		return found, err
	}
	var missing []string
	for _, statement := range want {
		for _, arn := range statement.Resources {
			for _, action := range statement.Actions {
				what := action + " on " + arn
				switch {
				case slices.Contains(missing, what):
				case statement.Deny && !denies(live, action, arn):
					found = append(found,
						Finding{CheckRole, Warning, r.physical, "may use " + what + ", which the stack denies it",
							byHand})
				case !statement.Deny && !permits(live, action, arn) && permits(want, action, arn):
					missing = append(missing, what)
				}
			}
		}
	}
	if len(missing) > 0 {
		more := ""
		const show = 3
		if len(missing) > show {
			more = fmt.Sprintf(" and %d more", len(missing)-show)
			missing = missing[:show]
		}
		found = append(found, Finding{CheckRole, Problem, r.physical, "lacks " + strings.Join(missing, ", ") + more,
			"put the permission back into an inline policy of the role (docs/permissions.md): an update of the stack " +
				"leaves it as it is now"})
	}
	return found, nil
}

// permits reports whether statements allow an action on a resource, and none
// without a condition denies it.
func permits(statements []iampolicy.Statement, action, arn string) bool {
	allowed := false
	for _, s := range statements {
		if !s.HasAction(action) || !s.HasResource(arn) || s.Condition != nil {
			continue
		}
		if s.Deny {
			return false
		}
		allowed = true
	}
	return allowed
}

// denies reports whether a statement without a condition denies an action on a
// resource.
func denies(statements []iampolicy.Statement, action, arn string) bool {
	return slices.ContainsFunc(statements, func(s iampolicy.Statement) bool {
		return s.Deny && s.Condition == nil && s.HasAction(action) && s.HasResource(arn)
	})
}

func (x *examination) inlinePolicies(ctx context.Context, role string) ([]iampolicy.Statement, error) {
	var statements []iampolicy.Statement
	pages := iam.NewListRolePoliciesPaginator(x.iam, &iam.ListRolePoliciesInput{RoleName: &role})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the policies of role %s: %w", role, err)
		}
		for _, name := range out.PolicyNames {
			policy, err := x.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
			if err != nil {
				return nil, fmt.Errorf("reading policy %s of role %s: %w", name, role, err)
			}
			text, err := url.PathUnescape(aws.ToString(policy.PolicyDocument))
			if err == nil {
				var p iampolicy.Policy
				p, err = iampolicy.Parse([]byte(text))
				statements = append(statements, p.Statements...)
			}
			if err != nil {
				return nil, fmt.Errorf("reading policy %s of role %s: %w", name, role, err)
			}
		}
	}
	return statements, nil
}

// wantedRights are the statements of all policies that the template gives the
// role.
func (x *examination) wantedRights(r resource) ([]iampolicy.Statement, error) {
	documents := []any{}
	for _, p := range r.want.list("Policies") {
		documents = append(documents, p.at("PolicyDocument"))
	}
	for _, p := range x.of(typeRolePolicy) {
		if p.want.text("RoleName") == r.physical {
			documents = append(documents, p.want.at("PolicyDocument"))
		}
	}
	var statements []iampolicy.Statement
	for _, d := range documents {
		b, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("reading the stack's policies: %w", err)
		}
		p, err := iampolicy.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("reading the stack's policies: %w", err)
		}
		statements = append(statements, p.Statements...)
	}
	return statements, nil
}

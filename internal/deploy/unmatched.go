package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/text/plural"
)

// lookForRepositories is how long the list of repositories is waited for.
const lookForRepositories = 20 * time.Second

// unmatched says which of the new filters match no repository, before anything is
// made. Such a filter is allowed: it may be for what is pushed later. So it is
// no failure either when the repositories cannot be listed, or when there is none.
func (d *Deploy) unmatched(ctx context.Context) []string {
	given := d.Settings.Filters
	if given == "" || d.Mode.Rollback || d.Mode.CodeOnly {
		return nil
	}
	if s := d.stack(); s != nil && s.Parameters[deployed.ParamFilters] == given {
		return nil
	}
	f, err := filters.Parse(given)
	if err != nil {
		return nil // settings.Resolve has refused it
	}
	ctx, cancel := context.WithTimeout(ctx, lookForRepositories)
	defer cancel()
	var names []string
	for name, err := range inventory.ECR(d.AWS).Repositories(ctx) {
		if err != nil {
			return nil
		}
		names = append(names, name)
	}
	unused := slices.DeleteFunc(f.Unused(names), func(filter string) bool { return strings.HasPrefix(filter, "!") })
	if len(unused) == 0 || len(names) == 0 {
		return nil
	}
	what := "filter " + unused[0] + " matches"
	if len(unused) > 1 {
		what = "filters " + strings.Join(unused, ", ") + " match"
	}
	return []string{fmt.Sprintf("warning: %s no repository of this account and region, which has %s; to try filters: "+
		"soci-index-builder filters test --filters FILTERS REPOSITORY:TAG", what,
		plural.Count(len(names), "repository", "repositories"))}
}

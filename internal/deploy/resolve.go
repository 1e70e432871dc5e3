package deploy

import (
	"fmt"
	"maps"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
)

// StackSettings are those that a stack has, for settings.Resolve and
// guided.Account; none when it is not there, or was never in use.
func StackSettings(t *target.Target) settings.Given {
	if t == nil || t.Stack == nil || t.Stack.Condition() == target.Leftover {
		return settings.Given{}
	}
	s := t.Stack
	out := settings.Settings{NotificationARNs: s.NotificationARNs, Tags: maps.Clone(s.Tags)}
	delete(out.Tags, ours.TagKey)
	out.Package, out.Architecture = codeOf(s.Template)
	bucket := s.Parameters[deployed.ParamCodeBucket]
	if out.Package == embedded.Zip && !names.IsManagedBucket(bucket, t.Account, t.Region) {
		out.Bucket = bucket
	}
	if out.Package == embedded.Image {
		out.Repositories = ownRepositories(t, s)
	}
	return settings.Of(settings.Stack, out)
}

// ownRepositories are the user's repositories that a stack has images in: those
// of the account and region that are not the companion stack's.
func ownRepositories(t *target.Target, s *target.Stack) map[string]string {
	own := map[string]string{}
	for _, f := range companion.Functions {
		uri := repositoryOf(s.Parameters[f.Parameter])
		if lambdaimage.CheckRepository(uri, t.Account, t.Region) == nil && !isManaged(t, s.Name, f.LogicalID, uri) {
			own[f.LogicalID] = uri
		}
	}
	return own
}

// isManaged reports whether a repository has the name that the companion stack
// gives to that of a function.
func isManaged(t *target.Target, stack, function, uri string) bool {
	managed, err := companion.RepositoryURI(t.Account, t.Region, stack, function)
	return err == nil && uri == managed
}

// resolve settles what is deployed, as far as the stack is known: what the user
// gave, then what the stack has, then the defaults.
func (d *Deploy) resolve() error {
	layers := []settings.Given{d.Given}
	var has map[string]string
	if s := d.stack(); s != nil {
		layers = append(layers, StackSettings(d.Target))
		has = s.Parameters
	}
	g, err := settings.Resolve(append(layers,
		settings.Of(settings.Default, settings.Settings{Region: d.AWS.Region}))...)
	if err == nil && d.Target != nil {
		err = g.CheckAccount(d.Target.Account, d.Target.Region)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSetting, err)
	}
	values, err := g.Values(has)
	if err != nil && !d.Mode.Rollback {
		return fmt.Errorf("%w: %w", ErrSetting, err)
	}
	d.Settings, d.values = g.Settings, values
	if d.Target != nil { // naming the companion's repository is the same as not naming one
		maps.DeleteFunc(d.Settings.Repositories, func(function, uri string) bool {
			return isManaged(d.Target, d.Settings.Stack, function, uri)
		})
	}
	d.chosen = g.Chosen()
	return nil
}

// settingLines are the plan's lines of settings that are no parameters: value,
// and where it comes from.
func (d *Deploy) settingLines() []string {
	var lines []string
	for _, c := range d.chosen {
		switch {
		case c.Kind == settings.Default && c.Name != "package" && c.Name != "arch", c.Name == "filters",
			len(c.Name) > 10 && c.Name[:10] == "parameter.":
			continue // the parameters have lines of their own
		}
		lines = append(lines, fmt.Sprintf("setting %s: %s (%s)", c.Name, c.Value, c.Origin))
	}
	return lines
}

// origin says where the value of a parameter comes from.
func (d *Deploy) origin(name, otherwise string) string {
	for _, v := range d.values {
		if v.Parameter == name && (v.Kind == settings.Flag || v.Kind == settings.Answer || v.Kind == settings.File) {
			return v.Origin.String()
		}
	}
	return otherwise
}

package guided

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/permission/deployer"
)

// parts are the policies that deploying needs with these settings, and what the
// placeholders in their ARNs stand for; there may be several repositories of the
// user's own.
func (a Account) parts(s settings.Settings, region string) ([]deployer.Part, map[string][]string) {
	values := map[string][]string{}
	for name, value := range deployer.Names(or(a.Partition, "aws"), a.ID, region, s.Stack) {
		values[name] = []string{value}
	}
	own := false
	repositories := maps.Clone(s.Repositories)
	maps.DeleteFunc(repositories, func(function, uri string) bool {
		managed, err := companion.RepositoryURI(a.ID, region, s.Stack, function)
		return err == nil && uri == managed
	})
	for _, function := range slices.Sorted(maps.Keys(repositories)) {
		if image, err := names.ParseHosted(repositories[function]); err == nil {
			values["OwnRepositories"] = append(values["OwnRepositories"], image.Repository)
		}
		own = own || s.Package == embedded.Image
	}
	if s.Package != embedded.Image && s.Bucket != "" {
		if own = !names.IsManagedBucket(s.Bucket, a.ID, region); own {
			values["CodeBucket"] = []string{s.Bucket}
		} else {
			values["ManagedBucket"] = []string{s.Bucket}
		}
	}
	parts := deployer.Needed(s.Package, own)
	if own && s.Package == embedded.Image && len(repositories) < len(companion.Functions) {
		parts = append(parts, deployer.Image) // for the functions that have none of the user's
	}
	if s.RoleARN != "" {
		_, role, _ := strings.Cut(s.RoleARN, ":role/")
		values["ServiceRole"] = []string{role}
		parts = append(parts, deployer.RoleARN)
	}
	return parts, values
}

// showRights shows the permissions that deploying will use.
func (t *Terminal) showRights(parts []deployer.Part, values map[string][]string) {
	var files []string
	for _, p := range parts {
		files = append(files, p.File+".json")
	}
	t.Printf("\n")
	t.Say("Permissions that are used: your own or those of --role-arn; these files in docs have them all:")
	t.Say("  %s", strings.Join(files, ", "))
	type right struct {
		on      []string
		actions []string
	}
	var rights []right
	for _, s := range deployer.Policy(parts...).Statement {
		if pattern := s.Condition["StringLike"]["aws:RequestedRegion"]; pattern != "" &&
			!strings.HasPrefix(values["Region"][0], strings.TrimSuffix(pattern, "*")) {
			continue // not in this region
		}
		r := right{on(s.Resource, values), s.Action}
		same := slices.IndexFunc(rights, func(o right) bool {
			return slices.Equal(o.on, r.on) && service(o.actions[0]) == service(r.actions[0])
		})
		if same < 0 {
			rights = append(rights, r)
			continue
		}
		for _, action := range r.actions {
			if !slices.Contains(rights[same].actions, action) {
				rights[same].actions = append(slices.Clip(rights[same].actions), action)
			}
		}
	}
	// ARNs are not broken: where they are long, their purpose is on a line above them.
	table, first := [][2]string{}, 0
	for _, r := range rights {
		table = append(table, [2]string{services(r.actions), strings.Join(r.on, " ")})
		first = max(first, len(table[len(table)-1][0]))
	}
	narrow := t.screen.Width > 0 && slices.ContainsFunc(table, func(row [2]string) bool {
		return 2+first+2+len(row[1]) > t.screen.Width
	})
	for i, row := range table {
		if narrow {
			t.Printf("  %s\n      %s\n", row[0], strings.Join(rights[i].on, "\n      "))
			continue
		}
		t.Printf("  %-*s  %s\n", first, row[0], row[1])
	}
}

func service(action string) string {
	name, _, _ := strings.Cut(action, ":")
	return name
}

// services counts the actions of each service.
func services(actions []string) string {
	var all []string
	count := map[string]int{}
	for _, action := range actions {
		name := service(action)
		if count[name] == 0 {
			all = append(all, name)
		}
		count[name]++
	}
	for i, name := range all {
		all[i] = fmt.Sprintf("%s (%d)", name, count[name])
	}
	return strings.Join(all, ", ")
}

// on fills the placeholders of ARNs, with each of the values that one has.
func on(resources []string, values map[string][]string) []string {
	all := slices.Clone(resources)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var filled []string
		for _, arn := range all {
			if !strings.Contains(arn, "${"+name+"}") {
				filled = append(filled, arn)
				continue
			}
			for _, value := range values[name] {
				filled = append(filled, strings.ReplaceAll(arn, "${"+name+"}", value))
			}
		}
		all = filled
	}
	if slices.Equal(all, []string{"*"}) {
		return []string{string(deployer.Anything)}
	}
	return all
}

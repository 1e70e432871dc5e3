package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/permission/deployer"
)

// asker is a [Step], or [Artifacts], that can ask for the rights that it will
// need, after its plan and before anything is made.
type asker interface {
	Questions(d *Deploy) []rights.Question
}

// checkRights asks for the rights of all steps at once. Without anything to be
// done nothing is asked.
func (d *Deploy) checkRights(ctx context.Context, steps []Step) error {
	var questions []rights.Question
	for _, s := range steps {
		if a, ok := s.(asker); ok {
			questions = append(questions, a.Questions(d)...)
		}
	}
	return d.ask(ctx, "access denied, and nothing was made", questions)
}

// ask returns a *rightsError if a right is missing; said says so, and what has been made.
func (d *Deploy) ask(ctx context.Context, said string, questions []rights.Question) error {
	missing := rights.Ask(ctx, questions)
	if len(missing) == 0 {
		return nil
	}
	return &rightsError{said, d.Target.Caller, missing,
		deployer.Names(d.Target.Partition, d.Target.Account, d.Target.Region, d.Settings.Stack)}
}

// rightsError says which permissions are missing, and which statements grant them. It
// matches awserror.ErrDenied.
type rightsError struct {
	said    string // what has been made
	caller  string
	missing []rights.Missing
	names   map[string]string // of deployer.Names
}

func (e *rightsError) Is(target error) bool { return target == awserror.ErrDenied }

func (e *rightsError) Error() string {
	// What one statement allows is listed together.
	var order []string
	of := map[string][]rights.Missing{}
	for _, m := range e.missing {
		key := fmt.Sprint(m.Scope, m.Values, m.Explicit)
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], m)
	}
	var all []string
	for _, key := range order {
		all = append(all, e.tell(of[key]))
	}
	return fmt.Sprintf("%s: %s %s", e.said, e.caller, strings.Join(all, "; and "))
}

// tell is for what one statement gives.
func (e *rightsError) tell(missing []rights.Missing) string {
	var actions []string
	for _, m := range missing {
		if !slices.Contains(actions, m.Question.Action) {
			actions = append(actions, m.Question.Action)
		}
	}
	first := missing[0]
	if first.Explicit {
		policy := first.Policy
		if policy == "" {
			policy = "some"
		}
		return fmt.Sprintf("is explicitly denied %s%s, in a policy of this kind: %s; no other policy can allow that",
			permission.List(actions), on(first.Scope), policy)
	}
	values := maps.Clone(e.names)
	maps.Copy(values, first.Values)
	if first.Question.Action == "iam:PassRole" {
		_, values["ServiceRole"], _ = strings.Cut(first.Resource, ":role/")
	}
	statement, part := deployer.Granting(first.Scope, actions, values)
	text := fmt.Sprintf("lacks %s%s, as the statement %s of docs/%s.json allows it: %s", permission.List(actions),
		on(first.Scope), statement.Sid, part.File, statement)
	if first.Principal == "" { // S3 does not tell the two apart
		text += "; or the bucket is of another account"
	}
	return text
}

// on is what a right is missing on, as what follows its name.
func on(scope deployer.Scope) string {
	if scope == deployer.Anything {
		return ""
	}
	return " on " + string(scope)
}

// Questions implements asker.
func (r *repositories) Questions(d *Deploy) []rights.Question {
	if r.body == nil {
		return nil
	}
	s := rights.Stack{Name: companion.StackName(d.Settings.Stack), Now: r.stack, Scope: deployer.Companion,
		Tags: d.tags(), RoleARN: d.Settings.RoleARN}
	all := append(s.ChangeSets(d.AWS), s.Watch(d.AWS), s.Template(d.AWS))
	if len(d.planProtection(r.stack)) > 0 {
		all = append(all, s.Protection(d.AWS))
	}
	return all
}

// mainStack is the stack whose rights are asked for.
func (d *Deploy) mainStack() rights.Stack {
	return rights.Stack{Name: d.Settings.Stack, Now: d.Target.Stack, Scope: deployer.Stack, Tags: d.tags(),
		RoleARN: d.Settings.RoleARN}
}

// Questions implements asker.
func (*packaging) Questions(d *Deploy) []rights.Question {
	if a, ok := d.Artifacts.(asker); ok && (!d.same() || d.Mode.CodeOnly && len(d.sets) > 0) {
		return a.Questions(d)
	}
	return nil
}

// Questions implements asker.
func (*changes) Questions(d *Deploy) []rights.Question {
	if d.same() {
		return nil // there is hardly a change, and nothing is made before
	}
	return d.mainStack().ChangeSets(d.AWS)
}

// Questions implements asker.
func (*execute) Questions(d *Deploy) []rights.Question {
	if d.same() || d.Mode.Detach {
		return nil
	}
	return []rights.Question{d.mainStack().Watch(d.AWS)}
}

// Questions implements asker.
func (*inPlace) Questions(d *Deploy) []rights.Question {
	var all []rights.Question
	for _, set := range d.sets {
		bucket, repository := d.stack().Parameters[deployed.ParamCodeBucket], ""
		if d.Settings.Package == embedded.Image {
			repository = repositoryOf(d.stack().Parameters[set.code+deployed.ImageSuffix])
		}
		all = append(all, rights.Function(d.AWS, set.name, bucket, repository))
	}
	return all
}

// Questions implements asker.
func (p *protection) Questions(d *Deploy) []rights.Question {
	todo, err := p.Plan(context.Background(), d)
	if err != nil || len(todo) == 0 || d.stack() == nil && d.Mode.Detach {
		return nil
	}
	return []rights.Question{d.mainStack().Protection(d.AWS)}
}

// Questions implements asker. Of a bucket that does not exist S3 says
// nothing else, to any caller.
func (z *zipFiles) Questions(d *Deploy) []rights.Question {
	b := z.bucket
	if z.look != nil && z.look.Exists {
		b = z.managed.At(z.look.Name)
	}
	var keys []string
	if s := d.stack(); s == nil || s.Parameters[deployed.ParamCodeKeyPrefix] != z.packed.Prefix {
		keys = append(keys, z.packed.Objects[0].Key)
	}
	return d.askForBucket(b, keys...)
}

// Questions implements asker.
func (z *recordedZip) Questions(d *Deploy) []rights.Question { return d.askForBucket(z.bucket) }

// askForBucket asks for the right to write a record and other objects.
func (d *Deploy) askForBucket(b *codebucket.Bucket, keys ...string) []rights.Question {
	if b == nil {
		return nil
	}
	scope, values := deployer.ManagedCode, map[string]string{"ManagedBucket": b.Name}
	if b.Prefix() != "" {
		scope, values = deployer.Code, map[string]string{"CodeBucket": b.Name}
	}
	none := b.Prefix() + codebucket.RecordsFolder + d.Settings.Stack + "/none.json"
	return rights.Bucket(b, scope, values, append([]string{none}, keys...)...)
}

// Questions implements asker.
func (i *images) Questions(d *Deploy) []rights.Question { return i.questions(d) }

// Questions implements asker.
func (i *recordedImages) Questions(d *Deploy) []rights.Question { return i.questions(d) }

// questions ask for the rights to push, of the companion stack's repositories for
// one alone: they have their names, and so their policies, in common.
func (p *imagePlace) questions(d *Deploy) []rights.Question {
	all := []rights.Question{rights.Registry(d.AWS)}
	managed := false
	var asked []string
	for _, f := range companion.Functions {
		image, err := names.ParseHosted(p.uris[f.LogicalID])
		own := !slices.Contains(p.managed, f.LogicalID)
		if err != nil || !own && managed || slices.Contains(asked, image.Repository) {
			continue
		}
		asked = append(asked, image.Repository)
		if own {
			all = append(all, rights.Repository(d.AWS, image.Repository, true, deployer.OwnRepositories,
				map[string]string{"OwnRepositories": image.Repository})...)
			continue
		}
		managed = true
		all = append(all, rights.Repository(d.AWS, image.Repository, d.hasRepository(p.uris[f.LogicalID]),
			deployer.ManagedRepositories, nil)...)
	}
	return all
}

// hasRepository reports whether a repository may be there: the stack has an image
// in it.
func (d *Deploy) hasRepository(uri string) bool {
	s := d.stack()
	return s != nil && slices.ContainsFunc(imagesOf(s.Parameters),
		func(image string) bool { return repositoryOf(image) == uri })
}

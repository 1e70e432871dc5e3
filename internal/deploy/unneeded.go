package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/embedded"
)

// unneeded deletes repositories of the companion stack that no function needs
// any more, after the main stack has let go of them.
type unneeded struct {
	stack *target.Stack
	gone  []companion.Repository
	rest  []string // functions whose repositories stay
}

func (*unneeded) Name() string { return "repositories without a function" }

func (u *unneeded) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	u.stack, u.gone, u.rest = nil, nil, nil
	if d.Offline() || d.Mode.Detach {
		return nil, nil
	}
	if d.Settings.Package == embedded.Image {
		u.rest = d.managedFunctions()
	}
	s, all, err := d.findCompanion(ctx)
	switch {
	case len(u.rest) == 0 && (errors.Is(err, ours.ErrForeign) || errors.Is(awserror.Explain(err), awserror.ErrDenied)):
		return nil, nil // what is not known to be the program's stays
	case err != nil:
		return nil, err
	case s.Condition() != target.Ready:
		return nil, nil
	}
	if u.gone = companion.Unneeded(all, u.rest...); len(u.gone) == 0 {
		return nil, nil
	}
	u.stack = s
	what := u.what()
	if why := u.kept(d); why != "" {
		return []string{"keep " + what + why}, nil
	}
	switch {
	case d.asks() || d.Mode.DryRun():
		return []string{"delete " + what + " with all images, after asking"}, nil
	}
	return []string{"delete " + what + " with all images"}, nil
}

func (u *unneeded) what() string {
	var names []string
	for _, r := range u.gone {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// kept says why the repositories stay without a question, to follow their names; empty
// if they do not.
func (u *unneeded) kept(d *Deploy) string {
	switch {
	case u.stack.Protected && len(u.rest) == 0:
		return fmt.Sprintf(": stack %s is protected from termination", u.stack.Name)
	case u.needed(d):
		return " for a rollback; a later deploy that changes the stack deletes them"
	}
	return ""
}

// needed reports whether the repositories stay although no function will need
// them: there is no terminal to ask on, and the version that the deploy replaces needs
// them, and so does a rollback to it.
func (u *unneeded) needed(d *Deploy) bool {
	if d.asks() {
		return false
	}
	s := d.stack()
	return d.unchanged() || s != nil && slices.ContainsFunc(u.gone, func(r companion.Repository) bool {
		return namesRepository(s.Parameters, r.Name)
	})
}

func (u *unneeded) Do(ctx context.Context, d *Deploy) error {
	if u.stack == nil {
		return nil
	}
	if why := u.kept(d); why != "" {
		d.Screen.Tell("kept: " + u.what() + why)
		return nil
	}
	// Whatever happened: while the main stack names an image, it stays.
	main, err := target.Status(ctx, d.cloudFormation(), d.Settings.Stack)
	if err != nil {
		return err
	}
	for _, r := range u.gone {
		if main != nil && namesRepository(main.Parameters, r.Name) {
			d.Screen.Tell(fmt.Sprintf("kept: stack %s still names an image of %s", main.Name, r.Name))
			return nil
		}
	}
	for _, r := range u.gone {
		if err := d.checkForeign(ctx, r); errors.Is(err, companion.ErrForeignImages) {
			d.Screen.Tell("kept: " + err.Error())
			return nil
		} else if err != nil {
			return err
		}
	}
	if len(u.rest) > 0 {
		body, err := companion.Template(d.Settings.Stack, u.rest...)
		if err != nil {
			return err
		}
		err = d.changeCompanion(ctx, u.stack, body, u.question())
		return u.declined(d, err)
	}
	if err := d.agree(ctx, u.question()+"?"); err != nil {
		return u.declined(d, err)
	}
	return d.deleteStack(ctx, u.stack)
}

func (u *unneeded) question() string {
	return fmt.Sprintf("No function needs %s any more. A rollback to a version with images in it is not possible "+
		"without.\nDelete it with all images", u.what())
}

// declined makes no failure of a deploy that did all but to delete.
func (u *unneeded) declined(d *Deploy, err error) error {
	if !errors.Is(err, ErrDeclined) {
		return err
	}
	d.Screen.Tell("kept: " + u.what())
	return nil
}

// checkForeign returns companion.ErrForeignImages for a repository of the
// companion stack that has other images than the program's.
func (d *Deploy) checkForeign(ctx context.Context, r companion.Repository) error {
	managed, err := d.openManaged(r)
	if err != nil {
		return err
	}
	return managed.CheckForeign(ctx)
}

func (d *Deploy) openManaged(r companion.Repository) (*companion.Managed, error) {
	uri, err := companion.RepositoryURI(d.Target.Account, d.AWS.Region, d.Settings.Stack, r.Function)
	if err != nil {
		return nil, err
	}
	return companion.Open(d.AWS, uri, d.Mode.Registry...)
}

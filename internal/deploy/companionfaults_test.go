package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
)

// Without rollback a companion stack that fails is left as it is too, and the next
// deploy finishes it.
func TestCompanionWithoutRollback(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.ecr.Repository("team/filter", awstest.Repository{})
	own := settings.Settings{Repositories: map[string]string{"FilterFunction": w.ecr.Host() + "/team/filter"}}
	w.run(w.deploy(own, nil))
	name := companion.StackName("prod")
	w.stacks.FailResource(name, companion.RepositoryLogicalID("FilterFunction"), "", "no")
	managed := settings.Settings{DisableRollback: true,
		Repositories: map[string]string{"FilterFunction": w.repository("FilterFunction")}}
	d, _ := w.deploy(managed, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Fatalf("the error is %v, want ErrFailed", err)
	}
	if is := w.stacks.Stack(name).Status; is != "UPDATE_FAILED" {
		t.Errorf("the companion is %s", is)
	}
	w.run(w.deploy(managed, nil))
	if is := w.stacks.Stack(name).Status; is != "UPDATE_COMPLETE" || w.status() != "UPDATE_COMPLETE" {
		t.Errorf("the companion is %s, the stack %s", is, w.status())
	}
}

// A companion stack that an update has left halfway is not done when CloudFormation
// sees nothing to change in it.
func TestCompanionHalfway(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.created()
	name := companion.StackName("prod")
	w.stacks.Change(name, func(s *awstest.Stack) { s.Status = "UPDATE_FAILED" })
	d, screen := w.deploy(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrState) ||
		!strings.Contains(err.Error(), "rollback-stack --stack-name "+name+" ") {
		t.Errorf("the error is %v, want ErrState; said %q", err, screen.said)
	}
}

// Images that somebody else pushes while the stack is deleted stop what would
// delete them.
func TestDestroyPushedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	w.created()
	name := companion.RepositoryName("prod", generator)
	l, x := w.destroying(deploy.DestroyOptions{})
	pushed := false
	l.seen = func(e execution.Event) {
		if e.OfStack && !pushed {
			pushed = true
			w.registry.PushImage(t, name, "theirs", registrytest.Image{})
		}
	}
	err := x.Run(t.Context())
	if !errors.Is(err, companion.ErrForeignImages) || !strings.Contains(err.Error(), "give --delete-foreign") {
		t.Errorf("the error is %v, want ErrForeignImages", err)
	}
	if s := w.stacks.Stack(companion.StackName("prod")); s == nil || w.status() != "absent" {
		t.Errorf("the companion is %+v, the stack %s", s, w.status())
	}
	_, x = w.destroying(deploy.DestroyOptions{DeleteForeign: true})
	if err := x.Run(t.Context()); err != nil || w.stacks.Stack(companion.StackName("prod")) != nil {
		t.Errorf("with --delete-foreign: %v", err)
	}
}

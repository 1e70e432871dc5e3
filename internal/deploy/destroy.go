package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deploy/target"
)

// DestroyOptions of [NewDestroy].
type DestroyOptions struct {
	Stack         string
	Bucket        string // of the user's own, that had the code of a stack that is gone
	KeepCode      bool   // repositories, zip files and records stay
	DeleteForeign bool   // also what the program did not make, in repositories and a bucket of its own
}

// DestroyScreen shows also what a destroy is about to do.
type DestroyScreen interface {
	Screen

	// Listed shows what is deleted and what stays, a line each.
	Listed(goes, stays []string)
}

// Destroy deletes a stack and what deploy made for it: the main stack first,
// then the companion stack, then code that no other stack needs, then the bucket
// if it was the last. Nothing of the user's own is deleted. Running it again finishes
// what a first run could not.
//
// Start with [NewDestroy], then [Destroy.Run].
type Destroy struct {
	d       *Deploy
	screen  DestroyScreen
	options DestroyOptions

	main, companion *target.Stack
	repositories    []companion.Repository
	code            *storedCode // nil: there is no bucket with code

	goes, stays []string
	foreign     error // why it stops unless foreign things are deleted too
}

// NewDestroy checks what can be checked without AWS. The error matches
// ErrConsent.
func NewDestroy(o DestroyOptions, m Mode, screen DestroyScreen) (*Destroy, error) {
	if !m.Yes && !m.Interactive {
		return nil, fmt.Errorf("%w: give --yes to delete without a question", ErrConsent)
	}
	if m.Now == nil {
		m.Now = time.Now
	}
	return &Destroy{d: &Deploy{Settings: settings.Settings{Stack: o.Stack}, Mode: m, Screen: screen}, screen: screen,
		options: o}, nil
}

// Deploy is what the destroy works with: its AWS must be set before Run.
func (x *Destroy) Deploy() *Deploy { return x.d }

// Run lists, asks, and deletes. The error matches ErrState, ErrDeclined,
// ErrFailed, companion.ErrForeignImages or codebucket.ErrForeignObjects, or is
// AWS's.
func (x *Destroy) Run(ctx context.Context) error {
	if err := x.look(ctx); err != nil {
		return err
	}
	if len(x.goes) == 0 {
		text := "nothing is left of stack " + x.options.Stack
		if x.options.Bucket == "" { // the stack alone could name one
			text += ", unless its code was in a bucket of yours: then give --bucket"
		}
		x.d.Screen.Tell(text)
		x.screen.Listed(nil, x.stays)
		return nil
	}
	x.screen.Listed(x.goes, x.stays)
	if err := x.allowed(); err != nil {
		return err
	}
	if err := x.d.agree(ctx, fmt.Sprintf("Delete this in account %s, region %s?", x.d.Target.Account,
		x.d.AWS.Region)); err != nil {
		return err
	}
	err := x.deleteAll(ctx)
	if err != nil {
		x.sayLeft()
	}
	return err
}

func (x *Destroy) deleteAll(ctx context.Context) error {
	if err := x.deleteMain(ctx); err != nil {
		return err
	}
	if x.options.KeepCode {
		return nil
	}
	if err := x.deleteCompanion(ctx); err != nil {
		return err
	}
	if x.code == nil {
		return nil
	}
	x.d.Screen.Step("code")
	return x.code.remove(ctx, x)
}

// sayLeft says how to go on where a second destroy, without the stack, would not
// know the bucket.
func (x *Destroy) sayLeft() {
	c := x.code
	if c == nil || c.managed != nil || len(c.mine)+len(c.records) == 0 {
		return
	}
	x.d.Screen.Tell(fmt.Sprintf("in your bucket there may still be s3://%s/%s and %s that the records there name; "+
		"to go on: %s", c.bucket.Name, c.folder(x.options.Stack), number(len(c.mine), "zip file", "zip files"),
		x.again(c.bucket.Name)))
}

// allowed returns why nothing is deleted.
func (x *Destroy) allowed() error {
	var protected, commands []string
	for _, s := range []*target.Stack{x.main, x.companion} {
		if s != nil && s.Protected && (s == x.main || !x.options.KeepCode) {
			protected = append(protected, s.Name)
			commands = append(commands, unprotect(s.Name, x.d.AWS.Region))
		}
	}
	if len(protected) > 0 {
		return fmt.Errorf("%w: %s: termination protection forbids it; to lift it: %s", ErrProtected,
			strings.Join(protected, " and "), strings.Join(commands, "; "))
	}
	if x.foreign != nil && !x.options.DeleteForeign && !x.options.KeepCode {
		return fmt.Errorf("nothing was deleted: %w: move that elsewhere, give --delete-foreign to delete it too, or "+
			"--keep-code to leave code and repositories alone", x.foreign)
	}
	return nil
}

// ErrProtected: a stack is protected from termination.
var ErrProtected = errors.New("the stack is not deleted")

// look finds out what there is.
func (x *Destroy) look(ctx context.Context) error {
	d := x.d
	var err error
	if d.Target, err = target.Look(ctx, d.AWS, x.options.Stack); err != nil {
		return err
	}
	if x.main = d.Target.Stack; x.main != nil {
		if err := x.main.Mine(); err != nil {
			return err
		}
		x.goes = append(x.goes, fmt.Sprintf("stack %s (%s), with its functions, rules, alarms, logs and failure queue",
			x.main.Name, x.main.Status))
		for _, set := range x.main.ChangeSets {
			x.goes = append(x.goes, "its change set "+set.Name+", which somebody may be about to execute")
		}
		if line := x.events(ctx); line != "" {
			x.goes = append(x.goes, line)
		}
	}
	x.companion, x.repositories, err = d.findCompanion(ctx)
	if errors.Is(err, ours.ErrForeign) {
		x.stays = append(x.stays, err.Error())
	} else if err != nil {
		return err
	}
	others, err := x.otherStacks(ctx)
	if err != nil {
		return err
	}
	if err := x.lookAtImages(ctx, others); err != nil {
		return err
	}
	if err := x.lookAtCode(ctx, others); err != nil {
		return err
	}
	if x.main == nil && x.options.Bucket == "" {
		x.stays = append(x.stays, "zip files and records in a bucket of yours, if the stack's code was in one, which "+
			"the stack alone named: to delete them: "+x.again("NAME"))
	}
	x.lookAtEarlier(ctx)
	x.stays = append(x.stays, fmt.Sprintf("SOCI indexes and SOCI-enabled images, if there are any: to list them: "+
		"soci-index-builder cleanup --region %s; to delete them, with --yes", d.AWS.Region))
	return nil
}

// lookAtImages lists the repositories: the companion stack's and the user's own.
func (x *Destroy) lookAtImages(ctx context.Context, others []*target.Stack) error {
	if x.main != nil {
		for _, f := range companion.Functions {
			if own := ownRepository(x.main.Parameters[f.Parameter], x.repositories); own != "" {
				what := "the image of " + f.LogicalID
				if f.LogicalID == recorder {
					what += " and the records"
				}
				x.stays = append(x.stays, fmt.Sprintf("%s in the repository %s, which is yours", what, own))
			}
		}
	}
	if x.companion == nil {
		return nil
	}
	if x.options.KeepCode {
		x.stays = append(x.stays, fmt.Sprintf("stack %s with its repositories (--keep-code)", x.companion.Name))
		return nil
	}
	for _, s := range others {
		for _, r := range x.repositories {
			if namesRepository(s.Parameters, r.Name) {
				x.stays = append(x.stays, fmt.Sprintf("stack %s with its repositories: stack %s has an image of %s",
					x.companion.Name, s.Name, r.Name))
				x.companion = nil
				return nil
			}
		}
	}
	x.goes = append(x.goes,
		fmt.Sprintf("stack %s (%s), with these repositories:", x.companion.Name, x.companion.Status))
	for _, r := range x.repositories {
		managed, err := x.d.openManaged(r)
		if err != nil {
			return err
		}
		all, err := managed.Images(ctx)
		if err != nil {
			return err
		}
		count := map[companion.Kind]int{}
		for _, i := range all {
			if i.Kind != companion.RecordImage || !record.IsMark(i.Tags) {
				count[i.Kind]++
			}
		}
		line := fmt.Sprintf("repository %s, with %s and %s", r.Name,
			number(count[companion.FunctionImage], "image", "images"),
			number(count[companion.RecordImage], "record", "records"))
		if n := count[companion.ForeignImage]; n > 0 {
			line += fmt.Sprintf(", and %s that soci-index-builder did not push", number(n, "image", "images"))
			if x.foreign == nil {
				x.foreign = fmt.Errorf("the repository %s %w: %d", r.Name, companion.ErrForeignImages, n)
			}
		}
		x.goes = append(x.goes, line)
	}
	return nil
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (x *Destroy) deleteMain(ctx context.Context) error {
	return x.delete(ctx, x.main, func(ctx context.Context) (s *target.Stack, err error) {
		return target.Status(ctx, x.d.cloudFormation(), x.options.Stack)
	})
}

func (x *Destroy) deleteCompanion(ctx context.Context) error {
	if x.companion == nil {
		return nil
	}
	// While there is a main stack, it may name an image.
	if s, err := target.Status(ctx, x.d.cloudFormation(), x.options.Stack); err != nil {
		return err
	} else if s != nil {
		return fmt.Errorf("%w: stack %s is there again, so that %s stays", ErrState, s.Name, x.companion.Name)
	}
	// The repositories go with all that is in them, also what was pushed since they
	// were listed.
	for _, r := range x.repositories {
		if x.options.DeleteForeign {
			break
		}
		err := x.d.checkForeign(ctx, r)
		if errors.Is(err, companion.ErrForeignImages) {
			err = fmt.Errorf("%w: move that elsewhere, or give --delete-foreign to delete it too", err)
		}
		if err != nil {
			return fmt.Errorf("stack %s stays: %w", x.companion.Name, err)
		}
	}
	return x.delete(ctx, x.companion, func(ctx context.Context) (*target.Stack, error) {
		return target.Status(ctx, x.d.cloudFormation(), x.companion.Name)
	})
}

// delete deletes a stack, once no operation is running on it.
func (x *Destroy) delete(ctx context.Context, s *target.Stack,
	again func(context.Context) (*target.Stack, error)) error {
	if s == nil {
		return nil
	}
	x.d.Screen.Step("stack " + s.Name)
	for range maxStates {
		if s == nil {
			return nil // somebody else deleted it
		}
		if s.Condition() != target.InProgress {
			return awserror.Explain(x.d.deleteStack(ctx, s))
		}
		x.d.Screen.Say(fmt.Sprintf("stack %s is %s: somebody works on it, waiting until that has ended", s.Name,
			s.Status))
		err := x.d.wait(ctx, s)
		if err == nil {
			s, err = again(ctx)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s does not come to rest", ErrState, s.Name)
}

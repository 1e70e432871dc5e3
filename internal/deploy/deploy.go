// Package deploy brings the project's stack into an account, or to another
// version or other parameters.
//
// A deploy is an ordered list of steps. Each first plans, which only reads, and
// then does what it has planned: so the dry run and the deploy are the same
// list, and nothing is made before everything has been checked.
//
// Start with [New], then [Deploy.Run], or [Deploy.DryRun].
package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"soci-index-builder/internal/deploy/changeset"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/live"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/deploy/patience"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/pkg/ecrclient"
)

// Errors that end a deploy. Others are those of the packages below and AWS's.
var (
	// ErrSetting: what the user decided cannot be done.
	ErrSetting = errors.New("wrong setting")

	// ErrConsent: there is no terminal to ask on, and no flag gives consent.
	ErrConsent = errors.New("nobody can be asked")

	// ErrDeclined: the user said no.
	ErrDeclined = errors.New("nothing was changed")

	// ErrEmpty: nothing changes, and that was to be a failure.
	ErrEmpty = errors.New("nothing to change")

	// ErrState: the stack is in a state from which it cannot be deployed.
	ErrState = errors.New("the stack cannot be deployed")

	// ErrFailed: CloudFormation could not do what it was to do.
	ErrFailed = errors.New("failed")
)

// Step is one of the ordered list.
type Step interface {
	// Name says what it is about: "package".
	Name() string

	// Plan reads, and never writes. It returns what Do would do, a line each, and
	// nothing when there is nothing to be done. It is called again when a step
	// before it has changed what it read.
	Plan(ctx context.Context, d *Deploy) ([]string, error)

	// Do does it.
	Do(ctx context.Context, d *Deploy) error
}

// Artifacts are how the functions' code gets to where CloudFormation takes it
// from. Their step is the package step.
type Artifacts interface {
	// Plan reads, and returns what Upload would do, a line each. Without AWS
	// (Deploy.Offline) it asks nothing. Afterwards the parameters are known.
	Plan(ctx context.Context, d *Deploy) ([]string, error)

	// Parameters are those that the template gets: CodeS3Bucket and
	// CodeS3KeyPrefix, or an ImageUri for each function. Provisional are the
	// placeholders that a dry run has for what only Upload finds out.
	Parameters() (values map[string]string, provisional bool)

	// Upload brings what is not there yet, and says so line by line.
	Upload(ctx context.Context, d *Deploy) error

	// Check is asked just before the execution: what was uploaded is there, in the
	// account's own bucket or repository.
	Check(ctx context.Context, d *Deploy) error

	// Save writes what would be uploaded into a folder, and returns the files'
	// names in it.
	Save(folder string) ([]string, error)
}

// Screen is what people, or programs, see of a deploy.
type Screen interface {
	Step(name string)          // a step begins
	Say(text string)           // a line of the step
	Tell(text string)          // a line for whoever does not look on, too: what is left, kept, or not well
	Changes(d *Deploy)         // of Deploy.ChangeSet and Deploy.Choices
	Events() live.Display      // of an operation that begins
	Failed(*execution.Outcome) // why it failed
	Outputs(outputs map[string]string)
	Findings(*doctor.Report)
	Next(lines []string) // what to do next

	// Ask asks a question that is answered with yes or no.
	Ask(ctx context.Context, question string) (bool, error)
}

// Mode is how a deploy works.
type Mode struct {
	Interactive bool // there is a terminal to ask on
	Yes         bool // nothing is asked
	Detach      bool // the execution is not waited for
	Full        bool // old and new values are shown whole

	CodeOnly bool // the functions' code is changed in place, and nothing else
	Rollback bool // the version that ran before is deployed

	StackID string // the ARN that the stack must have; empty: any

	Folder  string // of a dry run; empty: it is none
	Offline error  // why AWS cannot be asked, in a dry run; nil: it can

	Patience patience.Patience
	Now      func() time.Time

	// Interrupts returns the user's wishes to stop while an execution is watched,
	// and a function that ends this; nil: the context is all there is.
	Interrupts func() (<-chan struct{}, func())

	// Registry are options of the repositories that images are pushed to.
	Registry []ecrclient.Option

	// Functions returns the zip file of a function, as embedded.Function.
	Functions func(architecture, function string) ([]byte, error)
}

// DryRun reports whether nothing is to be written to AWS.
func (m Mode) DryRun() bool { return m.Folder != "" }

// Deploy is one deploy: what the user decided, and what the steps have found
// out.
type Deploy struct {
	Given    settings.Given    // by the user
	Settings settings.Settings // that follow from it and from the stack
	Mode     Mode
	AWS      aws.Config
	Screen   Screen

	Artifacts Artifacts
	Template  []byte

	Target    *target.Target // nil without AWS
	Choices   []parameters.Choice
	ChangeSet *changeset.ChangeSet // nil until it is made
	Outcome   *execution.Outcome   // nil until the execution has ended
	Left      bool                 // the execution goes on, unwatched

	template *parameters.Template
	values   []settings.Value  // of the parameters
	chosen   []settings.Chosen // all settings
	stale    bool              // what later steps read has changed

	records  records
	restored *record.Record // of a rollback: what is deployed
	sets     []codeSet      // what is changed in place
}

// New checks all that can be checked without AWS. The error matches ErrSetting,
// ErrConsent, or one of embedded, parameters, filters, deployed.
func New(g settings.Given, m Mode, screen Screen) (*Deploy, error) {
	if m.Now == nil {
		m.Now = time.Now
	}
	resolved, err := settings.Resolve(g)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSetting, err)
	}
	d := &Deploy{Given: g, Settings: resolved.Settings, Mode: m, Screen: screen}
	return d, d.check()
}

// Steps are those of the deploy, in order.
func (d *Deploy) Steps() []Step {
	switch {
	case d.Mode.CodeOnly:
		return []Step{&where{}, &packaging{}, &codeOnly{}, &inPlace{}, &keep{}}
	case d.Mode.Rollback:
		return []Step{&where{}, &restore{}, &packaging{}, &changes{}, &execute{}, &inPlace{}, &keep{}, &after{}}
	}
	return []Step{&where{}, &repositories{}, &packaging{}, &changes{}, &execute{}, &inPlace{}, &protection{}, &keep{},
		&unneeded{}, &after{}}
}

// Offline reports whether AWS cannot be asked.
func (d *Deploy) Offline() bool { return d.Mode.Offline != nil }

// Run does all steps. Nothing is written before all of them have been planned,
// nor when it is known that a right is missing.
func (d *Deploy) Run(ctx context.Context) (err error) {
	defer func() { d.records.drop(ctx, d, err) }()
	steps := d.Steps()
	planned, err := d.plan(ctx, steps)
	if err != nil {
		return err
	}
	if err := d.checkRights(ctx, steps); err != nil {
		return err
	}
	for i, s := range steps {
		if len(planned[i].Lines) > 0 {
			d.Screen.Step(s.Name())
		}
		if err := s.Do(ctx, d); err != nil {
			return err
		}
		if d.stale {
			d.stale = false
			again, err := d.plan(ctx, steps[i+1:])
			if err != nil {
				return err
			}
			planned = append(planned[:i+1], again...)
		}
		if d.Left { // CloudFormation is not waited for
			return d.detach(ctx)
		}
	}
	return nil
}

// detach does what can be done while the execution is running, and says what is left
// undone because it does not wait for the end.
func (d *Deploy) detach(ctx context.Context) error {
	if names := d.setFunctions(); names != "" {
		d.Screen.Tell("not done because of --detach: the code of " + names + " was changed in place since the last " +
			"deploy; the next deploy without --detach puts back what the stack names")
	}
	p := &protection{}
	lines, err := p.Plan(ctx, d)
	if err != nil || len(lines) == 0 {
		return err
	}
	d.Screen.Step(p.Name())
	return p.Do(ctx, d)
}

// Planned is what a step would do.
type Planned struct {
	Step  string
	Lines []string
}

func (d *Deploy) plan(ctx context.Context, steps []Step) ([]Planned, error) {
	var all []Planned
	for _, s := range steps {
		lines, err := s.Plan(ctx, d)
		if err != nil {
			return nil, err
		}
		all = append(all, Planned{s.Name(), lines})
	}
	return all, nil
}

// stack is the stack that is updated; nil when one is created.
func (d *Deploy) stack() *target.Stack {
	if d.Target == nil || d.Target.Stack.Condition() == target.Leftover {
		return nil
	}
	return d.Target.Stack
}

// named are the parameters that the user decided.
func (d *Deploy) named() map[string]string {
	all := maps.Clone(d.Settings.Parameters)
	if all == nil {
		all = map[string]string{}
	}
	if d.Settings.Filters != "" {
		all[deployed.ParamFilters] = d.Settings.Filters
	}
	return all
}

func (d *Deploy) cloudFormation() *cloudformation.Client { return cloudformation.NewFromConfig(d.AWS) }

// watch watches an operation on a stack; token is empty for one that this deploy did
// not start.
func (d *Deploy) watch(ctx context.Context, stackID, token string) (*execution.Outcome, error) {
	display := d.Screen.Events()
	defer display.End()
	w := &execution.Watch{Client: d.cloudFormation(), Logs: cloudwatchlogs.NewFromConfig(d.AWS), StackID: stackID,
		Token: token, Patience: d.Mode.Patience, Seen: display.Event, Tick: display.Tick}
	if d.Mode.Interrupts != nil {
		interrupts, stop := d.Mode.Interrupts()
		defer stop()
		w.Interrupts = interrupts
		// The signal ends the context too; what is watched is to be left in good
		// order.
		ctx = context.WithoutCancel(ctx)
		if d.Mode.Interactive && token != "" {
			w.Offer = d.offer
		}
	}
	return w.Run(ctx)
}

// offer asks after the first Ctrl-C.
func (d *Deploy) offer(ctx context.Context, cancellable bool) bool {
	if !cancellable {
		d.Screen.Tell("this cannot be cancelled; Ctrl-C again leaves it running")
		return false
	}
	yes, err := d.Screen.Ask(ctx, "Cancel the update, and roll back? (Ctrl-C again leaves it running)")
	return yes && err == nil
}

// WatchCommand is how to go on watching a stack.
func (d *Deploy) WatchCommand() string { return d.watchCommand(d.Settings.Stack) }

func (d *Deploy) watchCommand(stack string) string {
	return fmt.Sprintf("soci-index-builder watch --stack %s --region %s", stack, d.AWS.Region)
}

// left says that CloudFormation works on a stack although it cannot be watched.
func (d *Deploy) left(stack string) {
	d.Screen.Tell("CloudFormation goes on without this program; to watch it: " + d.watchCommand(stack))
}

// Package doctor checks a deployed stack and its registry for anything that
// keeps images from being indexed. It only reads.
//
// The expected state of each resource comes from the stack's own template and
// parameters, so that changes by hand are found, and a stack of another version
// is compared with its own template.
//
// Start with [Examine].
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/vpc"
	"soci-index-builder/internal/inventory"
)

// Severity of a finding.
type Severity string

// The severities.
const (
	// OK: all is as it should be.
	OK Severity = "ok"
	// Note: whether all is as it should be cannot be determined from here, and nothing
	// indicates that it is not.
	Note Severity = "note"
	// Warning: images are indexed, but something is not as the stack has it,
	// could cost images later, or could not be looked at.
	Warning Severity = "warning"
	// Problem: images are not indexed, or will be lost.
	Problem Severity = "problem"
)

// Check says what was looked at. Names are stable.
type Check string

// The checks.
const (
	CheckStackStatus   Check = "stack-status"           // the last update of the stack
	CheckStackVersion  Check = "stack-version"          // of the stack and of this program
	CheckResources     Check = "stack-resources"        // the template could be compared; no resource failed
	CheckRule          Check = "rule"                   // there, enabled, with its pattern
	CheckTarget        Check = "rule-target"            // the filter function, its dead-letter queue and retries
	CheckPermission    Check = "rule-permission"        // the rule may invoke the filter function
	CheckFunction      Check = "function"               // there, and ready to run
	CheckConfiguration Check = "function-configuration" // handler, runtime, role, memory, timeout
	CheckEnvironment   Check = "function-environment"   // variables
	CheckLogging       Check = "function-logging"       // format, level, log group
	CheckConcurrency   Check = "function-concurrency"   // reserved
	CheckAsync         Check = "function-async"         // retries and destination of failures
	CheckMachine       Check = "state-machine"          // there, active, the stack's
	CheckRole          Check = "role"                   // permissions of the functions' roles, boundary
	CheckLogGroup      Check = "log-group"              // there, with its retention
	CheckQueue         Check = "queue"                  // there, may be written to
	CheckMessages      Check = "queue-messages"         // nothing waits in it
	CheckAlarm         Check = "alarm"                  // there, and quiet
	CheckAlarmActions  Check = "alarm-actions"          // somebody is notified
	CheckActivity      Check = "activity"               // images are indexed
	CheckFilters       Check = "filters"                // each matches a repository
	CheckPolicy        Check = "repository-policy"      // denies nothing that the generator does
	CheckEncryption    Check = "repository-encryption"  // informs
	CheckMutability    Check = "repository-mutability"  // suffixed tags can be moved
	CheckLifecycle     Check = "repository-lifecycle"   // rules do not count suffixed tags
	CheckPullTime      Check = "pull-time"              // the generator's pulls do not count
	CheckBlobMounting  Check = "blob-mounting"          // informs
	CheckNetwork       Check = "network"                // the functions are in the stack's subnets
	CheckReach         Check = "network-reach"          // the services can be reached from the subnets
	CheckSigning       Check = "signing"                // ECR signs what the generator pushes
)

// Finding is what a check found on one thing, or on all things that it looked
// at when all are well.
type Finding struct {
	Check    Check
	Severity Severity
	Subject  string // the name of the rule, function, repository; empty for the stack or the account
	Found    string // one line
	Hint     string // one line, a command where there is one; empty when nothing is to be done
}

// Report of an examination. Findings are in the order of the checks, those of
// one check by subject.
type Report struct {
	Stack    *deployed.Stack
	Findings []Finding
}

// Count returns the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// examination is what the checks have in common. It is not changed while they
// run.
type examination struct {
	stack *deployed.Stack
	now   time.Time

	// resources are those of the stack, as its template wants them; nil when
	// that could not be found out.
	resources []resource

	// repositories are those of the account, repositoriesErr why they could
	// not be listed; chosen are those that the filters choose from.
	repositories, chosen []types.Repository
	repositoriesErr      error

	cloudformation *cloudformation.Client
	cloudwatch     *cloudwatch.Client
	ecr            *ecr.Client
	events         *eventbridge.Client
	iam            *iam.Client
	lambda         *lambda.Client
	logs           *cloudwatchlogs.Client
	sqs            *sqs.Client
	states         *sfn.Client
	vpc            *vpc.Client
}

// checker checks one thing. Findings before an error count; the error becomes
// another finding.
type checker struct {
	check Check // that an error is reported for
	run   func(*examination, context.Context) ([]Finding, error)

	resources    bool // it needs the stack's resources
	repositories bool // it needs the account's repositories
}

// checkers in the order of the report.
var checkers = []checker{
	{check: CheckStackStatus, run: (*examination).stackStatus},
	{check: CheckStackVersion, run: (*examination).stackVersion},
	{check: CheckRule, run: (*examination).rules, resources: true},
	{check: CheckPermission, run: (*examination).permissions, resources: true},
	{check: CheckFunction, run: (*examination).functions, resources: true},
	{check: CheckConcurrency, run: (*examination).concurrency, resources: true},
	{check: CheckAsync, run: (*examination).async, resources: true},
	{check: CheckMachine, run: (*examination).machines, resources: true},
	{check: CheckRole, run: (*examination).roles, resources: true},
	{check: CheckLogGroup, run: (*examination).logGroups, resources: true},
	{check: CheckQueue, run: (*examination).queue, resources: true},
	{check: CheckMessages, run: (*examination).messages},
	{check: CheckAlarm, run: (*examination).alarms, resources: true},
	{check: CheckActivity, run: (*examination).activity},
	{check: CheckFilters, run: (*examination).filters, repositories: true},
	{check: CheckPolicy, run: (*examination).repositoryPolicies, repositories: true},
	{check: CheckEncryption, run: (*examination).encryption, repositories: true},
	{check: CheckMutability, run: (*examination).mutability, repositories: true},
	{check: CheckLifecycle, run: (*examination).lifecycle, repositories: true},
	{check: CheckPullTime, run: (*examination).pullTime},
	{check: CheckBlobMounting, run: (*examination).blobMounting},
	{check: CheckNetwork, run: (*examination).network, resources: true},
	{check: CheckReach, run: (*examination).reach},
	{check: CheckSigning, run: (*examination).signing, repositories: true},
}

// atOnce is how many calls are under way.
const atOnce = 8

// Examine runs every check. A check that lacks a permission, or that AWS does not
// answer, is a finding, and does not stop the others; the error says only
// that ctx ended, or that AWS does not accept the credentials at all.
func Examine(ctx context.Context, cfg aws.Config, stack *deployed.Stack, now time.Time) (*Report, error) {
	source := inventory.ECR(cfg)
	x := &examination{
		stack: stack, now: now, ecr: source.Client(),
		cloudformation: cloudformation.NewFromConfig(cfg), cloudwatch: cloudwatch.NewFromConfig(cfg),
		events: eventbridge.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), lambda: lambda.NewFromConfig(cfg),
		logs: cloudwatchlogs.NewFromConfig(cfg), sqs: sqs.NewFromConfig(cfg),
		states: sfn.NewFromConfig(cfg), vpc: vpc.Open(cfg),
	}
	resources, err := x.readResources(ctx)
	if fatal(ctx, err) {
		return nil, err
	}
	x.listRepositories(ctx, source)
	if fatal(ctx, x.repositoriesErr) {
		return nil, x.repositoriesErr
	}

	all := make([][]Finding, len(checkers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, c := range checkers {
		if c.resources && x.resources == nil {
			continue // one finding says so for all of them
		}
		if c.repositories && x.repositoriesErr != nil {
			all[i] = []Finding{notChecked(c.check, x.repositoriesErr)}
			continue
		}
		g.Go(func() error {
			found, err := c.run(x, gctx)
			if fatal(gctx, err) {
				return err
			}
			for _, err := range separate(err) {
				found = append(found, notChecked(c.check, err))
			}
			all[i] = found
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &Report{Stack: stack, Findings: slices.Concat(append([][]Finding{resources}, all...)...)}, nil
}

// fatal reports whether err makes every other check pointless.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(awserror.Explain(err), awserror.ErrCredentials))
}

// notChecked is the finding of a check that could not be made.
func notChecked(c Check, err error) Finding {
	err = awserror.Explain(err)
	f := Finding{Check: c, Severity: Warning, Found: "could not be checked: " + oneLine(err), Hint: "try again later"}
	if errors.Is(err, awserror.ErrDenied) {
		f.Hint = "allow the action to whoever runs this"
		if action := awserror.Action(err); action != "" {
			f.Hint = "allow " + action + " to whoever runs this"
		}
	}
	return f
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// separate returns the errors of which err was joined. Of several that AWS gave
// for the same reason to the same call only the first is given.
func separate(err error) []error {
	var list []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = slices.Clone(joined.Unwrap())
	} else if err != nil {
		list = []error{err}
	}
	type reason struct {
		kind   error
		action string
	}
	seen := map[reason]bool{}
	return slices.DeleteFunc(list, func(err error) bool {
		e, ok := errors.AsType[*awserror.Error](awserror.Explain(err))
		if !ok || e.Kind == nil {
			return false
		}
		why := reason{e.Kind, e.Action}
		again := seen[why]
		seen[why] = true
		return again
	})
}

// wellOr returns the findings, or when there are none one that says that all is
// well.
func wellOr(found []Finding, c Check, format string, v ...any) []Finding {
	if len(found) > 0 {
		return found
	}
	return []Finding{{Check: c, Severity: OK, Found: fmt.Sprintf(format, v...)}}
}

// region returns the option of the aws command line that every fix has.
func (x *examination) region() string { return " --region " + x.stack.Region }

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/backfill/pace"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/redrive"
	"soci-index-builder/internal/text/terminal"
)

type redriveCommand struct {
	aws     awsFlags
	stack   stackFlag
	output  outputFlag
	full    fullFlag
	retry   bool
	discard bool
	yes     bool
	images  []string
	reasons []string
	ids     []string
	limit   int
	rate    float64
}

func newRedriveCommand() *cobra.Command {
	c := &redriveCommand{}
	cmd := &cobra.Command{
		Use:   "redrive",
		Short: "Show the events that failed for good, and retry or discard them",
		Long: `Show the messages in a stack's failure queue: events that EventBridge could not
deliver to the filter, events that Lambda gave up on, and events with failures that
a function knew to be permanent. Each shows the image, when, where and why it
failed, and the command that shows its log.

Without --retry or --discard nothing is changed, and all messages are visible to
others again as soon as the command ends. With one of them but without --yes, the
command shows what it would do.

--retry invokes the function that failed (the filter, for events that the rule could
not deliver), asynchronously and with the unchanged event, and deletes the message
once Lambda has accepted the invocation. A message that cannot be retried stays in
the queue, as do those left after an interruption. Fix the cause first: an event that
fails again returns to the queue.

--discard deletes messages; one of unknown format only if --id names it.

--image, --reason and --id choose messages; each may be repeated, and a message
must match one value of each flag given.

Listing counts as receiving: "received" rises by one each time.

The caller needs cloudformation:DescribeStacks; sqs:ReceiveMessage,
sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queue; for --retry
lambda:InvokeFunction on both functions and sqs:DeleteMessage, for --discard
sqs:DeleteMessage.

With --output json, the output is one JSON object for each message, each on its own
line:
  id, origin (rule, lambda, function, event: put there by hand, unknown),
  reference (HOST/NAME:TAG, or @DIGEST without a tag; without HOST if the event does
  not tell account and region), repository, tag, digest, eventId, failedAt (time),
  function (ARN), attempts, condition, requestId, class, reason, error,
  received (times), event, retriable, hindrance (why it is not), logs (the command for its log),
  result (retried, discarded, failed; empty if nothing was done), resultError (why it
    failed), and
  body and attributes of one whose format is unknown or whose event was cut`,
		Example: `  soci-index-builder redrive --stack soci
  soci-index-builder redrive --stack soci-index-builder \
      --reason access-denied --retry
  soci-index-builder redrive --stack soci-index-builder \
      --reason access-denied --retry --yes
  soci-index-builder redrive --stack soci-index-builder --image team/app:1.4 \
      --discard --yes
  soci-index-builder redrive --stack soci-index-builder -o json \
      | jq -r 'select(.class == "permanent") | .repository' | sort | uniq -c`,
		Args: takes(0, 0, "no arguments but flags"),
		RunE: c.run,
	}
	c.aws.add(cmd)
	c.stack.add(cmd)
	takeDefaults(cmd, always)
	c.output.add(cmd)
	c.full.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.retry, "retry", false, "invoke the functions again")
	f.BoolVar(&c.discard, "discard", false, "delete the messages")
	addYes(cmd, &c.yes, "do what --retry or --discard asks for; without it nothing is changed")
	f.StringArrayVar(&c.images, "image", nil,
		"only messages about this REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST; may be repeated")
	f.StringArrayVar(&c.reasons, "reason", nil, "only messages with this reason, as the list shows it; may be repeated")
	f.StringArrayVar(&c.ids, "id", nil, "only the message with this id; may be repeated")
	addLimit(f, &c.limit, 1000, mostImages, "read at most n messages; 0 means all")
	addRate(f, &c.rate, 2,
		"retries per second; 0 means as fast as Lambda allows; more than 2 can exceed ECR's limit of 10 manifests "+
			"per second")
	return cmd
}

func (c *redriveCommand) run(cmd *cobra.Command, _ []string) error {
	selection, err := c.selection(cmd)
	if err != nil {
		return err
	}
	cfg, stack, err := c.stack.find(cmd, &c.aws)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	queue := &redrive.Queue{Client: sqs.NewFromConfig(cfg), URL: stack.Outputs[deployed.OutFailureQueueURL]}
	lease, err := queue.Receive(ctx, c.limit)
	if err != nil {
		return explain(err)
	}
	w := &redriveWork{
		redriveCommand: c, cmd: cmd, lease: lease, invoker: lambda.NewFromConfig(cfg),
		functions: redrive.Functions{Filter: stack.Outputs[deployed.OutFilterFunctionARN],
			Generator: stack.Outputs[deployed.OutGeneratorFunctionARN],
			Steps:     stack.Outputs[deployed.OutStepsFunctionARN],
			Machine:   stack.Outputs[deployed.OutStateMachineARN]},
		pacer: &pace.Pacer{},
	}
	err = w.do(ctx, selection)
	if returned := lease.Return(ctx); returned != nil {
		printError(cmd.ErrOrStderr(), explain(returned))
		return cmp.Or(err, errReported)
	}
	return err
}

func (c *redriveCommand) selection(cmd *cobra.Command) (redrive.Selection, error) {
	s := redrive.Selection{Reasons: c.reasons, IDs: c.ids}
	switch {
	case c.retry && c.discard:
		return s, usageErrorf("%s: --retry and --discard exclude each other", cmd.CommandPath())
	case c.yes && !c.retry && !c.discard:
		return s, usageErrorf("%s: --yes needs --retry or --discard", cmd.CommandPath())
	}
	for name, values := range map[string][]string{"id": c.ids, "reason": c.reasons} {
		if slices.Contains(values, "") {
			return s, usageErrorf("invalid argument \"\" for \"--%s\" flag: must be one that redrive --stack %s shows",
				name,
				terminal.ShellWord(c.stack.name))
		}
	}
	for _, text := range c.images {
		image, err := names.ParseECR(text)
		if err != nil {
			return s, usageErrorf("--image: %w", err)
		}
		s.Images = append(s.Images, image)
	}
	return s, nil
}

// redriveWork is the work on the messages that were read.
type redriveWork struct {
	*redriveCommand
	cmd       *cobra.Command
	lease     *redrive.Lease
	invoker   redrive.Invoker
	functions redrive.Functions
	pacer     *pace.Pacer

	chosen, done, failed int
}

func (w *redriveWork) do(ctx context.Context, selection redrive.Selection) error {
	var abort error
	for _, m := range w.lease.Messages() {
		if !selection.Matches(m) {
			continue
		}
		w.chosen++
		var err error
		if w.yes {
			if err = w.work(ctx, m, selection); err != nil && ctx.Err() != nil {
				abort = err
				break
			}
		}
		if err := w.show(m, err); err != nil {
			return err
		}
		if err == nil {
			continue
		}
		w.failed++
		err = explain(err)
		printError(w.cmd.ErrOrStderr(), err)
		// The caller's credentials and permissions are the same for every message.
		if errors.Is(err, awserror.ErrDenied) || errors.Is(err, awserror.ErrCredentials) {
			abort = errReported
			break
		}
	}
	for _, id := range w.ids {
		if !slices.ContainsFunc(w.lease.Messages(), func(m *redrive.Message) bool { return m.ID == id }) {
			printError(w.cmd.ErrOrStderr(),
				fmt.Errorf("no message %s among the %d that were read", id, len(w.lease.Messages())))
			w.failed++
		}
	}
	w.warnUnmatched(selection)
	if err := w.summary(ctx); err != nil {
		return cmp.Or(abort, err)
	}
	if abort == nil && w.failed > 0 {
		return errReported
	}
	return abort
}

// warnUnmatched tells of reasons and images that no message has: they may be
// mistyped. A queue in which there is nothing, or nothing left of them, is no failure.
func (w *redriveWork) warnUnmatched(s redrive.Selection) {
	read := w.lease.Messages()
	if len(read) == 0 {
		return
	}
	var reasons []string
	for _, m := range read {
		if m.Reason != "" && !slices.Contains(reasons, m.Reason) {
			reasons = append(reasons, m.Reason)
		}
	}
	slices.Sort(reasons)
	has := func(s redrive.Selection) bool { return slices.ContainsFunc(read, s.Matches) }
	warn := func(what, hint string) {
		printError(w.cmd.ErrOrStderr(), fmt.Errorf("warning: no message %s among the %d that were read%s", what,
			len(read), hint))
	}
	for _, reason := range s.Reasons {
		if !has(redrive.Selection{Reasons: []string{reason}}) {
			warn(fmt.Sprintf("with the reason %.100q", reason), fmt.Sprintf("%s their reasons are %s",
				separator(didYouMean(reason, reasons)), cmp.Or(strings.Join(reasons, ", "), "not told")))
		}
	}
	for _, image := range s.Images {
		if !has(redrive.Selection{Images: []names.Image{image}}) {
			warn("about "+image.String(), "")
		}
	}
}

// work retries or discards one message.
func (w *redriveWork) work(ctx context.Context, m *redrive.Message, selection redrive.Selection) error {
	if w.discard {
		if m.Origin == redrive.Unknown && len(selection.IDs) == 0 {
			return fmt.Errorf("message %s: %w", m.ID, redrive.ErrUnknownFormat)
		}
		if err := w.lease.Discard(ctx, m); err != nil {
			return err
		}
		w.done++
		return nil
	}
	if _, err := w.functions.Of(m); err != nil {
		return fmt.Errorf("message %s cannot be retried: %w", m.ID, err)
	}
	if err := w.pacer.Wait(ctx, w.interval()); err != nil {
		return err
	}
	if err := w.lease.Retry(ctx, m, w.functions, w.invoker); err != nil {
		return err
	}
	w.done++
	return nil
}

// interval is how long the next retry has to wait after one.
func (w *redriveWork) interval() time.Duration {
	if w.rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / w.rate)
}

// show tells of one message, after work on it if there was any.
func (w *redriveWork) show(m *redrive.Message, failure error) error {
	result := ""
	switch {
	case !w.yes:
	case failure != nil:
		result = "failed"
	case w.retry:
		result = "retried"
	default:
		result = "discarded"
	}
	out := w.cmd.OutOrStdout()
	switch {
	case w.output == outputJSON:
		return writeJSONLine(out, w.json(m, result, failure))
	case w.yes:
		if failure != nil {
			return nil // told on the standard error
		}
		p := newPrinter(out)
		p.printf("%s  %s  %s\n", result, m.ID, cmp.Or(w.full.image(m.Image()), "(no image)"))
		return p.err
	}
	return w.text(out, m)
}

// summary says what was done, and what is left.
func (w *redriveWork) summary(ctx context.Context) error {
	if w.output == outputJSON {
		return nil
	}
	read := len(w.lease.Messages())
	p := newPrinter(w.cmd.OutOrStdout())
	switch {
	case read == 0:
		p.printf("the failure queue is empty\n")
	case !w.yes:
		where := "in"
		if !w.lease.Complete() {
			where = "read from"
		}
		p.printf("%s %s the failure queue", count(read, "message"), where)
		if w.chosen < read {
			p.printf(", %d chosen", w.chosen)
		}
		switch {
		case w.retry && w.chosen > 0:
			p.printf("; nothing was changed, --yes retries what was chosen\n")
		case w.discard && w.chosen > 0:
			p.printf("; nothing was changed, --yes discards what was chosen\n")
		default:
			p.printf("; nothing was changed\n")
		}
	case w.retry:
		p.printf("%d retried, %d in the queue still\n", w.done, read-w.done)
	default:
		p.printf("%d discarded, %d in the queue still\n", w.done, read-w.done)
	}
	if ctx.Err() != nil {
		return p.err
	}
	visible, held, err := w.lease.Elsewhere(ctx)
	if err != nil {
		return explain(err)
	}
	if visible > 0 {
		p.printf("about %s not read; --limit 0 reads all\n", counted(visible, "more message was", "more messages were"))
	}
	if held > 0 {
		p.printf("about %s held by somebody else, and will be back within minutes if not deleted\n",
			counted(held, "more message is", "more messages are"))
	}
	return p.err
}

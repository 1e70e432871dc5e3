package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/execution"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
)

func newWatchCommand() *cobra.Command {
	var (
		from   awsFlags
		stack  stackFlag
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "watch --stack NAME",
		Short: "Watch what CloudFormation does with a stack",
		Long: `Watch a stack that is being created, updated, rolled back or deleted, whoever began
that, until it has ended. If it fails, the reason is printed, and the exit code is
1. When nothing goes on, this is said.

Ctrl-C ends the watching and nothing else; the exit code is then 130.

Needed are cloudformation:DescribeStacks and cloudformation:DescribeStackEvents;
for the reason of a failure also cloudformation:DescribeEvents,
cloudformation:ListStackResources and logs:FilterLogEvents.

With --output json each line is one JSON object, a line, event or failure, as
"help json deploy" shows.`,
		Example: `  soci-index-builder watch --stack soci-index-builder --region eu-west-1`,
		Args:    takes(0, 0, "no argument"),
	}
	stack.add(cmd)
	from.add(cmd)
	takeDefaults(cmd, always)
	output.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if stack.name == "" {
			return usageErrorf("%s: --stack is required, the name of the stack", cmd.CommandPath())
		}
		if err := stack.locate(cmd, &from); err != nil {
			return err
		}
		cfg, err := from.load(cmd)
		if err != nil {
			return err
		}
		client := cloudformation.NewFromConfig(cfg)
		found, err := target.Status(cmd.Context(), client, stack.name)
		if err != nil {
			return explain(err)
		}
		if found == nil {
			return withoutStack(deployed.NotFound(cmd.Context(), cfg, stack.name), &from)
		}
		screen := newDeployScreen(cmd, output, nil)
		display := screen.Events()
		w := &execution.Watch{Client: client, Logs: cloudwatchlogs.NewFromConfig(cfg), StackID: found.ID,
			Patience: deployPatience, Seen: display.Event, Tick: display.Tick}
		outcome, err := w.Run(cmd.Context())
		display.End()
		switch {
		case errors.Is(err, context.Canceled):
			return fmt.Errorf("stack %s: %w", found.Name, execution.ErrLeft)
		case errors.Is(err, execution.ErrIdle):
			screen.Tell(err.Error())
			return screen.err
		case err != nil:
			return explain(err)
		case outcome.Failure != nil:
			screen.Failed(outcome)
			return errors.Join(deploy.Failure(found.Name, outcome), screen.err)
		}
		return screen.err
	}
	return cmd
}

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
)

func newRollbackCommand() *cobra.Command {
	var (
		from    awsFlags
		stack   stackFlag
		output  outputFlag
		full    fullFlag
		given   settings.Flags
		yes     bool
		detach  bool
		disable bool
	)
	cmd := &cobra.Command{
		Use:   "rollback --stack NAME",
		Short: "Deploy the version that ran before",
		Long: `Deploy the version of a stack that ran before: its template, its parameters and its
code, from the record that deploy wrote. It is a deploy as any other: a change set
is made, shown and asked about, executed and watched, and a failure is reported;
and it writes a record, so that a second rollback goes back to where the first
began. After deploy --code-only the code is put back. When an update has failed
without being rolled back, or somebody else has updated the stack, it goes to the
last version that was deployed.

Only what deploy has done can be rolled back. If there is no record of an earlier
version, rollback says so and changes nothing. Parameters that CloudFormation hides
are not in records: they stay as they are.

Without a terminal --yes, --capabilities CAPABILITY_IAM and --allow-replacement
stand for the answers, as they do for deploy. The permissions needed are those of
deploy.

With --output json each line is one JSON object with a type: step, line, parameter,
tag, change, empty, event, failure, outputs, doctor and next, with the fields that
"help json deploy" shows.`,
		Example: `  soci-index-builder rollback --stack soci --region eu-west-1`,
		Args:    takes(0, 0, "no argument"),
	}
	stack.add(cmd)
	takeDefaults(cmd, always)
	from.add(cmd)
	flags := cmd.Flags()
	addYes(cmd, &yes, "roll back without a question")
	flags.BoolVar(&detach, "detach", false, "do not wait for CloudFormation")
	given.BindOnly(flags, "role-arn", "capabilities", "allow-replacement")
	flags.BoolVar(&disable, "disable-rollback", false, "leave a rollback that failed as it is, to look at it")
	output.add(cmd)
	full.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if stack.name == "" {
			return usageErrorf("%s: --stack is required, the name of the stack", cmd.CommandPath())
		}
		if err := stack.locate(cmd, &from); err != nil {
			return err
		}
		id := ""
		s := given.Given().Settings
		s.Stack, s.DisableRollback = stack.name, disable
		if _, name, isARN := strings.Cut(stack.name, ":stack/"); isARN {
			id = stack.name
			s.Stack, _, _ = strings.Cut(name, "/")
		}
		terminal := openTerminal(cmd.InOrStdin(), cmd.ErrOrStderr())
		m := deploy.Mode{Rollback: true, StackID: id, Interactive: terminal != nil, Yes: yes, Detach: detach,
			Full: bool(full), Patience: deployPatience,
			Interrupts: interrupts, Registry: ecrEndpoint(), Functions: functionCode}
		screen := newDeployScreen(cmd, output, terminal)
		screen.full = full
		d, err := deploy.New(settings.Of(settings.Flag, s), m, screen)
		if err != nil {
			return deployError("rollback", err)
		}
		if d.AWS, err = from.load(cmd); err != nil {
			return err
		}
		return runDeploy(cmd, d, screen)
	}
	return cmd
}

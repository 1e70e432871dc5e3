package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/ecrclient"
)

func newRootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   programName,
		Short: "Build, inspect and verify SOCI indexes",
		Long: `Build, inspect and verify SOCI indexes, with which a container can start
before its image is downloaded.

A SOCI index lists a zTOC for each large layer of an image: a table of its
files, and checkpoints from which each file can be read without the bytes
before it.

References have the form [HOST/]NAME[:TAG|@DIGEST]; the part before the first slash
is a host if it contains a dot or a colon or is localhost. Without a host the image is
in the account's Amazon ECR registry. For Amazon ECR the AWS SDK's credentials are
used (environment, profile, role), for other registries those of "docker login" or
"podman login"; a credentials file named by REGISTRY_AUTH_FILE takes precedence.
Registries on loopback addresses are contacted over plain HTTP.

` + stackDefaultsHelp + ` That holds for the
commands that need a stack, but for destroy, whose stack is to be named. Of the
others, all take the region from ` + regionVariable + `, and those
with --stack take region and profile from the file when it is given.

Results go to standard output; errors (one line each), progress and logs go to
standard error.

` + exitCodeHelp,
		Version:       version,
		SilenceErrors: true, // exitCode prints them
		SilenceUsage:  true,
		Args:          needsCommand,

		PersistentPreRunE: checkEndpoint,

		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n" + terminal.Of(os.Stdout).Fill(functionsText()) + "\n")
	cmd.PersistentFlags().BoolP("verbose", "v", false, "log what the libraries do, to standard error")
	cmd.PersistentFlags().BoolP("quiet", "q", false, "show no progress; results and errors are still written")
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetHelpCommand(newHelpCommand())
	cmd.SetHelpFunc(writeHelp)
	addGroup(cmd, "Images", newIndexCommand(), newInspectCommand(), newVerifyCommand(), newEstimateCommand(),
		newWaitCommand(), newDemoCommand())
	addGroup(cmd, "The stack", newDeployCommand(), newWatchCommand(), newRollbackCommand(), newDestroyCommand(),
		newDoctorCommand(), newLogsCommand(), newRedriveCommand(), newFiltersCommand())
	addGroup(cmd, "The registry's upkeep", newStatusCommand(), newBackfillCommand(), newCleanupCommand())
	addGroup(cmd, "Files", newZtocCommand())
	cmd.AddCommand(newCompletionCommand(), newVersionCommand(), newDocsCommand())
	completeValues(cmd) // of all commands, so it comes last
	return cmd
}

// addGroup adds commands that the help lists under a title.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// functionsText says which functions the binary contains.
func functionsText() string {
	if embedded.Architectures() == nil {
		return embedded.ErrNoFunctions.Error()
	}
	return "with the functions for " + strings.Join(embedded.Architectures(), " and ")
}

// needsCommand is for commands that only hold other ones.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, err := commandOf(cmd, args[0])
	return err
}

// takes returns an Args function for the number of arguments, max < 0 being any
// number.
func takes(low, high int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || (high >= 0 && len(args) > high) {
			hint := ""
			if f := cmd.Flags().Lookup("stack"); high == 0 && f != nil && !f.Changed {
				hint = fmt.Sprintf("; a stack is named by --stack %.100s", args[0])
			}
			if hint == "" && len(args) > max(high, 0) {
				hint = fmt.Sprintf("; leave out %.100q", args[max(high, 0)])
			}
			return usageErrorf("%s takes %s, not %s%s", cmd.CommandPath(), what, count(len(args), "argument"), hint)
		}
		return nil
	}
}

// logger is for the libraries: silent unless asked for.
func logger(cmd *cobra.Command) *slog.Logger {
	if verbose, err := cmd.Flags().GetBool("verbose"); err != nil || !verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// registryFlags are those of every command that talks to a registry.
type registryFlags struct {
	plainHTTP bool
	flag      *pflag.Flag // of plainHTTP

	tls map[string]bool // whether a host speaks TLS, as far as it was asked
}

func (f *registryFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.plainHTTP, "plain-http", false,
		"use http for the registry, which is the default for loopback addresses")
	f.flag = cmd.Flags().Lookup("plain-http")
}

// wordsFor are words for a command that names a repository of a host, as those of
// awsFlags: --plain-http as it is given. It is not for ECR.
func (f *registryFlags) wordsFor(host string) string {
	_, ofECR := ecrclient.ParseECRHost(host)
	switch {
	case host == "" || ofECR || f.flag == nil || !f.flag.Changed:
		return ""
	case f.plainHTTP:
		return " --plain-http"
	}
	return " --plain-http=false"
}

// options are those of every repository.
func (f *registryFlags) options(cmd *cobra.Command) []ecrclient.Option {
	opts := []ecrclient.Option{ecrclient.WithLogger(logger(cmd)), ecrclient.WithUserAgent(programName + "/" + version)}
	if cmd.Flags().Changed("plain-http") {
		opts = append(opts, ecrclient.WithPlainHTTP(f.plainHTTP))
	}
	return opts
}

// ecrEndpoint is for repositories of ECR: ECR_REGISTRY_ENDPOINT names a
// registry that takes the place of ECR, as it does for the functions.
var ecrEndpoint = func() []ecrclient.Option {
	if endpoint := os.Getenv("ECR_REGISTRY_ENDPOINT"); endpoint != "" {
		return []ecrclient.Option{ecrclient.WithEndpoint(endpoint)}
	}
	return nil
}

// checkEndpoint looks at ECR_REGISTRY_ENDPOINT before a command that asks a registry
// does anything.
func checkEndpoint(cmd *cobra.Command, _ []string) error {
	endpoint := os.Getenv("ECR_REGISTRY_ENDPOINT")
	if endpoint == "" || cmd.Flags().Lookup("plain-http") == nil {
		return nil
	}
	if _, _, err := names.ParseEndpoint(endpoint); err != nil {
		return usageErrorf("%s: ECR_REGISTRY_ENDPOINT %.200q: %w", cmd.CommandPath(), names.WithoutSecrets(endpoint),
			err)
	}
	return nil
}

// addYes adds --yes, which has the same short name in all commands.
func addYes(cmd *cobra.Command, yes *bool, usage string) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, usage)
}

// outputFlag is --output.
type outputFlag string

const (
	outputText outputFlag = "text"
	outputJSON outputFlag = "json"
)

func (f *outputFlag) add(cmd *cobra.Command) {
	*f = outputText
	cmd.Flags().VarP(f, "output", "o", "text, or json with the fields that \"help json\" shows")
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{string(outputText), string(outputJSON)}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *outputFlag) String() string { return string(*f) }
func (f *outputFlag) Type() string   { return "text|json" }

func (f *outputFlag) Set(s string) error {
	switch o := outputFlag(s); o {
	case outputText, outputJSON:
		*f = o
		return nil
	}
	return fmt.Errorf("must be text or json")
}

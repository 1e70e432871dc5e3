package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shells that completions are written for.
var shells = []struct {
	name  string
	write func(*cobra.Command, io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
	{"powershell", func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) }},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
}

func shellNames() []string {
	names := make([]string, len(shells))
	for i, s := range shells {
		names[i] = s.name
	}
	return names
}

func newCompletionCommand() *cobra.Command {
	names := strings.Join(shellNames(), "|")
	return &cobra.Command{
		Use:   "completion " + names,
		Short: "Write a shell's completion script for commands and flags",
		Long: `Write the script with which a shell completes commands, flags and the values of
flags.

bash needs the package bash-completion, and reads the script from
~/.local/share/bash-completion/completions; zsh reads it from any folder in
fpath, when compinit runs. Release archives contain the scripts in the folder
completions.`,
		Example: `  # bash: this session; every session
  source <(soci-index-builder completion bash)
  mkdir -p ~/.local/share/bash-completion/completions
  soci-index-builder completion bash \
      > ~/.local/share/bash-completion/completions/soci-index-builder

  # zsh: every session
  mkdir -p ~/.zfunc && soci-index-builder completion zsh \
      > ~/.zfunc/_soci-index-builder
  printf 'fpath=(~/.zfunc $fpath)\nautoload -Uz compinit && compinit\n' \
      >> ~/.zshrc

  # fish: every session
  soci-index-builder completion fish \
      > ~/.config/fish/completions/soci-index-builder.fish

  # PowerShell: this session
  soci-index-builder completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: shellNames(),
		Args:      takes(1, 1, "one shell: "+strings.Join(shellNames(), ", ")),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range shells {
				if s.name == args[0] {
					return s.write(cmd.Root(), cmd.OutOrStdout())
				}
			}
			return usageErrorf("%s: unknown shell %q%s the shells are %s", cmd.CommandPath(), args[0],
				separator(valueMeant(args[0], shellNames())), strings.Join(shellNames(), ", "))
		},
	}
}

// completeValues has the shell offer what a flag can be, for every flag of cmd
// and its subcommands that does not define them itself: the words of a type
// like "text|json", files where the flag is marked to name one, and otherwise
// nothing. The same goes for arguments, which are files if the line of use says
// so.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { completeFlag(cmd, f) })
	cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { completeFlag(cmd, f) })
	if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && !takesFiles(cmd) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
}

func completeFlag(cmd *cobra.Command, f *pflag.Flag) {
	if _, ok := cmd.GetFlagCompletionFunc(f.Name); ok || f.NoOptDefVal != "" || namesFiles(f) {
		return
	}
	complete := cobra.NoFileCompletions
	if words := strings.Split(f.Value.Type(), "|"); len(words) > 1 {
		complete = cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // there is none yet
}

// namesFiles reports whether the flag was marked by MarkFlagFilename or
// MarkFlagDirname.
func namesFiles(f *pflag.Flag) bool {
	_, file := f.Annotations[cobra.BashCompFilenameExt]
	_, folder := f.Annotations[cobra.BashCompSubdirsInDir]
	return file || folder
}

func takesFiles(cmd *cobra.Command) bool {
	return slices.ContainsFunc(strings.Fields(cmd.Use)[1:], func(word string) bool {
		word = strings.Trim(word, "[].…")
		return word == "FILE" || word == "DIR" || word == "LAYER"
	})
}

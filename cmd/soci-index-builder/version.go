package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/pkg/soci"
)

// versionJSON is the JSON output of version; its field names are promised in the
// help text.
type versionJSON struct {
	Version   string   `json:"version"`
	Commit    string   `json:"commit,omitempty"`
	Date      string   `json:"date,omitempty"`
	Modified  bool     `json:"modified,omitempty"`
	Go        string   `json:"go"`
	Platform  string   `json:"platform"`
	BuildTool string   `json:"buildTool"`
	Functions []string `json:"functions,omitempty"`
}

func newVersionCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version, and what this binary was built from",
		Long: `Show the version, the commit and its date as far as the build recorded them, the
version of Go, and the build-tool identifier, which names the format of zTOCs and
SOCI indexes and is in each of them.

With --output json, the output is one JSON object:
  version, commit, date (of the commit), modified (there were changes beside it),
  go, platform, buildTool, and functions (the architectures of the functions
  that the binary contains)`,
		Example: `  soci-index-builder version
  soci-index-builder version -o json | jq -r .buildTool`,
		Args: takes(0, 0, "no arguments"),
	}
	output.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := thisVersion()
		if output == outputJSON {
			return writeJSONLine(cmd.OutOrStdout(), v)
		}
		t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "version:\t%s\n", v.Version)
		if v.Commit != "" {
			modified := ""
			if v.Modified {
				modified = ", with changes"
			}
			fmt.Fprintf(t, "commit:\t%s%s\ndate:\t%s\n", v.Commit, modified, v.Date)
		} else {
			fmt.Fprintf(t, "commit:\tnot recorded\n")
		}
		fmt.Fprintf(t, "Go:\t%s %s\nformat:\t%s\n", v.Go, v.Platform, v.BuildTool)
		if err := t.Flush(); err != nil {
			return err
		}
		p := newPrinter(cmd.OutOrStdout())
		p.printf("%s\n", functionsText())
		return p.err
	}
	return cmd
}

func thisVersion() versionJSON {
	v := versionJSON{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Commit: commit, Date: commitDate, BuildTool: soci.BuildToolIdentifier, Functions: embedded.Architectures()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

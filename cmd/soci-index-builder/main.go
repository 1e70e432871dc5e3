// Command soci-index-builder builds, inspects and verifies SOCI indexes, with
// which a container can start before its image is downloaded.
package main

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"syscall"

	project "soci-index-builder/internal/embedded/version"
)

// version is set by the linker for a release.
var version = project.Version + "-dev"

// commit and commitDate are set by the linker for a release, which has no
// record of its own of what it was built from.
var commit, commitDate string

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	cmd := newRootCommand()
	cmd.SetArgs(args)
	// Otherwise cobra too reports, on standard error, that the version could not be written.
	cmd.SetOut(os.Stdout)
	help := noteHelpFailure(cmd)
	err := cmd.ExecuteContext(ctx)
	return exitCode(ctx, os.Stderr, cmp.Or(err, *help))
}

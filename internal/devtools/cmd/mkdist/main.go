// Mkdist builds what is deployed into a folder, or a release of it, or installs
// the command line with it. Run it from
// inside the module:
//
//	go run ./internal/devtools/cmd/mkdist [-o dist] [-arch arm64,amd64]
//	go run ./internal/devtools/cmd/mkdist -release [-o dist] [-version 1.2.3]
//	go run ./internal/devtools/cmd/mkdist -install
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"

	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/embedded/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mkdist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mkdist", flag.ContinueOnError)
	folder := flags.String("o", "dist", "write into `folder`")
	list := flags.String("arch", strings.Join(dist.Architectures, ","),
		"build for these `architectures`, separated by commas")
	release := flags.Bool("release", false, "build the archives of a release, with their checksums")
	number := flags.String("version", "", "`version` of the release (default as git describes it)")
	install := flags.Bool("install", false, "install the command line with the functions in it, where go install does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: there are only flags", flags.Arg(0))
	}
	if *number != "" && !*release {
		return fmt.Errorf("flag -version: only with -release")
	}
	if *install {
		if flags.NFlag() > 1 {
			return fmt.Errorf("flag -install: takes no other flag")
		}
		return dist.Install(ctx)
	}
	architectures := strings.Split(*list, ",")
	for _, arch := range architectures {
		if !slices.Contains(dist.Architectures, arch) {
			return fmt.Errorf("flag -arch: %q is not one of %s", arch, strings.Join(dist.Architectures, ", "))
		}
	}
	var failed error
	done := func(path string) {
		sum, size, err := sumOf(path)
		if err != nil {
			failed = err
			return
		}
		fmt.Fprintf(out, "%s  %10d  %s\n", sum, size, path)
	}
	var err error
	if *release {
		err = buildRelease(ctx, dist.Release{Version: *number, Folder: *folder, Architectures: architectures}, done)
	} else {
		err = dist.Build(ctx, *folder, architectures, done)
	}
	if err != nil {
		return err
	}
	return failed
}

// releasePattern is a version of a release, and what may follow one.
var releasePattern = regexp.MustCompile(`^(v?[0-9]+\.[0-9]+\.[0-9]+)([-+].*)?$`)

func buildRelease(ctx context.Context, r dist.Release, done func(path string)) error {
	given := r.Version != ""
	if !given {
		var err error
		if r.Version, err = dist.Describe(ctx); err != nil {
			return fmt.Errorf("no version is given (make dist VERSION=1.2.3): %w", err)
		}
	}
	// A commit after a release is described by that, whatever the code says by then.
	if m := releasePattern.FindStringSubmatch(r.Version); m != nil && m[1] != version.Version && (given || m[2] == "") {
		return fmt.Errorf(
			"version %q: internal/embedded/version has %q, which the stack and its records would carry: raise "+
				"it there first, then make generate", r.Version, version.Version)
	}
	return r.Build(ctx, done)
}

// sumOf returns the file's sha256 and its size in bytes.
func sumOf(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), n, err
}

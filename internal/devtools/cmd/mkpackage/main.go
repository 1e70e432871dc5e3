// Mkpackage builds the functions, puts them into an S3 bucket and prints the
// command that deploys the plain template with them. Run it from inside the
// module:
//
//	go run ./internal/devtools/cmd/mkpackage -bucket my-bucket [-prefix soci-index-builder/] \
//	  [-region eu-west-1] [-profile name]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/embedded/version"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, dist.Build); err != nil {
		fmt.Fprintln(os.Stderr, "mkpackage:", err)
		os.Exit(1)
	}
}

// options are the flags. An empty one is the default.
type options struct {
	bucket, prefix  string
	region, profile string
	arch            string
	stack, filters  string
	folder          string
	template        string
}

// builder is dist.Build.
type builder func(ctx context.Context, folder string, architectures []string, done func(path string)) error

// run writes the command to out, and what it does on the way to progress.
func run(ctx context.Context, args []string, out, progress io.Writer, build builder) error {
	var o options
	flags := flag.NewFlagSet("mkpackage", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.StringVar(&o.bucket, "bucket", "",
		"put the code into this `bucket`, which is in the stack's region; required")
	flags.StringVar(&o.prefix, "prefix", "", "begin the keys with `prefix` (default "+codebucket.OwnPrefix+")")
	flags.StringVar(&o.region, "region", "",
		"AWS `region` of bucket and stack (default that of the environment or the profile)")
	flags.StringVar(&o.profile, "profile", "", "`profile` of the AWS configuration")
	flags.StringVar(&o.arch, "arch", "",
		"`architecture` of the code, arm64 or amd64 (default the template's, which it must be)")
	flags.StringVar(&o.stack, "stack", "", "`name` of the stack in the command (default "+defaultStack+")")
	flags.StringVar(&o.filters, "filters", "", "`filters` in the command (default *:*)")
	flags.StringVar(&o.folder, "o", "dist", "build into `folder`")
	flags.StringVar(&o.template, "template", "", "`file` of the template in the command (default "+defaultTemplate+")")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: there are only flags", flags.Arg(0))
	}
	t, err := o.complete()
	if err != nil {
		return err
	}
	cfg, err := awsconfig.Load(ctx, awsconfig.Options{
		Profile: o.profile, ProfileFlag: "PROFILE=name",
		Region: o.region, RegionFlag: "REGION=eu-west-1, that of bucket and stack",
		Code: awsconfig.Prompt(os.Stdin, progress),
	})
	if err != nil {
		return err
	}
	bucket, err := codebucket.Open(ctx, cfg, o.bucket)
	if err != nil {
		return err
	}
	p, err := pack(ctx, o, progress, build)
	if err != nil {
		return err
	}
	for _, object := range p.Objects {
		sent, err := bucket.Upload(ctx, object)
		if err != nil {
			return err
		}
		what := "there already"
		if sent {
			what = "uploaded"
		}
		fmt.Fprintf(progress, "%-13s  s3://%s/%s\n", what, o.bucket, object.Key)
	}
	_, err = fmt.Fprintln(out, o.command(t, p.Prefix))
	return err
}

const (
	defaultStack = "soci-index-builder"

	defaultTemplate = "templates/soci-index-builder.template.json"
)

// complete fills in the defaults and checks everything that can be checked
// without AWS.
func (o *options) complete() (*template, error) {
	if o.bucket == "" {
		return nil, fmt.Errorf(
			"no bucket: say where to put the code, with make package BUCKET=name; make one with  aws s3 " +
				"mb s3://name")
	}
	if err := codebucket.CheckBucketName(o.bucket); err != nil {
		return nil, fmt.Errorf("bucket: %w", err)
	}
	setDefault(&o.prefix, codebucket.OwnPrefix)
	if err := codebucket.CheckPrefix(o.prefix); err != nil {
		return nil, fmt.Errorf("prefix: %w", err)
	}
	setDefault(&o.stack, defaultStack)
	if !names.IsStack(o.stack) {
		return nil, fmt.Errorf("stack: %q is not the name of a stack: allowed are 1 to 128 of A-Z, a-z, 0-9 and -, a "+
			"letter at the beginning", o.stack)
	}
	setDefault(&o.filters, "*:*")
	if _, err := filters.Parse(o.filters); err != nil {
		return nil, fmt.Errorf("filters: %w", err)
	}
	setDefault(&o.template, defaultTemplate)
	t, err := readTemplate(o.template)
	if err != nil {
		return nil, err
	}
	setDefault(&o.arch, t.arch)
	if o.arch != t.arch {
		return nil, fmt.Errorf("architecture: %q is not that of the functions in %s, %q", o.arch, o.template, t.arch)
	}
	return t, nil
}

func setDefault(s *string, def string) {
	if *s == "" {
		*s = def
	}
}

// pack builds the functions into the folder and reads them.
func pack(ctx context.Context, o options, progress io.Writer, build builder) (*codebucket.Package, error) {
	err := build(ctx, o.folder, []string{o.arch}, func(path string) {
		fmt.Fprintf(progress, "%-13s  %s\n", "built", path)
	})
	if err != nil {
		return nil, err
	}
	var files []string
	for _, function := range dist.Functions {
		files = append(files, filepath.Join(o.folder, o.arch, function+".zip"))
	}
	return codebucket.Pack(o.prefix, version.Version, files)
}

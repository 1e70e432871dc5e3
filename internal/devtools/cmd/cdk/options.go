package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/devtools/dist"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
)

// The names that the CDK app has for the stack and its template. Its package is
// not imported: it takes minutes to compile, and bad arguments should fail at
// once.
const (
	stackID      = "SociIndexBuilder"
	templateName = stackID + ".template.json"
	defaultStack = "soci-index-builder"
)

var (
	errCommand   = errors.New("allowed are synth, diff, deploy and destroy")
	errStack     = errors.New("allowed are " + names.StackAllowed)
	errArch      = errors.New("allowed are arm64 and amd64")
	errParameter = errors.New("allowed is Name=Value, several separated by blanks")
	errTwice     = errors.New("is given twice")
	errUnknown   = errors.New("is not a parameter of the stack")
)

// options are a command and its flags.
type options struct {
	command             string
	dist, arch          string
	stack               string
	profile, region     string
	filters, parameters string
	rest                []string // for the CDK command line
}

func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	if len(args) == 0 {
		return nil, fmt.Errorf("no command: %w", errCommand)
	}
	o.command = args[0]
	aws, ok := commands[o.command]
	if !ok {
		return nil, fmt.Errorf("command %q: %w", o.command, errCommand)
	}
	flags := flag.NewFlagSet("cdk "+o.command, flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.dist, "o", "dist", "build into `folder`")
	flags.StringVar(&o.arch, "arch", "", "`architecture` of the functions, arm64 or amd64 (default "+
		dist.Architectures[0]+
		")")
	flags.StringVar(&o.stack, "stack", "", "`name` of the stack (default "+defaultStack+")")
	if aws {
		flags.StringVar(&o.profile, "profile", "", "`profile` of the AWS configuration")
		flags.StringVar(&o.region, "region", "", "AWS `region` (default that of the environment or the profile)")
	}
	if o.command == "deploy" {
		flags.StringVar(&o.filters, "filters", "", "`filters` of the stack (default those that it has, *:* at first)")
		flags.StringVar(&o.parameters, "parameters", "",
			"other `parameters` of the stack, as Name=Value separated by blanks (default what it has)")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	if o.rest = flags.Args(); len(o.rest) > 0 && !strings.HasPrefix(o.rest[0], "-") {
		return nil, fmt.Errorf("argument %q: there are only flags", o.rest[0])
	}
	return o, o.check()
}

// check fills in the defaults and tells everything that is wrong.
func (o *options) check() error {
	if o.arch == "" {
		o.arch = dist.Architectures[0]
	}
	if o.stack == "" {
		o.stack = defaultStack
	}
	var errs []error
	if !slices.Contains(dist.Architectures, o.arch) {
		errs = append(errs, fmt.Errorf("architecture %q: %w", o.arch, errArch))
	}
	if !names.IsStack(o.stack) {
		errs = append(errs, fmt.Errorf("stack %q: %w", o.stack, errStack))
	}
	if o.filters != "" {
		if _, err := filters.Parse(o.filters); err != nil {
			errs = append(errs, fmt.Errorf("filters: %w", err))
		}
	}
	for _, p := range strings.Fields(o.parameters) {
		if name, _, ok := strings.Cut(p, "="); !ok || name == "" {
			errs = append(errs, fmt.Errorf("parameter %q: %w", p, errParameter))
		}
	}
	return errors.Join(errs...)
}

// programs is how many of node and npm the command needs.
func (o *options) programs() int {
	if commands[o.command] {
		return 2
	}
	return 1
}

// cdkParameters returns the values of parameters as CDK takes them. CDK leaves
// out, without a word, what the template does not have.
func (o *options) cdkParameters(template string) ([]string, error) {
	given := strings.Fields(o.parameters)
	if o.filters != "" {
		given = append([]string{deployed.ParamFilters + "=" + o.filters}, given...)
	}
	if len(given) == 0 {
		return nil, nil
	}
	text, err := os.ReadFile(template)
	if err != nil {
		return nil, err
	}
	var has struct{ Parameters map[string]any }
	if err := json.Unmarshal(text, &has); err != nil {
		return nil, fmt.Errorf("reading the template %s: %w", template, err)
	}
	seen := make(map[string]bool)
	for _, p := range given {
		name, _, _ := strings.Cut(p, "=")
		if _, ok := has.Parameters[name]; !ok {
			return nil, fmt.Errorf("%q %w; it has %s", name, errUnknown,
				strings.Join(slices.Sorted(maps.Keys(has.Parameters)), ", "))
		}
		if seen[name] {
			return nil, fmt.Errorf("parameter %q %w", name, errTwice)
		}
		seen[name] = true
	}
	return given, nil
}

// lockedVersion is the version of the CDK command line in a lock file of npm.
func lockedVersion(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	version := lock.Packages["node_modules/aws-cdk"].Version
	if version == "" {
		return "", fmt.Errorf("%s does not have aws-cdk", file)
	}
	return version, nil
}

// installedVersion is the version in the package.json of an installed package.
func installedVersion(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var p struct{ Version string }
	return p.Version, json.Unmarshal(text, &p)
}

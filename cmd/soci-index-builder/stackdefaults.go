package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/names"
)

// The environment variables that say what --stack and --region are where they
// are not given.
const (
	stackVariable  = "SOCI_INDEX_BUILDER_STACK"
	regionVariable = "SOCI_INDEX_BUILDER_REGION"
)

// stackDefaultsHelp is for the commands that take them.
const stackDefaultsHelp = `Without --stack and --region, ` + stackVariable + ` and
` + regionVariable + ` say what they are, and then ` + settings.FileName + ` in
this folder, the settings file of deploy, which also names the profile.`

// takeDefaults has a command find --stack, --region and --profile where they are
// not given, before it runs. A stack is looked for only if needed says so: other
// commands do without one.
func takeDefaults(cmd *cobra.Command, needed func() bool) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		given := cmd.Flags().Changed
		set := func(flag, value, origin string) error {
			if value == "" || given(flag) || flag == "region" && arn.IsARN(cmd.Flag("stack").Value.String()) {
				return nil // an ARN says its region itself
			}
			return setFlag(cmd, flag, value, origin)
		}
		if needed() {
			if err := set("stack", os.Getenv(stackVariable), stackVariable); err != nil {
				return err
			}
		} else if !given("stack") {
			return nil
		}
		if err := set("region", os.Getenv(regionVariable), regionVariable); err != nil {
			return err
		}
		if given("stack") && given("region") && given("profile") {
			return nil
		}
		of, err := fileDefaults(cmd)
		if err != nil || of == nil {
			return err
		}
		for flag, value := range map[string]string{"stack": of.Stack, "region": of.Region, "profile": of.Profile} {
			if err := set(flag, value, settings.FileName); err != nil {
				return err
			}
		}
		return nil
	}
}

// setFlag sets a flag to a value that comes from elsewhere.
func setFlag(cmd *cobra.Command, flag, value, origin string) error {
	err := cmd.Flags().Set(flag, value)
	if flag == "region" && !names.IsRegion(value) {
		err = fmt.Errorf("%.100q: must look like us-east-1", value)
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = invalid.Unwrap() // without the flag, which was not given
	}
	if err != nil {
		return usageErrorf("%s: %s: %w", cmd.CommandPath(), origin, err)
	}
	return nil
}

// fileDefaults returns what the settings file says of the stack that was named,
// or of its only one; nil if it says nothing.
func fileDefaults(cmd *cobra.Command) (*settings.Named, error) {
	all, err := settings.Stacks()
	if err != nil {
		return nil, usageErrorf("%s: %w", cmd.CommandPath(), err)
	}
	if f := cmd.Flags().Lookup("stack"); f.Changed {
		for i := range all {
			if all[i].Stack == f.Value.String() {
				return &all[i], nil
			}
		}
		return nil, nil
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return &all[0], nil
	}
	var known []string
	for _, s := range all {
		known = append(known, fmt.Sprintf("%s (of %s)", s.Stack, s.Environment))
	}
	return nil, usageErrorf("%s: --stack is required, since %s names several stacks: %s", cmd.CommandPath(),
		settings.FileName, strings.Join(known, ", "))
}

// always is for commands that do not work without a stack.
func always() bool { return true }

// never is for those that do, and for destroy, whose stack is to be named.
func never() bool { return false }

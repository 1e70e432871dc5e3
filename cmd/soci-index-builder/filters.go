package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
)

func newFiltersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "filters",
		Short: "Try filters before they are deployed",
		Long: `Try the filters that choose which images are indexed, before they are deployed.

A filter is repository:tag, in which * matches any run of characters. A filter that
begins with ! excludes. The last filter of the list that matches decides.`,
		Args: needsCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFiltersTestCommand(), newFiltersARNsCommand())
	return cmd
}

// filtersFlag is --filters.
type filtersFlag struct{ filters.Filters }

func (f *filtersFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "filters", "filters, separated by commas; the default is those of --stack")
}

func (f *filtersFlag) Type() string { return "list" }

func (f *filtersFlag) Set(s string) error {
	parsed, err := filters.Parse(s)
	f.Filters = parsed
	return err
}

// ruleFlags name the rules by which images are chosen: those of a deployed
// stack, or given ones.
type ruleFlags struct {
	aws      awsFlags
	stack    stackFlag
	filters  filtersFlag
	suffix   string
	untagged bool
}

func (f *ruleFlags) add(cmd *cobra.Command) {
	f.filters.add(cmd)
	f.stack.add(cmd)
	cmd.Flags().StringVar(&f.suffix, "tag-suffix", names.DefaultTagSuffix,
		"suffix of the tags of SOCI-enabled images; with --stack the default is the stack's")
	cmd.Flags().BoolVar(&f.untagged, "untagged", false,
		"index images without a tag too; with --stack the default is the stack's")
	f.aws.add(cmd)
}

// rules returns the rules. Without --stack they need no AWS, and cfg and stack
// are nil.
func (f *ruleFlags) rules(cmd *cobra.Command) (rules filters.Rules, cfg *aws.Config, stack *deployed.Stack, err error) {
	given := cmd.Flags().Changed
	if !given("filters") && !given("stack") {
		return rules, nil, nil, usageErrorf("%s: --filters or --stack is required", cmd.CommandPath())
	}
	if given("tag-suffix") {
		if err := checkTagSuffix(f.suffix); err != nil {
			return rules, nil, nil, err
		}
	}
	rules = filters.Rules{Filters: f.filters.Filters, TagSuffix: f.suffix, Untagged: f.untagged}
	if !given("stack") {
		return rules, nil, nil, nil
	}
	config, stack, err := f.stack.find(cmd, &f.aws)
	if err != nil {
		return rules, nil, nil, err
	}
	of := stack.Rules()
	if !given("filters") {
		rules.Filters = of.Filters
	}
	if !given("tag-suffix") {
		rules.TagSuffix = of.TagSuffix
	}
	if !given("untagged") {
		rules.Untagged = of.Untagged
	}
	return rules, &config, stack, nil
}

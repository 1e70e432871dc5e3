package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/names"
)

func newFiltersARNsCommand() *cobra.Command {
	var (
		flags struct {
			aws                awsFlags
			stack              stackFlag
			filters            filtersFlag
			account, partition string
		}
		output outputFlag
	)
	cmd := &cobra.Command{
		Use:   "arns (--filters LIST | --stack NAME)",
		Short: "Show the repositories that the generator's role may use",
		Long: `Show the ARNs of the repositories in which the generator may read and push when
the stack has these filters. Duplicates, and patterns that a wider one covers,
are left out; filters that exclude do not narrow them.

Region, account and partition are those of the stack, or of the credentials. With
--account and --region no AWS call is made.

With --output json, the output is one JSON object: filters, and repositoryArns, a list.`,
		Example: `  soci-index-builder filters arns --filters 'prod/*:*,app:v*' \
      --account 123456789012 --region eu-west-1
  soci-index-builder filters arns --stack soci-index-builder`,
		Args: takes(0, 0, "no argument"),
	}
	flags.filters.add(cmd)
	flags.stack.add(cmd)
	takeDefaults(cmd, never)
	cmd.Flags().StringVar(&flags.account, "account", "",
		"AWS account, 12 digits; the default is that of the stack or of the credentials")
	cmd.Flags().StringVar(&flags.partition, "partition", "", "AWS partition; the default is that of the region")
	_ = cmd.RegisterFlagCompletionFunc("partition",
		cobra.FixedCompletions(names.Partitions(), cobra.ShellCompDirectiveNoFileComp))
	flags.aws.add(cmd)
	output.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given := cmd.Flags().Changed
		if !given("filters") && !given("stack") {
			return usageErrorf("%s: --filters or --stack is required", cmd.CommandPath())
		}
		if given("account") && !names.IsAccount(flags.account) {
			return usageErrorf("invalid argument %q for \"--account\" flag: must be 12 digits", flags.account)
		}
		if given("partition") && !names.IsPartition(flags.partition) {
			return usageErrorf("invalid argument %q for \"--partition\" flag: must look like aws or aws-cn",
				flags.partition)
		}
		if given("region") && !names.IsRegion(flags.aws.region) {
			return usageErrorf("invalid argument %q for \"--region\" flag: must look like us-east-1", flags.aws.region)
		}
		list := flags.filters.Filters
		where := arn.ARN{Partition: names.PartitionOf(flags.aws.region), Region: flags.aws.region,
			AccountID: flags.account}
		if given("stack") {
			_, stack, err := flags.stack.find(cmd, &flags.aws)
			if err != nil {
				return err
			}
			if !given("filters") {
				list = stack.Filters
			}
			where = arn.ARN{Partition: stack.Partition, Region: stack.Region, AccountID: stack.Account}
			if !given("filters") && given("account") && flags.account != stack.Account {
				return usageErrorf("%s: --account %s contradicts --stack: %s is in account %s", cmd.CommandPath(),
					flags.account, stack.Name, stack.Account)
			}
			if !given("filters") && given("partition") && flags.partition != stack.Partition {
				return usageErrorf("%s: --partition %s contradicts --stack: %s is in partition %s", cmd.CommandPath(),
					flags.partition, stack.Name, stack.Partition)
			}
		} else if !given("account") || !given("region") {
			cfg, err := flags.aws.load(cmd)
			if err != nil {
				return err
			}
			where.Region, where.Partition = cfg.Region, names.PartitionOf(cfg.Region)
			if !given("account") {
				who, err := sts.NewFromConfig(cfg).GetCallerIdentity(cmd.Context(), &sts.GetCallerIdentityInput{})
				if err != nil {
					return explain(fmt.Errorf("asking for the account: %w", err))
				}
				where.AccountID = aws.ToString(who.Account)
			}
		}
		if given("account") {
			where.AccountID = flags.account
		}
		if given("partition") {
			where.Partition = flags.partition
		}
		arns := list.RepositoryARNs(where.Partition, where.Region, where.AccountID)
		if output == outputJSON {
			return writeJSONLine(cmd.OutOrStdout(), filtersARNsJSON{list.String(), arns})
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(arns, "\n"))
		return err
	}
	return cmd
}

// filtersARNsJSON is the JSON output; its field names are promised in the help text.
type filtersARNsJSON struct {
	Filters        string   `json:"filters"`
	RepositoryARNs []string `json:"repositoryArns"`
}

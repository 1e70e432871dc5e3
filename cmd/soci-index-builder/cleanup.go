package main

import (
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/cleanup"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type cleanupCommand struct {
	registry  registryFlags
	aws       awsFlags
	stack     stackFlag
	output    outputFlag
	full      fullFlag
	allTools  bool
	olderThan ageFlag
	unusedFor ageFlag
	orphaned  bool
	broken    bool
	surplus   bool
	anyTag    bool
	tagSuffix string
	dryRun    bool
	yes       bool

	listed bool // the repositories were not named
}

func newCleanupCommand() *cobra.Command {
	c := &cleanupCommand{}
	cmd := &cobra.Command{
		Use:   "cleanup [REPO...]",
		Short: "Delete SOCI indexes and SOCI-enabled images",
		Long: `Delete SOCI artifacts: SOCI indexes of both versions, SOCI-enabled images and
their parts, and the image indexes under suffixed tags of images without a layer
to index. Images, signatures, attestations and other artifacts are never deleted:
a manifest is classified by its content, not by its tag. Without --yes nothing is
deleted, only listed.

REPO is a repository of the account's ECR registry, or HOST/NAME for another
registry. Without REPO, cleanup covers all repositories of the account and region,
or with --stack those that the stack's filters choose.

Only artifacts with this tool's build-tool identifier are deleted, or with
--all-tools those of every tool. These flags limit them further; all that are
given must apply:
  --older-than  pushed longer ago
  --unused-for  neither pulled nor pushed since; ECR may report pulls a day late
  --orphaned    the original is gone: the subject of a SOCI index v1, or the tag that
                a SOCI-enabled image was made for; or that tag has named
                another image for an hour or more (ECR only: other registries do
                not tell since when)
  --broken      clients cannot use it, or not correctly: a zTOC is missing, damaged,
                made for another layer, made for a layer that is not a tar
                archive, or makes clients misread the layer; or a SOCI index of a
                SOCI-enabled image is missing. This reads every zTOC.
  --surplus     a SOCI index v1 of which the image manifest has a newer one by the same
                tool, so that a client may choose either. The newer one is the one
                with the zTOCs of the SOCI-enabled image, or else the one pushed last;
                if neither can be known, all are kept: index the image again

A SOCI-enabled image that also has a tag without the suffix is kept, unless
--any-tag is given. Manifests listed by an index that is kept are kept. An image
manifest that names a SOCI index is deleted only if another image in the
repository has the same config and layers, because images built from a
SOCI-enabled image, or copied out of one, name its SOCI index too. For the same
reason a SOCI-enabled image whose originals are not in the repository is kept: it
may be the only copy.

An ECS service keeps the digest that its tag named at deployment, so a SOCI-enabled
image without a tag may still be pulled; --unused-for keeps such images. cleanup
must read manifests to classify them, even without --yes, and ECR may count that as
a pull: before using --unused-for, exclude the identity with
"aws ecr register-pull-time-update-exclusion".

The repository is listed again before each batch of 100; manifests that have got
another tag since, or are needed, are kept. Deleting is safe to repeat. It needs
ecr:DescribeRepositories, ecr:DescribeImages, ecr:BatchGetImage, and with --yes
ecr:BatchDeleteImage, with --broken also ecr:GetAuthorizationToken and
ecr:GetDownloadUrlForLayer. Registries other than ECR report no times, and
list only manifests that a tag or a referrer leads to.

With --output json, the output is one JSON object:
  dryRun, items, a list of
    reference (HOST/NAME@DIGEST: a manifest is deleted with all its tags),
    repository, digest, tags, kind (soci-index-v1, soci-index-v2,
    soci-enabled-image, soci-enabled-manifest, unindexed-image; also image and
    image-index for parts of a SOCI-enabled image that were rewritten without a
    SOCI index), tools, partOf, pushedAt, size (of manifest and zTOCs, in bytes),
    trouble (with --broken: what is wrong), outcome (would-delete, deleted, gone,
    kept, failed, not-tried after an error), reason
  kept, a list of SOCI artifacts that are kept, with the same fields and a reason,
  and totals: repositories, itemCount (to delete), size (a zTOC once, and not if a SOCI
    index that is kept names it), deleted, gone, stayed (kept after all), failed`,
		Example: `  # artifacts whose image is gone
  soci-index-builder cleanup --orphaned
  soci-index-builder cleanup --stack soci --older-than 90d --unused-for 30d \
      --yes
  # artifacts that clients cannot use
  soci-index-builder cleanup --broken --all-tools prod/api
  # older SOCI indexes v1
  soci-index-builder cleanup --surplus --yes prod/api
  soci-index-builder cleanup --all-tools team/app prod/api -o json | jq .totals
  soci-index-builder cleanup registry.example.com/team/app --yes`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	f := cmd.Flags()
	f.BoolVar(&c.allTools, "all-tools", false, "delete the artifacts of other build tools too")
	f.Var(&c.olderThan, "older-than", "keep artifacts pushed more recently, such as 12h or 30d")
	f.Var(&c.unusedFor, "unused-for", "keep artifacts pulled or pushed more recently, such as 30d")
	f.BoolVar(&c.orphaned, "orphaned", false, "delete only artifacts whose original is gone")
	f.BoolVar(&c.broken, "broken", false, "delete only artifacts that clients cannot use correctly; reads every zTOC")
	f.BoolVar(&c.surplus, "surplus", false, "delete only SOCI indexes v1 that a newer one has replaced")
	f.BoolVar(&c.anyTag, "any-tag", false, "also delete images that have a tag without the suffix")
	f.StringVar(&c.tagSuffix, "tag-suffix", soci.DefaultTagSuffix,
		"suffix of the tags of SOCI-enabled images; with --stack the default is the stack's")
	f.BoolVar(&c.dryRun, "dry-run", false, "delete nothing, which is the default")
	addYes(cmd, &c.yes, "delete")
	c.stack.add(cmd)
	takeDefaults(cmd, never)
	c.aws.add(cmd)
	c.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	return cmd
}

func (c *cleanupCommand) run(cmd *cobra.Command, args []string) error {
	if c.yes && c.dryRun {
		return usageErrorf("%s: --yes and --dry-run exclude each other", cmd.CommandPath())
	}
	if err := checkTagSuffix(c.tagSuffix); err != nil {
		return err
	}
	repos, err := c.repositories(cmd, args)
	if err != nil {
		return err
	}
	report := &cleanupReport{now: time.Now(), dryRun: !c.yes, full: c.full}
	options := cleanup.Options{
		AllTools: c.allTools, OlderThan: time.Duration(c.olderThan), UnusedFor: time.Duration(c.unusedFor),
		Orphaned: c.orphaned, Broken: c.broken, Surplus: c.surplus, TagSuffix: c.tagSuffix, AnyTag: c.anyTag,
		Now: func() time.Time { return report.now },
	}
	failure := c.clean(cmd, repos, options, report)
	switch {
	case c.output == outputJSON:
		err = report.writeJSON(cmd.OutOrStdout())
	case failure == nil || report.repositories > 0: // else there is nothing to sum up
		err = report.writeText(cmd.OutOrStdout())
	}
	switch {
	case failure != nil:
		return c.registry.explain(cmd, failure)
	case err != nil:
		return err
	case report.failed > 0 && c.output == outputJSON:
		return errReported
	case report.failed > 0:
		return report.failure()
	}
	return nil
}

// repositories returns those that were named, or all there are.
func (c *cleanupCommand) repositories(cmd *cobra.Command, args []string) ([]cleanup.Repository, error) {
	targets, err := c.targets(args)
	if err != nil {
		return nil, err
	}
	if err := c.aws.forECR(cmd, args); err != nil {
		return nil, err
	}
	c.listed = len(targets) == 0
	var cfg aws.Config
	chosen := func(string) bool { return true }
	switch {
	case c.stack.name != "":
		var stack *deployed.Stack
		if cfg, stack, err = c.stack.find(cmd, &c.aws); err != nil {
			return nil, err
		}
		chosen = stack.Filters.MatchesRepository
		if !cmd.Flags().Changed("tag-suffix") {
			c.tagSuffix = stack.TagSuffix()
		}
	case c.listed || slices.ContainsFunc(targets, ofECR):
		if c.aws.region == "" && !slices.ContainsFunc(targets, func(t inventory.Target) bool { return t.Host == "" }) {
			c.aws.region = regionOf(targets)
		}
		if cfg, err = c.aws.load(cmd); err != nil {
			if i := slices.IndexFunc(targets, func(t inventory.Target) bool { return t.Host == "" }); i >= 0 {
				err = hostless(cmd, err, targets[i].String())
			}
			return nil, err
		}
	}
	if c.listed {
		for name, err := range inventory.ECR(cfg).Repositories(cmd.Context()) {
			if err != nil {
				return nil, explain(err)
			}
			if chosen(name) {
				targets = append(targets, inventory.Target{Repository: name})
			}
		}
	}
	return c.open(cmd, cfg, targets)
}

// targets reads the arguments, each repository once.
func (c *cleanupCommand) targets(args []string) ([]inventory.Target, error) {
	var targets []inventory.Target
	for _, arg := range args {
		t, err := inventory.ParseTarget(arg)
		switch {
		case err != nil:
			return nil, usageErrorf("%w", orPath(err, arg))
		case t.Tag != "":
			return nil, usageErrorf("%s names a tag: cleanup takes whole repositories", arg)
		case !ofECR(t) && (c.olderThan > 0 || c.unusedFor > 0):
			return nil, usageErrorf(
				"%s: --older-than and --unused-for are for ECR; %s does not tell when an image was pushed or pulled",
				arg, t.Host)
		}
		if !slices.Contains(targets, t) {
			targets = append(targets, t)
		}
	}
	return targets, nil
}

func ofECR(t inventory.Target) bool {
	_, ok := ecrclient.ParseECRHost(t.Host)
	return ok || t.Host == ""
}

// regionOf returns the region of the first registry of ECR, "" if there is none.
func regionOf(targets []inventory.Target) string {
	for _, t := range targets {
		if host, ok := ecrclient.ParseECRHost(t.Host); ok {
			return host.Region
		}
	}
	return ""
}

// open returns access to repositories.
func (c *cleanupCommand) open(cmd *cobra.Command, cfg aws.Config, targets []inventory.Target) ([]cleanup.Repository,
	error) {
	sources := map[string]*inventory.ECRSource{}
	repos := make([]cleanup.Repository, len(targets))
	for i, t := range targets {
		if !ofECR(t) {
			var err error
			source := inventory.Registry(t.Host, []string{t.Repository}, c.registry.options(cmd)...)
			if repos[i], err = cleanup.Registry(source, t.Repository); err != nil {
				return nil, usageErrorf("%w", err)
			}
			continue
		}
		host, _ := ecrclient.ParseECRHost(t.Host) // zero for the account's own
		source := sources[t.Host]
		if source == nil {
			of, options := cfg.Copy(), []inventory.ECROption{
				inventory.WithArchived(),
				inventory.WithClientOptions(append(c.registry.options(cmd), ecrEndpoint()...)...),
			}
			if t.Host != "" {
				of.Region, options = host.Region, append(options, inventory.WithAccount(host.Account))
			}
			source = inventory.ECR(of, options...)
			sources[t.Host] = source
		}
		repos[i] = cleanup.ECR(source, host.Account, t.Repository)
	}
	return repos, nil
}

// clean looks at one repository after the other, and ends with the first that
// cannot be looked at or deleted from; what was found and done until then is
// reported.
func (c *cleanupCommand) clean(cmd *cobra.Command, repos []cleanup.Repository, o cleanup.Options,
	report *cleanupReport) error {
	progress := newCleanupProgress(cmd, len(repos))
	defer progress.end()
	o.Progress = progress.show
	ctx := cmd.Context()
	for _, repo := range repos {
		progress.next(repo.Name())
		plan, err := cleanup.Look(ctx, repo, o)
		if errors.Is(err, inventory.ErrNoRepository) && c.listed {
			continue // deleted since all were listed
		}
		if err != nil {
			return err
		}
		report.add(plan)
		if !c.yes || len(plan.Items) == 0 {
			continue
		}
		deleted := report.deleted
		err = plan.Delete(ctx, func(result cleanup.Result) {
			report.done(result)
			progress.deleted(report.deleted-deleted, len(plan.Items))
		})
		if !quiet(cmd) {
			progress.printer().printf("%s: %d of %d deleted\n", repo.Name(), report.deleted-deleted, len(plan.Items))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

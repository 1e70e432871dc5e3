package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type statusCommand struct {
	registry     registryFlags
	output       outputFlag
	rules        ruleFlags
	version      versionFlag
	minLayerSize sizeFlag
	since        ageFlag
	all          bool
	missing      bool
	anyTool      bool
	check        bool
	deep         bool
	concurrency  int

	config *aws.Config // nil until it is needed
}

func newStatusCommand() *cobra.Command {
	c := &statusCommand{version: versionFlag(soci.Both), minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize}}
	cmd := &cobra.Command{
		Use:   "status [REPOSITORY[:TAG]...]",
		Short: "Tell which images have their SOCI indexes, and why others have none",
		Long: `Tell for each image whether it has the SOCI indexes that it should have, and if
not, why.

REPOSITORY is one of the account's ECR registry; without any, all of them are
looked at. HOST/NAME[:TAG] is a repository of any registry, ECR or other. What
stands before the first slash is a host if it has a dot or a colon.

--stack takes filters, index version, suffix and layer size from a deployed
stack; flags beside it replace them. Without --stack and --filters every tagged
image counts. An image under several tags is judged under each. What an image
is, its manifests say, not its name.

STATE is one of
  indexed           all that the index version asks for is there
  missing           nothing is there yet
  incomplete        a part is there: one version, or some platforms
  stale             the suffixed tag was made of another image, which had the tag
                    before, or of this one as it was; WHY says which
  other-tool        only another build tool's SOCI indexes are there
  unknown           the registry refuses to tell which SOCI indexes v1 there are, or
                    fails to; none is found under the referrers tag schema
  partly-enabled    a SOCI-enabled image that lacks the SOCI index of a platform
  broken            a SOCI index is there that clients cannot use, or not rightly,
                    and that an index run leaves: "cleanup --broken" deletes it
  fails             an index run cannot succeed: the manifest is damaged or of
                    Docker schema 1, or the tag is too long for the suffix
  unindexable       layers are large enough, but none can be indexed: by the media
                    type (zstd, EROFS, encrypted, ...), or as an index run found,
                    which left an image index under the suffixed tag that says so
  nothing-to-index  no layer is large enough
  opted-out         the image has the label ` + soci.LabelSkip + `=true
and with --all also
  excluded          the filters do not choose it
  untagged          it has no tag, and such images are not asked for
  no-image          it is a SOCI index, a SOCI-enabled image, a signature, ...
V1 tells whether the platforms with a layer to index have their SOCI index v1, V2
what the suffixed tag names: "yes" is the SOCI-enabled image of this image.
All states from missing to unindexable but unknown mean that the image has no SOCI
index, or none that works; --missing shows these and unknown, and --check makes the
exit code 1 when there is one. The exit code is 1 in any case when something is
unknown. An image that never can have one, and is not meant to, belongs behind a
filter with a "!".

The zTOCs of every SOCI index are asked for: one that is missing, has another size
or is of a layer that the image does not have makes the image incomplete or broken.
With --deep they are also read, each once in a repository: damaged ones, those of
another layer by their sizes, those with which clients misread the layer, and those
without files of a layer that is no empty archive are found. That takes as many
bytes as there are zTOCs; "verify" compares one image with every byte of its layers.

No layer is read, but for those up to 1 MiB whose zTOC has no files (--deep). Only an
index run can find out that a large layer cannot be indexed; with V1 it leaves no
record.

On ECR the rights ecr:DescribeRepositories, ecr:DescribeImages,
ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:GetAuthorizationToken are
needed, with --stack also cloudformation:DescribeStacks. ECR may take the reading
of a manifest for a pull of the image, which lifecycle rules by the time of the
last pull count; an account can exclude a role from that.

The result is the same whatever is looked at first. An image that is deleted
meanwhile is left out. When a repository cannot be read, the others still are,
and the exit code is 1.

With --output json there is one JSON object for each image and tag, on a line of
its own:
  reference (HOST/NAME:TAG, or @DIGEST without a tag), repository, tag, digest,
  pushedAt, size (of ECR alone; bytes), kind (image, image-index, soci-index-v1,
    soci-index-v2, soci-enabled-image, soci-enabled-manifest, unindexed-image,
    attestation, signature, artifact), state, lacking (it should be indexed and
    is not), reason, filter (that decided), beforeStack (it was pushed before
    the stack was created), buildTools (those of the SOCI indexes found),
  v1: none, part, full or unknown,
  v2, of the suffixed tag: state (absent, matches, differs, unindexed, stale,
    broken, not-soci-enabled), tag, digest, reason,
  toRead, what an index run may have to read: layers, bytes,
  and platforms, a list of platform, digest, layers (those large enough to be
    indexed), skipped (the number of others by reason), v1 and v2, lists of
    digest, buildTool and faults, a list of ztoc, layer, fault (missing,
    size-differs, invalid, foreign, no-ztoc; with --deep damaged, not-a-ztoc,
    other-layer, no-archive, misread), detail
The summary is then on the standard error.`,
		Example: `  soci-index-builder status --stack soci-index-builder
  soci-index-builder status --stack soci-index-builder --missing --since 7d
  soci-index-builder status --stack soci-index-builder --check --missing     # for cron
  soci-index-builder status --stack soci-index-builder --deep prod/api
  soci-index-builder status --filters 'prod/*:*' --region eu-west-1 prod/api prod/web:2.1
  soci-index-builder status --output json registry.example.com/team/app | jq 'select(.lacking).reference'`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	f := cmd.Flags()
	c.rules.add(cmd)
	c.registry.add(cmd)
	c.output.add(cmd)
	f.Var(&c.version, "index-version",
		"what an image should have: V1, V2 or Both; with --stack the default is the stack's")
	f.Var(&c.minLayerSize, "min-layer-size",
		"layers with fewer compressed bytes are not to be indexed; with --stack the default is the stack's")
	f.Var(&c.since, "since", "only images that were pushed within that time, such as 24h or 7d; on ECR alone")
	f.BoolVar(&c.all, "all", false, "show also what is not to be indexed")
	f.BoolVar(&c.missing, "missing", false, "show only what should be indexed and is not")
	f.BoolVar(&c.anyTool, "any-tool", false, "SOCI indexes of other build tools count as well")
	f.BoolVar(&c.check, "check", false, "end with exit code 1 when an image should be indexed and is not")
	f.BoolVar(&c.deep, "deep", false, "read the zTOCs, too, and compare them with the image")
	f.IntVar(&c.concurrency, "concurrency", 8, "images looked at at once")
	return cmd
}

func (c *statusCommand) run(cmd *cobra.Command, args []string) error {
	if c.concurrency < 1 {
		return usageErrorf("invalid argument \"%d\" for \"--concurrency\" flag: must be 1 or more", c.concurrency)
	}
	if c.all && c.missing {
		return usageErrorf("--all and --missing contradict each other")
	}
	if err := soci.CheckTagSuffix(c.rules.suffix); err != nil {
		return usageErrorf("invalid argument for \"--tag-suffix\" flag: %w", err)
	}
	var targets []inventory.Target
	for _, arg := range args {
		t, err := inventory.ParseTarget(arg)
		if err != nil {
			return usageErrorf("%w", err)
		}
		if _, ofECR := ecrclient.ParseECRHost(t.Host); t.Host != "" && !ofECR && c.since > 0 {
			return usageErrorf("%s: --since is for ECR; %s does not tell when an image was pushed", arg, t.Host)
		}
		targets = append(targets, t)
	}
	places := inventory.Places(targets)
	if len(places) == 0 {
		places = []inventory.Place{{}}
	}
	o, err := c.options(cmd)
	if err != nil {
		return err
	}
	sources := make([]inventory.Source, len(places))
	for i, p := range places {
		if sources[i], err = c.source(cmd, p); err != nil {
			return err
		}
	}
	return c.survey(cmd, places, sources, o)
}

// options returns what the survey goes by, from the stack and the flags.
func (c *statusCommand) options(cmd *cobra.Command) (inventory.Options, error) {
	given := cmd.Flags().Changed
	o := inventory.Options{
		IndexVersion: soci.IndexVersion(c.version), MinLayerSize: c.minLayerSize.bytes,
		AnyTool: c.anyTool, All: c.all, Deep: c.deep, Concurrency: c.concurrency,
	}
	if c.since > 0 {
		o.Since = time.Now().Add(-time.Duration(c.since))
	}
	if !given("stack") && !given("filters") {
		every, err := filters.Parse("*:*")
		o.Rules = filters.Rules{Filters: every, TagSuffix: c.rules.suffix, Untagged: c.rules.untagged}
		return o, err
	}
	var (
		stack *deployed.Stack
		err   error
	)
	if o.Rules, c.config, stack, err = c.rules.rules(cmd); err != nil || stack == nil {
		return o, err
	}
	o.Deployed = stack.CreatedAt
	if !given("index-version") {
		o.IndexVersion = stack.IndexVersion()
	}
	if !given("min-layer-size") {
		o.MinLayerSize = stack.MinLayerSize()
	}
	return o, nil
}

// source returns what lists a place.
func (c *statusCommand) source(cmd *cobra.Command, p inventory.Place) (inventory.Source, error) {
	host, ofECR := ecrclient.ParseECRHost(p.Host)
	if p.Host != "" && !ofECR {
		s := inventory.Registry(p.Host, p.Repositories, c.registry.options(cmd)...)
		for repository, tags := range p.Tags {
			s.OnlyTags(repository, tags...)
		}
		return s, nil
	}
	if c.config == nil {
		if ofECR && c.rules.aws.region == "" {
			c.rules.aws.region = host.Region
		}
		cfg, err := c.rules.aws.load(cmd)
		if err != nil {
			return nil, err
		}
		c.config = &cfg
	}
	cfg := c.config.Copy()
	o := []inventory.ECROption{inventory.WithClientOptions(append(c.registry.options(cmd), ecrEndpoint()...)...)}
	if ofECR {
		cfg.Region = host.Region
		o = append(o, inventory.WithAccount(host.Account))
	}
	if p.Repositories != nil {
		o = append(o, inventory.WithRepositories(p.Repositories...))
	}
	return inventory.ECR(cfg, o...), nil
}

// survey looks at all places and writes what it finds.
func (c *statusCommand) survey(cmd *cobra.Command, places []inventory.Place, sources []inventory.Source,
	o inventory.Options) error {
	var (
		out      statusWriter = newStatusText(cmd.OutOrStdout())
		counts                = map[inventory.State]int{}
		failed   bool
		progress = newSurveyProgress(cmd.ErrOrStderr())
	)
	if c.output == outputJSON {
		out = &statusJSONWriter{cmd.OutOrStdout(), cmd.ErrOrStderr()}
	}
	defer progress.end()
	o.Progress = progress.show
	for i, p := range places {
		o.Tags = p.Tags
		for record, err := range inventory.Survey(cmd.Context(), sources[i], o) {
			if cmd.Context().Err() != nil {
				progress.end()
				_ = out.end(counts)
				return cmd.Context().Err()
			}
			if err != nil {
				failed = true
				progress.print(explainRegistry(err, sources[i]))
				continue
			}
			counts[record.State]++
			if c.missing && !record.State.Lacking() && record.State != inventory.StateUnknown {
				continue
			}
			if err := out.record(p.Host, sources[i], &record); err != nil {
				return err
			}
		}
		progress.next()
	}
	progress.end()
	if failed && len(counts) == 0 {
		return errReported // that there are no images nobody knows
	}
	if err := out.end(counts); err != nil {
		return err
	}
	lacking, chosen := 0, 0
	for state, n := range counts {
		if state.Lacking() {
			lacking += n
		}
		if state.Chosen() {
			chosen += n
		}
	}
	switch {
	case c.check && lacking > 0:
		return fmt.Errorf("%w: %d of %s", errLacking, lacking, count(chosen, "image"))
	case counts[inventory.StateUnknown] > 0:
		return fmt.Errorf("%w: %d of %s", errUnknown, counts[inventory.StateUnknown], count(chosen, "image"))
	case failed:
		return errReported
	}
	return nil
}

// explainRegistry is explain for errors of a registry as well.
func explainRegistry(err error, source inventory.Source) error {
	e, ok := errors.AsType[*ecrclient.Error](err)
	if _, ofECR := source.(*inventory.ECRSource); ok && ofECR && e.Status == http.StatusForbidden {
		return fmt.Errorf("%w: the caller, and the repository's policy if it has one, must allow ecr:BatchGetImage and "+
			"ecr:GetDownloadUrlForLayer", err)
	}
	return explain(err)
}

// errUnknown is what no registry told.
var errUnknown = errors.New("whether images have their SOCI indexes is not known")

// errLacking is what --check found.
var errLacking = errors.New("images should be indexed and are not")

package main

import (
	"errors"
	"fmt"
	"io"
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
	full         fullFlag

	config *aws.Config // nil until it is needed
	atWork atWork
	failed failedImages
}

func newStatusCommand() *cobra.Command {
	c := &statusCommand{version: versionFlag(soci.Both), minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize}}
	cmd := &cobra.Command{
		Use:   "status [REPOSITORY[:TAG]...]",
		Short: "Show which images have their SOCI indexes, and why others have none",
		Long: `Show for each image whether it has the SOCI indexes that it should have, and if
not, why.

REPOSITORY is a repository of the account's ECR registry; without any, status covers
all of them. HOST/NAME[:TAG] is a repository of any registry, ECR or other. The part
before the first slash is a host if it contains a dot or a colon.

--stack takes filters, index version, suffix and layer size from a deployed
stack; flags override them. Without --stack and --filters every tagged image
counts. An image with several tags is checked under each. Images are recognised by
their manifests, not by their names.

STATE is one of
  indexed           everything that the index version requires exists
  missing           nothing exists yet
  incomplete        a part exists: one version, or some platforms
  stale             the suffixed tag was made from another image, which had the tag
                    before, or from an earlier state of this one; WHY says which
  other-tool        only another build tool's SOCI indexes exist
  unknown           the registry refuses or fails to list SOCI indexes v1, and none is
                    found under the referrers tag schema
  partly-enabled    a SOCI-enabled image that lacks the SOCI index of a platform
  broken            clients cannot use a SOCI index, or not correctly, and an index
                    run does not replace it: "cleanup --broken" deletes it
  fails             an index run cannot succeed: the manifest is damaged or of
                    Docker schema 1, or the tag is too long for the suffix
  unindexable       layers are large enough, but none can be indexed, because of the
                    media type (zstd, EROFS, encrypted, ...) or as an index run found
                    and recorded in an image index under the suffixed tag
  nothing-to-index  no layer is large enough
  opted-out         the image has the label ` + soci.LabelSkip + `=true
  platform-not-chosen  none of its platforms is one that the stack of --stack chooses
  archived          it is in ECR's archive storage class, or being restored from it
and with --all also
  excluded          the filters do not choose it
  untagged          it has no tag, and --untagged is not given
  no-image          it is a SOCI index, a SOCI-enabled image, a signature, ...
V1 shows whether the platforms with a layer to index have their SOCI index v1; V2
shows what the suffixed tag names: "yes" is the SOCI-enabled image of this image.
All states from missing to unindexable except unknown mean that the image has no
working SOCI index; --missing shows these and unknown, and --check makes the exit
code 1 if there is one. The exit code is always 1 if something is unknown. Exclude
images that cannot have a SOCI index, or should not, with a "!" filter.

A REPOSITORY[:TAG] without an image to be indexed may be mistyped: it is reported,
and with --check (unless --since is given) it makes the exit code 1.

If an image manifest has several SOCI indexes v1 by this tool, a client may choose
any: WHY counts the surplus ones, and "cleanup --surplus" deletes them.

Every SOCI index's zTOCs are checked: one that is missing, has a different size or
is for a layer that the image does not have makes the image incomplete or broken.
--deep also reads them, each once in a repository, and finds zTOCs that are damaged,
that have the size of another layer, that make clients misread the layer, or that
have no files although the layer is not an empty archive. It downloads all zTOCs;
"verify" compares one image with every byte of its layers.

No layer is read, except those up to 1 MiB whose zTOC has no files (--deep). Only an
index run can find out that a large layer cannot be indexed; with V1 it leaves no
record.

On ECR the caller needs ecr:DescribeRepositories, ecr:DescribeImages,
ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:GetAuthorizationToken, with
--stack also cloudformation:DescribeStacks. With states:ListExecutions and
states:DescribeExecution WHY says of a large image that the state machine works on
it, of the latest 200. With sqs:GetQueueAttributes, sqs:ReceiveMessage and
sqs:ChangeMessageVisibility on the failure queue WHY says of an image that its failure
waits there, and which command shows it; that counts as receiving the message, and
"redrive" shows how often that was. Reading a manifest may count as a pull in ECR and
so affect lifecycle rules based on last pull time; an account can exclude a role from
that.

The result does not depend on the order of the checks. Images deleted during the run
are left out. If a repository cannot be read, the others still are, and the exit code
is 1.

With --output json, the output is one JSON object for each image and tag, each on its
own line:
  reference (HOST/NAME:TAG, or @DIGEST without a tag), repository, tag, digest,
  pushedAt, size (of ECR alone; bytes), kind (image, image-index, soci-index-v1,
    soci-index-v2, soci-enabled-image, soci-enabled-manifest, unindexed-image,
    attestation, signature, artifact), state, lacking (it should be indexed and
    is not), reason, hint (what to do about layers that cannot be indexed),
  filter (that decided), beforeStack (it was pushed before
    the stack was created), buildTools (those of the SOCI indexes found),
  v1: none, part, full or unknown, surplus (SOCI indexes v1 by this tool beyond the
    first of each image manifest; clients may choose any),
  sociTag, sociDigest (what that tag names), suffixedTag, on that tag: state (absent,
    matches, differs, unindexed, stale, broken, not-soci-enabled), reason,
  toRead, what an index run may have to read: layerCount, bytes,
  and platforms, a list of platform, digest, layerCount (those large enough to be
    indexed), skippedLayers (the number of others by reason), indexesV1 and
    indexesV2, lists of digest, buildTool and faults, a list of ztocDigest, layer,
    fault (missing,
    size-differs, invalid, foreign, no-ztoc; with --deep damaged, not-a-ztoc,
    other-layer, no-archive, misread), detail
The summary then goes to standard error.`,
		Example: `  soci-index-builder status --stack soci-index-builder
  soci-index-builder status --stack soci-index-builder --missing --since 7d
  # for cron
  soci-index-builder status --stack soci-index-builder --check --missing
  soci-index-builder status --stack soci-index-builder --deep prod/api
  soci-index-builder status --filters 'prod/*:*' \
      --region eu-west-1 prod/api prod/web:2.1
  soci-index-builder status -o json registry.example.com/team/app \
      | jq 'select(.lacking).reference'`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	f := cmd.Flags()
	c.rules.add(cmd)
	takeDefaults(cmd, never)
	c.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	f.Var(&c.version, "index-version",
		"SOCI indexes that an image should have: V1, V2 or Both; with --stack the default is the stack's")
	f.Var(&c.minLayerSize, "min-layer-size",
		"layers with fewer compressed bytes need no index; with --stack the default is the stack's")
	f.Var(&c.since, "since", "only images pushed within that time, such as 24h or 7d; ECR only")
	f.BoolVar(&c.all, "all", false, "also show images that are not to be indexed")
	f.BoolVar(&c.missing, "missing", false, "show only images that should be indexed and are not")
	f.BoolVar(&c.anyTool, "any-tool", false, "SOCI indexes of other build tools count as well")
	f.BoolVar(&c.check, "check", false, "exit with code 1 if an image should be indexed and is not")
	f.BoolVar(&c.deep, "deep", false, "also read the zTOCs, and compare them with the image")
	addAtOnce(f, &c.concurrency, "concurrency", 8, "images checked at once")
	return cmd
}

func (c *statusCommand) run(cmd *cobra.Command, args []string) error {
	if c.all && c.missing {
		return usageErrorf("--all and --missing contradict each other")
	}
	if err := checkTagSuffix(c.rules.suffix); err != nil {
		return err
	}
	var targets []inventory.Target
	for _, arg := range args {
		t, err := inventory.ParseTarget(arg)
		if err != nil {
			return usageErrorf("%w", orPath(err, arg))
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
	if err := c.rules.aws.forECR(cmd, args); err != nil {
		return err
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
	return c.survey(cmd, inventory.NewNamed(targets), places, sources, o)
}

// options returns what the survey goes by, from the stack and the flags.
func (c *statusCommand) options(cmd *cobra.Command) (inventory.Options, error) {
	given := cmd.Flags().Changed
	o := inventory.Options{
		IndexVersion: soci.IndexVersion(c.version), MinLayerSize: c.minLayerSize.bytes,
		AnyTool: c.anyTool, All: c.all, Deep: c.deep, Concurrency: resolveAtOnce(c.concurrency),
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
	o.Deployed, o.Platforms = stack.CreatedAt, stack.Platforms()
	c.failed.command = fmt.Sprintf("%s redrive --stack %s%s", programName, c.rules.stack.name, c.rules.aws.words())
	c.failed.url, c.failed.cfg = stack.Outputs[deployed.OutFailureQueueURL], *c.config
	c.atWork.machine, c.atWork.cfg = stack.Outputs[deployed.OutStateMachineARN], *c.config
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
		if err != nil && !ofECR && len(p.Repositories) > 0 {
			err = hostless(cmd, err, p.Repositories[0])
		}
		if err != nil {
			return nil, err
		}
		c.config = &cfg
	}
	cfg := c.config.Copy()
	o := []inventory.ECROption{inventory.WithArchived(),
		inventory.WithClientOptions(append(c.registry.options(cmd), ecrEndpoint()...)...)}
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
func (c *statusCommand) survey(cmd *cobra.Command, named *inventory.Named, places []inventory.Place,
	sources []inventory.Source, o inventory.Options) error {
	var (
		out      statusWriter = newStatusText(cmd.OutOrStdout(), c.full, &c.rules.aws, &c.registry)
		counts                = map[inventory.State]int{}
		failed   bool
		progress = newSurveyProgress(cmd)
	)
	if c.output == outputJSON {
		out = &statusJSONWriter{cmd.OutOrStdout(), cmd.ErrOrStderr()}
	}
	defer progress.end()
	o.Progress = progress.show
	for i, p := range places {
		o.Tags = p.Tags
		for record, err := range named.Watch(p.Host, inventory.Survey(cmd.Context(), sources[i], o)) {
			if cmd.Context().Err() != nil {
				progress.end()
				if len(counts) > 0 {
					_ = out.end(counts)
				}
				return cmd.Context().Err()
			}
			if err != nil {
				failed = true
				progress.print(c.explain(cmd, err, sources[i]))
				continue
			}
			counts[record.State]++
			more := c.atWork.explain(cmd.Context(), &record, progress.print) +
				c.failed.explain(cmd.Context(), &record, progress.print)
			if c.missing && !record.State.Lacking() && record.State != inventory.StateUnknown {
				continue
			}
			if err := out.record(p.Host, sources[i], &record, more); err != nil {
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
	mistyped := warnWithout(cmd.ErrOrStderr(), named, c.since, c.check)
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
	case failed, c.check && mistyped:
		return errReported
	}
	return nil
}

// explain is that of registryFlags, and says which permissions to read a manifest
// may be missing.
func (c *statusCommand) explain(cmd *cobra.Command, err error, source inventory.Source) error {
	e, ok := errors.AsType[*ecrclient.Error](err)
	if _, ofECR := source.(*inventory.ECRSource); ok && ofECR && e.Status == http.StatusForbidden &&
		!errors.Is(err, ecrclient.ErrNotRegistry) {
		return fmt.Errorf(
			"%w: the caller, and the repository's policy if it has one, must allow ecr:BatchGetImage and "+
				"ecr:GetDownloadUrlForLayer", err)
	}
	return c.registry.explain(cmd, err)
}

// errUnknown is what no registry told.
var errUnknown = errors.New("whether images have their SOCI indexes is not known")

// warnWithout tells of what was named and has no image, as an error or a
// warning, and reports whether there is any. With --since that is no mistake.
func warnWithout(w io.Writer, named *inventory.Named, since ageFlag, check bool) (mistyped bool) {
	for _, t := range named.Without() {
		switch {
		case since > 0:
			printError(w, fmt.Errorf("warning: %s: no image to be indexed was pushed in the last %s", t,
				since.String()))
			continue
		case check:
			printError(w, fmt.Errorf("%s: no image to be indexed: there is none, or the filters exclude it", t))
		default:
			printError(w, fmt.Errorf("warning: %s: no image to be indexed: there is none, or the filters exclude it",
				t))
		}
		mistyped = true
	}
	return mistyped
}

// errLacking is what --check found.
var errLacking = errors.New("images should be indexed and are not")

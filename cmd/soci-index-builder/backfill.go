package main

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type backfillCommand struct {
	look         statusCommand // which images are looked at, and what they should have
	output       outputFlag
	full         fullFlag
	local        bool
	dryRun       bool
	limit        int
	rate         float64
	wait         ageFlag
	parallel     int
	concurrency  int
	maxMemory    sizeFlag
	spanSize     spanFlag
	tagUnindexed bool
	prefetch     bool // the label
}

func newBackfillCommand() *cobra.Command {
	c := &backfillCommand{
		look: statusCommand{version: versionFlag(soci.Both), minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize},
			concurrency: 8},
		maxMemory: sizeFlag{bytes: 1 << 30, least: 1},
		spanSize:  newSpanFlag(),
	}
	cmd := &cobra.Command{
		Use:   "backfill (--stack NAME | --local) [REPOSITORY[:TAG]...]",
		Short: "Index the images that were pushed before the stack existed",
		Long: `Index every image that lacks SOCI indexes it should have: those that "status"
calls missing, incomplete, stale or other-tool. Images with no layer to index get
the suffixed tag that they lack, unless the stack's TagUnindexedImages or
--tag-unindexed is false.

With --stack, each image that the stack's filters choose is sent to its filter
function, as an event like ECR's whose id begins with "backfill-". The functions
work asynchronously, so the command returns before they finish; --wait 1h waits
for the SOCI indexes, for at most an hour, and not for images whose failure has come
into the stack's failure queue in the meantime. To leave room for pushes, the command
uses at most half of ECR's 10 manifests per second and half of the generator's
reserved concurrency, and slows down while the generator is throttled or gets its
events late. --rate sets images per second instead.

With --local, the SOCI indexes are built on this machine, for the images that
--filters or the filters of --stack choose, or for the named repositories.
HOST/NAME is a repository of any registry, ECR or other. --parallel images are
built at once, and share --max-memory.

Images in ECR's archive storage class are counted as archived, and left alone until
they are restored.

The newest images come first. Indexed images are skipped, so an interrupted
backfill continues where it stopped when run again; with --stack, give the
functions time to finish first. --dry-run only shows what there is to do, how many
bytes would be read, and an estimate of the cost on Lambda, based on
docs/performance.md.

Failures are listed at the end, and make the exit code 1. Failures of the functions
go to the stack's failure queue: see "redrive".

The caller needs the permissions of "status". With --stack also
cloudformation:DescribeStacks, and lambda:InvokeFunction on the filter function;
cloudwatch:GetMetricData lets the speed follow the generator, and
sqs:GetQueueAttributes, sqs:ReceiveMessage and sqs:ChangeMessageVisibility on the
failure queue let --wait see failures. With --local also
those to push: ecr:InitiateLayerUpload, ecr:UploadLayerPart,
ecr:CompleteLayerUpload, ecr:BatchCheckLayerAvailability, ecr:PutImage.

With --output json, the output is one JSON object for each image, each on its own line:
  reference (HOST/NAME:TAG, or @DIGEST without a tag), repository, tag, digest,
    pushedAt, state (as in "status"), manifestCount, layerCount and bytes to read,
    result (planned, handed-over, built, failed), eventId,
  outcome, bytesRead, bytesPushed, seconds (of what was built here), error
and a last one with
  summary: imageCount, omitted (for --limit), layerCount, bytes, failed, notIndexed (after
    --wait), archived (images left alone, if any), and the estimate: seconds,
    gbSeconds, dollarsArm64, dollarsX86, and of images that the stack hands over to
    its state machine: stateMachine (their number), stepSeconds, transitions`,
		Example: `  soci-index-builder backfill --stack soci-index-builder --dry-run
  soci-index-builder backfill --stack soci-index-builder --since 30d --wait 2h
  soci-index-builder backfill --stack soci-index-builder team/app team/web:2.1
  soci-index-builder backfill --local --stack soci-index-builder \
      --parallel 4 --max-memory 4GiB
  soci-index-builder backfill --local --filters 'prod/*:*,!*:*-debug' \
      --region eu-west-1
  soci-index-builder backfill --local registry.example.com/team/app`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	f := cmd.Flags()
	f.BoolVar(&c.local, "local", false, "build the SOCI indexes here")
	f.BoolVar(&c.dryRun, "dry-run", false, "show what there is to do and what it costs, and do nothing")
	c.look.rules.add(cmd)
	takeDefaults(cmd, func() bool { return !c.local })
	c.look.registry.add(cmd)
	c.output.add(cmd)
	c.full.add(cmd)
	f.Var(&c.look.since, "since", "only images pushed within that time, such as 24h or 7d; ECR only")
	addLimit(f, &c.limit, 0, mostImages, "at most n images, the newest; 0 means all")
	f.BoolVar(&c.look.anyTool, "any-tool", false, "SOCI indexes of other build tools count as well")
	addRate(f, &c.rate, 0, "images per second; 0 means as fast as ECR and the generator allow")
	f.Var(&c.wait, "wait", "with --stack: how long to wait for the SOCI indexes, such as 30m")
	addAtOnce(f, &c.parallel, "parallel", 2, "with --local: images processed at once")
	addAtOnce(f, &c.concurrency, "concurrency", 0, "with --local: layers of an image processed at once")
	f.Var(&c.maxMemory, "max-memory", "with --local: memory that all builds together may use")
	f.Var(&c.look.version, "index-version",
		"with --local: SOCI indexes to build, V1, V2 or Both; with --stack the default is the stack's")
	f.Var(&c.look.minLayerSize, "min-layer-size",
		"with --local: skip layers with fewer compressed bytes; with --stack the default is the stack's")
	f.Var(&c.spanSize, "span-size",
		"with --local: minimum distance between checkpoints, uncompressed: whole MiB, up to 1GiB")
	f.BoolVar(&c.tagUnindexed, "tag-unindexed", true,
		"with --local: make the suffixed tag even if no layer can be indexed; with --stack the default is the "+
			"stack's")
	f.BoolVar(&c.prefetch, "prefetch-label", false, "with --local: prefetch the files that the label "+
		soci.LabelPrefetch+" of the image's config names; with --stack the default is the stack's")
	return cmd
}

// ofLocal are the flags that say how to build here, and which images; a stack
// that builds has its own settings.
var ofLocal = []string{"filters", "tag-suffix", "untagged", "parallel", "concurrency", "max-memory", "index-version",
	"min-layer-size", "span-size", "tag-unindexed", "prefetch-label"}

func (c *backfillCommand) check(cmd *cobra.Command, targets []inventory.Target) error {
	given := cmd.Flags().Changed
	if !c.local && !given("stack") {
		return usageErrorf("%s: --stack is required, the name of the deployed stack; or --local, to build here",
			cmd.CommandPath())
	}
	if !c.local {
		for _, name := range ofLocal {
			if given(name) {
				return usageErrorf("%s: --%s is for --local; a stack goes by its own settings", cmd.CommandPath(), name)
			}
		}
	}
	if c.local && given("wait") {
		return usageErrorf("%s: --wait is for --stack without --local", cmd.CommandPath())
	}
	if c.dryRun && given("wait") {
		return usageErrorf("%s: --wait and --dry-run exclude each other", cmd.CommandPath())
	}
	if c.local && !given("stack") && !given("filters") && len(targets) == 0 {
		return usageErrorf("%s: --local needs --filters, --stack or a REPOSITORY, to say which images are meant",
			cmd.CommandPath())
	}
	if err := checkTagSuffix(c.look.rules.suffix); err != nil {
		return err
	}
	return nil
}

func (c *backfillCommand) run(cmd *cobra.Command, args []string) error {
	place, targets, err := c.place(cmd, args)
	if err != nil {
		return err
	}
	if err := c.check(cmd, targets); err != nil {
		return err
	}
	w := &backfillWork{backfillCommand: c, cmd: cmd, place: place, named: inventory.NewNamed(targets)}
	if err := c.look.rules.aws.forECR(cmd, args); err != nil {
		return err
	}
	if w.options, w.stack, err = c.options(cmd); err != nil {
		return err
	}
	if !c.local {
		if err := ofStack(place, w.stack); err != nil {
			return err
		}
	}
	if w.source, err = c.look.source(cmd, place); err != nil {
		return err
	}
	return w.do(cmd.Context())
}

// place returns what the arguments name, in one registry.
func (c *backfillCommand) place(cmd *cobra.Command, args []string) (inventory.Place, []inventory.Target, error) {
	var targets []inventory.Target
	for _, arg := range args {
		t, err := inventory.ParseTarget(arg)
		if err != nil {
			return inventory.Place{}, nil, usageErrorf("%w", orPath(err, arg))
		}
		if t.Host != "" && !isECR(t.Host) && c.look.since > 0 {
			return inventory.Place{}, nil,
				usageErrorf("%s: --since is for ECR; %s does not tell when an image was pushed", arg, t.Host)
		}
		targets = append(targets, t)
	}
	places := inventory.Places(targets)
	switch len(places) {
	case 0:
		return inventory.Place{}, nil, nil
	case 1:
		return places[0], targets, nil
	}
	return inventory.Place{}, nil, usageErrorf("%s: the repositories must be of one registry", cmd.CommandPath())
}

func isECR(host string) bool {
	_, ok := ecrclient.ParseECRHost(host)
	return ok
}

// ofStack checks that the place is in the registry of the stack.
func ofStack(p inventory.Place, stack *deployed.Stack) error {
	if p.Host == "" {
		return nil
	}
	if host, ok := ecrclient.ParseECRHost(p.Host); !ok || host.Account != stack.Account || host.Region != stack.Region {
		return usageErrorf("%s is not the ECR registry of account %s in %s, where stack %s works; --local builds here",
			p.Host, stack.Account, stack.Region, stack.Name)
	}
	return nil
}

// options returns what the survey goes by, from the stack and the flags; the
// stack is nil when none is named.
func (c *backfillCommand) options(cmd *cobra.Command) (inventory.Options, *deployed.Stack, error) {
	given := cmd.Flags().Changed
	o := inventory.Options{
		IndexVersion: soci.IndexVersion(c.look.version), MinLayerSize: c.look.minLayerSize.bytes,
		AnyTool: c.look.anyTool, Concurrency: c.look.concurrency,
	}
	if c.look.since > 0 {
		o.Since = time.Now().Add(-time.Duration(c.look.since))
	}
	if !given("stack") && !given("filters") {
		every, err := filters.Parse("*:*")
		o.Rules = filters.Rules{Filters: every, TagSuffix: c.look.rules.suffix, Untagged: c.look.rules.untagged}
		o.MinLayerSize, o.TagUnindexed = max(o.MinLayerSize, 1), c.tagUnindexed
		return o, nil, err
	}
	var (
		stack  *deployed.Stack
		config *aws.Config
		err    error
	)
	if o.Rules, config, stack, err = c.look.rules.rules(cmd); err != nil {
		return o, nil, err
	}
	c.look.config = config
	if stack != nil {
		o.Deployed, o.Platforms = stack.CreatedAt, stack.Platforms()
		if !given("index-version") {
			o.IndexVersion = stack.IndexVersion()
		}
		if !given("min-layer-size") {
			o.MinLayerSize = stack.MinLayerSize()
		}
		if !given("tag-unindexed") {
			c.tagUnindexed = stack.TagUnindexed()
		}
		if !given("prefetch-label") {
			c.prefetch = stack.Prefetch()
		}
	}
	o.MinLayerSize = max(o.MinLayerSize, 1) // 0 is every layer
	o.TagUnindexed = c.tagUnindexed
	return o, stack, nil
}

// rateOf says how fast images may follow each other; nil is as fast as can be.
func (w *backfillWork) rateOf() *backfill.Rate {
	r := &backfill.Rate{PerSecond: w.rate, Version: w.options.IndexVersion}
	if !w.local {
		r.Memory, r.Concurrency = w.stack.MemorySize(), w.stack.ReservedConcurrency()
	}
	if w.rate == 0 && !w.ofECR() {
		return nil
	}
	return r
}

// ofECR reports whether the images are in ECR.
func (w *backfillWork) ofECR() bool { return w.place.Host == "" || isECR(w.place.Host) }

// builder is what the estimate is about.
func (w *backfillWork) builder() backfill.Builder {
	b := backfill.Builder{Memory: w.memory()}
	if w.stack != nil && !w.local && w.stack.StepsMemorySize() > 0 {
		b.FanOutFrom, b.StepsMemory = w.stack.FanOutFrom(), w.stack.StepsMemorySize()
	}
	return b
}

// memory is the generator's, in MB, for the estimate.
func (w *backfillWork) memory() int {
	if w.stack != nil && w.stack.MemorySize() > 0 {
		return w.stack.MemorySize()
	}
	return backfill.MemoryPerCPU
}

// about formats a duration for people.
func about(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second)/time.Second)))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/deployed/executions"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/waiting"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

type waitCommand struct {
	registry     imageFlags
	stack        stackFlag
	output       outputFlag
	version      versionFlag
	suffix       string
	minLayerSize sizeFlag
	tagUnindexed bool
	timeout      ageFlag
	since        ageFlag
}

func newWaitCommand() *cobra.Command {
	c := &waitCommand{version: versionFlag(soci.Both), minLayerSize: sizeFlag{bytes: soci.DefaultMinLayerSize},
		timeout: ageFlag(10 * time.Minute), since: ageFlag(time.Hour)}
	cmd := &cobra.Command{
		Use:   "wait REF",
		Short: "Wait until an image has its SOCI index",
		Long: `Wait until an image has its SOCI indexes, for a pipeline that deploys an image as
soon as it has pushed it. The output is the reference to deploy: with SOCI index v2
the suffixed tag, with V1 the image itself.

The exit code is
  0  the image has its SOCI indexes; or it has nothing to index, and the suffixed tag
     names it all the same
  1  it will have none, or something failed; the error says why
  3  the time is up

Without --stack, wait looks at the registry alone, every few seconds. It cannot know
then that the builder has failed. With --stack it also reads what the functions of the
stack log of the image, takes index version, suffix, layer size, platforms and filters
from the stack, and ends with exit code 1 when the builder says that the image will have no SOCI
index. An attempt that failed and is made again is waited for, as is an image that was
handed over to the state machine, unless its execution failed, timed out or was
stopped. The stack must log at INFO. --since is how far back it
looks: only the latest event of the image counts. It does not touch the failure queue,
so the failure of an event that was sent again by "redrive" counts until the builder
logs something newer: give a shorter --since then.

A tag that names another image in the meantime is not waited for. Of a suffixed tag,
which the builder makes, the image with the tag before the suffix is waited for. With
Both, a tag that is too long for the suffix is an error: V1 waits for SOCI index v1.

On ECR the caller needs ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and
ecr:GetAuthorizationToken, with --stack also cloudformation:DescribeStacks,
logs:FilterLogEvents and states:DescribeExecution; without the last it waits for an
execution that has failed until the time is up. Reading a manifest may count as a pull in ECR.

With --output json, the output is one JSON object, also with the exit codes 1 and 3:
  reference, digest, result (index, none, time-up, failed), reason, failure (the word in
    the log for the builder's failure, such as out-of-time), state (as in "status"),
  deploy (the reference to deploy; with index alone), sociTag, sociDigest (what the
    suffixed tag names), handedOver (to the state machine), seconds`,
		Example: `  soci-index-builder wait --stack soci-index-builder team/app:1.4
  image=$(soci-index-builder wait \
      --timeout 5m registry.example.com/team/app:1.4)`,
		Args: takes(1, 1, "one image REF"),
		RunE: c.run,
	}
	f := cmd.Flags()
	f.Var(&c.timeout, "timeout", "how long to wait at most, such as 90s or 10m")
	c.stack.add(cmd)
	takeDefaults(cmd, never)
	c.registry.add(cmd)
	c.output.add(cmd)
	f.Var(&c.since, "since", "how far back to look in the log of --stack")
	f.Var(&c.version, "index-version",
		"SOCI indexes to wait for: V1, V2 or Both; with --stack the default is the stack's")
	f.StringVar(&c.suffix, "tag-suffix", names.DefaultTagSuffix,
		"suffix of the tags of SOCI-enabled images; with --stack the default is the stack's")
	f.Var(&c.minLayerSize, "min-layer-size",
		"layers with fewer compressed bytes need no index; with --stack the default is the stack's")
	f.BoolVar(&c.tagUnindexed, "tag-unindexed", true,
		"wait for the suffixed tag of an image with no layer to index; with --stack the default is the stack's")
	return cmd
}

// waitJSON is the output; its field names are promised in the help text.
type waitJSON struct {
	Reference  string          `json:"reference"`
	Digest     digest.Digest   `json:"digest,omitempty"`
	Result     string          `json:"result"`
	Reason     string          `json:"reason,omitempty"`
	Failure    string          `json:"failure,omitempty"`
	State      inventory.State `json:"state,omitempty"`
	Deploy     string          `json:"deploy,omitempty"`
	SociTag    string          `json:"sociTag,omitempty"`
	SociDigest digest.Digest   `json:"sociDigest,omitempty"`
	HandedOver bool            `json:"handedOver,omitempty"`
	Seconds    float64         `json:"seconds"`
}

func (c *waitCommand) run(cmd *cobra.Command, args []string) error {
	if err := checkTagSuffix(c.suffix); err != nil {
		return err
	}
	if err := c.registry.aws.forECR(cmd, args); err != nil {
		return err
	}
	repository, reference, err := c.registry.open(cmd, args[0])
	if err != nil {
		return err
	}
	image, err := names.Parse(args[0])
	if err != nil {
		return usageErrorf("%w", err)
	}
	if image.Host == "" {
		image.Host = c.registry.host
	}
	began := time.Now()
	progress := newActivity(cmd, func() string {
		return fmt.Sprintf("waiting %s of %s for %s", elapsed(time.Since(began).Truncate(time.Second)),
			elapsed(time.Duration(c.timeout)), args[0])
	})
	defer progress.end()
	warn := func(text string) { progress.printer().printf("%s\n", text) }
	w := &waiting.Wait{For: time.Duration(c.timeout), Warn: warn, Note: func(text string) {
		if !quiet(cmd) {
			warn(text)
		}
	}}
	if reference, err = c.options(cmd, w, image, reference); err != nil {
		return err
	}
	w.Source = waiting.One(repository, image.Repository, reference)
	if w.Options.IndexVersion == soci.V2 && tagOf(reference) == "" {
		return usageErrorf("%s: with V2 alone an image without a tag gets no SOCI index: name its tag", args[0])
	}
	r, err := w.Run(cmd.Context())
	progress.end()
	out := c.result(repository, reference, w, r)
	out.Reference = args[0]
	switch {
	case errors.Is(err, waiting.ErrNone):
		out.Result, out.Reason = "none", err.Error()
	case errors.Is(err, waiting.ErrTimeUp):
		out.Result, out.Reason = "time-up", err.Error()
	case err != nil:
		err = c.registry.explain(cmd, err)
		out.Result, out.Reason = "failed", err.Error()
	}
	if err != nil {
		out.Deploy, out.Failure = "", r.Failure
	}
	if c.output == outputJSON {
		if err := writeJSONLine(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	} else if err == nil {
		if r.Record.State != inventory.StateIndexed {
			warn(r.Record.Reason)
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), out.Deploy); err != nil {
			return err
		}
	}
	if err != nil && out.Result != "failed" { // which names the image
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return err
}

// options fills in what the image should have, from the stack and the flags. It
// returns the reference of the image to wait for: of a suffixed tag, which is
// made of another image, that image's.
func (c *waitCommand) options(cmd *cobra.Command, w *waiting.Wait, image names.Image, reference string) (string,
	error) {
	every, err := filters.Parse("*:*")
	if err != nil {
		return "", err
	}
	w.Options = inventory.Options{
		IndexVersion: soci.IndexVersion(c.version), MinLayerSize: c.minLayerSize.bytes, All: true,
		Rules: filters.Rules{Filters: every, TagSuffix: c.suffix, Untagged: true},
	}
	w.TagUnindexed = c.tagUnindexed
	log, err := c.ofStack(cmd, w, image)
	if err != nil {
		return "", err
	}
	tag := tagOf(reference)
	original, suffixed := strings.CutSuffix(tag, w.Options.Rules.TagSuffix)
	if suffixed && w.Options.Rules.TagSuffix != "" && w.Options.IndexVersion != soci.V1 && names.IsTag(original) {
		w.Note(fmt.Sprintf("%s is the suffixed tag of %s: that image is waited for", tag, original))
		tag, reference = original, original
	}
	if tag != "" {
		w.Options.Tags = map[string][]string{image.Repository: {tag}}
	}
	if log != nil {
		log.Tag, w.Log = tag, log
	}
	return reference, nil
}

// ofStack fills in what the stack says, if one is named, and returns the log of
// its functions.
func (c *waitCommand) ofStack(cmd *cobra.Command, w *waiting.Wait, image names.Image) (*waiting.CloudWatch, error) {
	given := cmd.Flags().Changed
	if !given("stack") {
		return nil, nil
	}
	host, ofECR := ecrclient.ParseECRHost(image.Host)
	if !ofECR {
		return nil, usageErrorf("%s: --stack is for images in ECR", image)
	}
	if c.registry.aws.region == "" && !arn.IsARN(c.stack.name) {
		c.registry.aws.region = host.Region
	}
	cfg, stack, err := c.stack.find(cmd, &c.registry.aws)
	if err != nil {
		return nil, err
	}
	if host.Account != stack.Account || host.Region != stack.Region {
		return nil, usageErrorf("%s: the stack %s is for the registry of account %s in %s", image, stack.Name,
			stack.Account, stack.Region)
	}
	w.Options.Rules, w.Options.Platforms = stack.Rules(), stack.Platforms()
	if given("tag-suffix") {
		w.Options.Rules.TagSuffix = c.suffix
	}
	if !given("index-version") {
		w.Options.IndexVersion = stack.IndexVersion()
	}
	if !given("min-layer-size") {
		w.Options.MinLayerSize = stack.MinLayerSize()
	}
	if !given("tag-unindexed") {
		w.TagUnindexed = stack.TagUnindexed()
	}
	log := &waiting.CloudWatch{API: cloudwatchlogs.NewFromConfig(cfg), Repository: image.Repository,
		Since: time.Now().Add(-time.Duration(c.since))}
	for _, output := range []string{deployed.OutFilterLogGroup, deployed.OutGeneratorLogGroup,
		deployed.OutStepsLogGroup} {
		if group := stack.Outputs[output]; group != "" { // the steps' is not there in older stacks
			log.Groups = append(log.Groups, group)
		}
	}
	if machine := stack.Outputs[deployed.OutStateMachineARN]; machine != "" { // is not there in older stacks
		client := sfn.NewFromConfig(cfg)
		w.Ended = func(ctx context.Context, execution string) (string, error) {
			how, err := executions.Ended(ctx, client, machine, execution)
			return how, explain(err)
		}
	}
	return log, nil
}

// result is what the last look has seen.
func (c *waitCommand) result(repository *ecrclient.Repository, reference string, w *waiting.Wait,
	r *waiting.Result) *waitJSON {
	enabled := r.Record.Enabled
	out := &waitJSON{Digest: r.Record.Digest, Result: "index", Reason: r.Record.Reason,
		State: r.Record.State, HandedOver: r.HandedOver, Seconds: r.Seconds, SociDigest: enabled.Image.Digest}
	if enabled.Image.Digest != "" {
		out.SociTag = enabled.EnabledTag
	}
	out.Deploy = repository.Name() + ":" + reference
	if tagOf(reference) == "" {
		out.Deploy = repository.Name() + "@" + reference
	}
	if w.Options.IndexVersion != soci.V1 && out.SociTag != "" {
		out.Deploy = repository.Name() + ":" + out.SociTag
	}
	return out
}

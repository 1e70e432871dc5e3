package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/text/terminal"
)

func newFiltersTestCommand() *cobra.Command {
	var (
		flags  ruleFlags
		output outputFlag
		full   fullFlag
	)
	cmd := &cobra.Command{
		Use:   "test (--filters LIST | --stack NAME) [IMAGE...]",
		Short: "Show which filter decides on images",
		Long: `Show for each image whether it would be indexed when pushed, and which filter
decides. IMAGE is REPOSITORY:TAG, or REPOSITORY@DIGEST for an image that is pushed
without a tag, optionally preceded by the host of an ECR registry. Without IMAGE, all
images of the account's ECR registry in the region are checked, each tag separately.

The decision is the filter function's, which ignores SOCI indexes and SOCI-enabled
images whatever the filters say, and images without a tag unless --untagged is
given. --stack takes filters, suffix and the rule for images without a tag from a
deployed stack; together with --filters it tries other filters with the stack's
remaining settings. Nothing is changed.

With names and --filters no AWS account is needed. Listing all images needs
ecr:DescribeRepositories and ecr:DescribeImages, --stack needs
cloudformation:DescribeStacks.

With --output json, the output is one JSON object:
  filters, and images, a list of
    reference (HOST/NAME:TAG, or @DIGEST without a tag; of an IMAGE without HOST it
    has none), repository, tag, digest, decision (matched, not-matched, own-artifact,
    referrer, untagged), filter (that decided; absent when none matches), reason,
  and counts, the number of images by decision`,
		Example: `  soci-index-builder filters test \
      --filters 'prod/*:*,!*:*-debug' prod/api:1.4 prod/api:1.4-debug
  soci-index-builder filters test --stack soci-index-builder --region eu-west-1
  soci-index-builder filters test --stack soci-index-builder \
      --filters '*:*,!lambda/*:*' -o json | jq .counts`,
		Args: cobra.ArbitraryArgs,
	}
	flags.add(cmd)
	takeDefaults(cmd, never)
	output.add(cmd)
	full.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rules, cfg, _, err := flags.rules(cmd)
		if err != nil {
			return err
		}
		var images []inventory.Preview
		for _, name := range args {
			image, err := inventory.PreviewNamed(name, rules)
			if err != nil {
				return usageErrorf("%w", err)
			}
			images = append(images, image)
		}
		if len(args) == 0 {
			if cfg == nil {
				c, err := flags.aws.load(cmd)
				if err != nil {
					return err
				}
				cfg = &c
			}
			if images, err = previewAll(cmd, inventory.ECR(*cfg), rules); err != nil {
				return explain(err)
			}
		}
		if output == outputJSON {
			return writeJSONLine(cmd.OutOrStdout(), newFiltersTestJSON(rules, images))
		}
		return writeFiltersTestText(cmd.OutOrStdout(), images, full)
	}
	return cmd
}

// previewAll judges all images of an account.
func previewAll(cmd *cobra.Command, source inventory.Source, rules filters.Rules) ([]inventory.Preview, error) {
	var repositories, images atomic.Int64
	progress := newActivity(cmd, func() string {
		return fmt.Sprintf("listing images: %s in %s", count(int(images.Load()), "image"),
			counted(int(repositories.Load()), "repository", "repositories"))
	})
	defer progress.end()
	all, err := inventory.PreviewListed(cmd.Context(), source, rules, func(r, i int) {
		repositories.Store(int64(r))
		images.Store(int64(i))
	})
	if err != nil || len(all) == 0 {
		return all, err
	}
	repository, err := source.Open(all[0].Repository)
	if err != nil {
		return nil, err
	}
	host, _, _ := strings.Cut(repository.Name(), "/")
	for i := range all {
		all[i].Host = host
	}
	return all, nil
}

func countDecisions(images []inventory.Preview) map[filters.Decision]int {
	n := map[filters.Decision]int{}
	for _, image := range images {
		n[image.Decision]++
	}
	return n
}

func writeFiltersTestText(w io.Writer, images []inventory.Preview, full fullFlag) error {
	t := full.table(w, "")
	screen := terminal.Of(w)
	t.Head("IMAGE", "DECISION", "DECIDED BY")
	for _, image := range images {
		tone := terminal.Faint
		if image.Decision == filters.Matched {
			tone = terminal.Good
		}
		t.Row(full.image(image.Name()), screen.Paint(tone, image.Decision.Text()), decidedBy(image.Verdict))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	n := countDecisions(images)
	var parts []string
	for _, d := range filters.Decisions() {
		if n[d] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[d], d.Text()))
		}
	}
	if len(parts) == 0 {
		_, err := fmt.Fprintln(w, "no images")
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", count(len(images), "image"), strings.Join(parts, ", "))
	return err
}

// decidedBy tells people what made the decision.
func decidedBy(v filters.Verdict) string {
	switch v.Decision {
	case filters.Matched, filters.NotMatched:
		if v.Filter == "" {
			return "no filter matches"
		}
		return "filter " + v.Filter
	case filters.OwnArtifact:
		return v.Reason
	case filters.Referrer:
		return "it refers to another image"
	case filters.Untagged:
		return "it has no tag"
	}
	return cmp.Or(v.Reason, string(v.Decision))
}

// The JSON output of filters test; its field names are promised in the help
// text.
type (
	filtersTestJSON struct {
		Filters string                   `json:"filters"`
		Images  []filtersTestImageJSON   `json:"images"`
		Counts  map[filters.Decision]int `json:"counts"`
	}

	filtersTestImageJSON struct {
		Reference  string           `json:"reference"`
		Repository string           `json:"repository"`
		Tag        string           `json:"tag,omitempty"`
		Digest     string           `json:"digest,omitempty"`
		Decision   filters.Decision `json:"decision"`
		Filter     string           `json:"filter,omitempty"`
		Reason     string           `json:"reason,omitempty"`
	}
)

func newFiltersTestJSON(rules filters.Rules, images []inventory.Preview) filtersTestJSON {
	out := filtersTestJSON{Filters: rules.Filters.String(), Images: []filtersTestImageJSON{},
		Counts: countDecisions(images)}
	for _, image := range images {
		reference := image.Name()
		if image.Host != "" {
			reference = image.Host + "/" + reference
		}
		out.Images = append(out.Images, filtersTestImageJSON{
			Reference: reference, Repository: image.Repository, Tag: image.Tag, Digest: image.Digest.String(),
			Decision: image.Decision, Filter: image.Filter, Reason: image.Reason,
		})
	}
	return out
}

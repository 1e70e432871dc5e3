package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"soci-index-builder/internal/text/plural"
)

// lifecyclePolicy is as much of a lifecycle policy as counts.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
type lifecyclePolicy struct {
	Rules []lifecycleRule `json:"rules"`
}

type lifecycleRule struct {
	Priority  int `json:"rulePriority"`
	Selection struct {
		TagStatus      string   `json:"tagStatus"` // tagged, untagged, any
		TagPrefixList  []string `json:"tagPrefixList"`
		TagPatternList []string `json:"tagPatternList"`
		CountType      string   `json:"countType"`
		CountNumber    int      `json:"countNumber"`
	} `json:"selection"`
}

// countsBoth reports whether the rule keeps a number of images and counts an
// image as well as its SOCI-enabled one, whose tag is longer by the suffix. A
// rule on several patterns is about images with tags for all of them.
func (r lifecycleRule) countsBoth() bool {
	s := r.Selection
	if s.CountType != "imageCountMoreThan" || s.TagStatus == "untagged" {
		return false
	}
	open := func(pattern string) bool { return strings.HasSuffix(pattern, "*") }
	return s.TagStatus == "any" || len(s.TagPrefixList) > 0 ||
		len(s.TagPatternList) > 0 && !slices.ContainsFunc(s.TagPatternList, func(p string) bool { return !open(p) })
}

// lifecycle looks for rules that keep fewer images than before, since the
// SOCI-enabled ones count.
func (x *examination) lifecycle(ctx context.Context) ([]Finding, error) {
	if !x.enabled() {
		return []Finding{{Check: CheckLifecycle, Severity: OK, Found: "the stack makes no SOCI-enabled images"}}, nil
	}
	found, err := x.each(ctx, func(ctx context.Context, name string) ([]Finding, error) {
		out, err := x.ecr.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &name})
		if _, none := errors.AsType[*types.LifecyclePolicyNotFoundException](err); none {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the lifecycle policy of repository %s: %w", name, err)
		}
		var policy lifecyclePolicy
		if err := json.Unmarshal([]byte(aws.ToString(out.LifecyclePolicyText)), &policy); err != nil {
			return nil, fmt.Errorf("reading the lifecycle policy of repository %s: %w", name, err)
		}
		var found []Finding
		for _, r := range policy.Rules {
			if n := r.Selection.CountNumber; r.countsBoth() {
				found = append(found, Finding{CheckLifecycle, Warning, name,
					fmt.Sprintf(
						"lifecycle rule %d keeps %d images, and counts those with the tag suffix %s: about %d are "+
							"left with theirs", r.Priority, n, x.stack.TagSuffix(), (n+1)/2),
					fmt.Sprintf("set its countNumber to %d: aws ecr put-lifecycle-policy --repository-name %s "+
						"--lifecycle-policy-text file://policy.json%s", 2*n, name,
						x.region())})
			}
		}
		return found, nil
	})
	if err == nil {
		found = wellOr(found, CheckLifecycle, "no rule counts SOCI-enabled images in %s",
			plural.Count(len(x.chosen), "repository", "repositories"))
	}
	return found, err
}

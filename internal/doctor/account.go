package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// pullTime looks whether the pulls of the generator and of the steps are kept out
// of the times of the last pull, by which lifecycle rules judge.
func (x *examination) pullTime(ctx context.Context) ([]Finding, error) {
	var names []string
	for _, w := range x.workers() {
		names = append(names, w.role)
	}
	for token := (*string)(nil); ; {
		out, err := x.ecr.ListPullTimeUpdateExclusions(ctx, &ecr.ListPullTimeUpdateExclusionsInput{NextToken: token})
		if err != nil {
			return nil, fmt.Errorf("listing who is left out of pull times: %w", err)
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			return slices.Contains(out.PullTimeUpdateExclusions, x.roleARN(name))
		})
		if token = out.NextToken; token == nil {
			break
		}
	}
	var found []Finding
	for _, name := range names {
		found = append(found, Finding{CheckPullTime, Warning, name,
			"its pulls count as pulls, so that lifecycle rules by the time of the last pull keep every image that " +
				"was indexed",
			"aws ecr register-pull-time-update-exclusion --principal-arn " + x.roleARN(name) + x.region()})
	}
	return wellOr(found, CheckPullTime, "the generator's pulls do not count as pulls"), nil
}

// blobMounting reports whether repositories of the account can share blobs. The
// builder does not depend on it: it pushes each zTOC to the image's own
// repository.
func (x *examination) blobMounting(ctx context.Context) ([]Finding, error) {
	out, err := x.ecr.GetAccountSetting(ctx, &ecr.GetAccountSettingInput{Name: aws.String("BLOB_MOUNTING")})
	if err != nil {
		return nil, fmt.Errorf("reading the account's setting BLOB_MOUNTING: %w", err)
	}
	f := Finding{Check: CheckBlobMounting, Severity: OK, Found: "off; the builder does not depend on it"}
	if aws.ToString(out.Value) == "ENABLED" {
		f.Found = "on; the builder does not depend on it"
	}
	return []Finding{f}, nil
}

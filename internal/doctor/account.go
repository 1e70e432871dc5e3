package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"soci-index-builder/internal/deployed"
)

// pullTime looks whether the generator's pulls are kept out of the times of
// the last pull, by which lifecycle rules judge.
func (x *examination) pullTime(ctx context.Context) ([]Finding, error) {
	role := x.roleARN(x.stack.Outputs[deployed.OutGeneratorRoleName])
	for token := (*string)(nil); ; {
		out, err := x.ecr.ListPullTimeUpdateExclusions(ctx, &ecr.ListPullTimeUpdateExclusionsInput{NextToken: token})
		if err != nil {
			return nil, fmt.Errorf("listing who is left out of pull times: %w", err)
		}
		if slices.Contains(out.PullTimeUpdateExclusions, role) {
			return []Finding{{Check: CheckPullTime, Severity: OK, Found: "the generator's pulls do not count as pulls"}}, nil
		}
		if token = out.NextToken; token == nil {
			break
		}
	}
	return []Finding{{CheckPullTime, Warning, x.stack.Outputs[deployed.OutGeneratorRoleName],
		"its pulls count as pulls, so that lifecycle rules by the time of the last pull keep every image that was indexed",
		"aws ecr register-pull-time-update-exclusion --principal-arn " + role + x.region()}}, nil
}

// blobMounting tells whether repositories of the account can share blobs. The
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

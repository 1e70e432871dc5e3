package names

import (
	"slices"
	"testing"

	"soci-index-builder/internal/testkit/expect"
)

func TestPartitionOf(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "aws", "eu-west-1": "aws", "xx-new-1": "aws", "cn-north-1": "aws-cn",
		"us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b",
		"eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f", "eusc-de-east-1": "aws-eusc",
	} {
		got := PartitionOf(region)
		expect.Equal(t, expect.Facts{
			{"partition", got, want},
			{"listed", slices.Contains(Partitions(), got), true},
			{"a partition's name", IsPartition(got), true},
			{"a region's name", IsRegion(region), true},
		}, "%s", region)
	}
	if got := Partitions(); len(got) != 8 || got[0] != "aws" {
		t.Errorf("the partitions are %q", got)
	}
}

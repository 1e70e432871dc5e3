package names

import "strings"

// partitions by the beginning of their regions' names. All other regions are in
// aws.
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
var partitions = []struct{ prefix, partition string }{
	{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"}, {"eusc-", "aws-eusc"},
}

// PartitionOf returns the partition of a region, which is aws also for a region that
// is not known.
func PartitionOf(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// Partitions returns all that [PartitionOf] knows, aws first.
func Partitions() []string {
	all := []string{"aws"}
	for _, p := range partitions {
		all = append(all, p.partition)
	}
	return all
}

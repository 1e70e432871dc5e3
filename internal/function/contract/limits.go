package contract

// AWS's limits, and what its memory settings mean.
const (
	// MaxMemoryMB is the memory of Lambda's largest function.
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	MaxMemoryMB = 10_240

	// MinMemoryMB is the least that the stack takes for a builder.
	MinMemoryMB = 512

	// MemoryPerCPU is the memory, in MB, with which a function has one vCPU.
	// https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
	MemoryPerCPU = 1769

	// MaxLayerMiB is the size of ECR's largest layer.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
	MaxLayerMiB = 52_000
)

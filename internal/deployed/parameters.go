package deployed

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/soci"
)

// values are the parameters that have a type.
type values struct {
	indexVersion                                        soci.IndexVersion
	tagUnindexed, untagged, replicated, pullThroughHere bool
	prefetch                                            bool
	minLayerSize                                        int64
	memory, concurrency, retention                      int
	fanOutFromGiB, stepsMemory                          int
}

// IndexVersion is ParamIndexVersion.
func (s *Stack) IndexVersion() soci.IndexVersion { return s.values.indexVersion }

// TagSuffix is ParamTagSuffix: what the tag of a SOCI-enabled image has after
// that of its original.
func (s *Stack) TagSuffix() string { return s.Parameters[ParamTagSuffix] }

// TagUnindexed is ParamTagUnindexed: whether that tag is made also for an
// image without a layer to index.
func (s *Stack) TagUnindexed() bool { return s.values.tagUnindexed }

// Prefetch is ParamPrefetch: whether the label of an image's config that names
// files to prefetch is heeded.
func (s *Stack) Prefetch() bool { return s.values.prefetch }

// MinLayerSize is ParamMinLayerSizeMiB in bytes, compressed; 0 indexes every
// layer.
func (s *Stack) MinLayerSize() int64 { return s.values.minLayerSize }

// Platforms are the elements of ParamPlatforms; none, which chooses every
// platform, in a stack of a version before it.
func (s *Stack) Platforms() []string {
	if s.Parameters[ParamPlatforms] == "" {
		return nil
	}
	return strings.Split(s.Parameters[ParamPlatforms], ",")
}

// SigningProfiles are the ARNs of ParamSigningProfiles.
func (s *Stack) SigningProfiles() []string { return s.list(ParamSigningProfiles) }

// Subnets are the ids of ParamSubnets.
func (s *Stack) Subnets() []string { return s.list(ParamSubnets) }

// SecurityGroups are the ids of ParamSecurityGroups.
func (s *Stack) SecurityGroups() []string { return s.list(ParamSecurityGroups) }

// list returns the parts of a parameter that is text with commas.
func (s *Stack) list(name string) []string {
	return strings.FieldsFunc(s.Parameters[name], func(r rune) bool { return r == ',' })
}

// IndexUntagged is ParamIndexUntagged.
func (s *Stack) IndexUntagged() bool { return s.values.untagged }

// IndexReplicated is ParamIndexReplicated.
func (s *Stack) IndexReplicated() bool { return s.values.replicated }

// IndexPullThrough is ParamIndexPullThrough.
func (s *Stack) IndexPullThrough() bool { return s.values.pullThroughHere }

// MemorySize is ParamGeneratorMemorySize in MiB.
func (s *Stack) MemorySize() int { return s.values.memory }

// FanOutFrom is ParamFanOutFromGiB in bytes: an image with more to be read is
// handed over to the state machine; 0: none is, as in stacks without one.
func (s *Stack) FanOutFrom() int64 { return int64(s.values.fanOutFromGiB) << 30 }

// StepsMemorySize is ParamStepsMemorySize in MiB; 0 in stacks without a state
// machine.
func (s *Stack) StepsMemorySize() int { return s.values.stepsMemory }

// ReservedConcurrency is ParamGeneratorConcurrency; 0 reserves nothing.
func (s *Stack) ReservedConcurrency() int { return s.values.concurrency }

// LogRetentionDays is ParamLogRetentionDays.
func (s *Stack) LogRetentionDays() int { return s.values.retention }

// LogLevel is ParamLogLevel: DEBUG, INFO, WARN or ERROR.
func (s *Stack) LogLevel() string { return s.Parameters[ParamLogLevel] }

// EventBus is ParamEventBus, a name or an ARN; empty when nothing is
// announced.
func (s *Stack) EventBus() string { return s.Parameters[ParamEventBus] }

// AlarmTopic is ParamAlarmTopic, an ARN; empty when alarms tell nobody.
func (s *Stack) AlarmTopic() string { return s.Parameters[ParamAlarmTopic] }

// PermissionsBoundary is ParamPermissionsBoundary, an ARN; empty for none.
func (s *Stack) PermissionsBoundary() string { return s.Parameters[ParamPermissionsBoundary] }

// ErrParameter: a parameter of the stack has a value that this version does
// not know.
var ErrParameter = errors.New("unknown value of a parameter")

// parseValues reads the parameters that have a type. One that the stack does
// not have is that of a version before it: nothing of what it switches on.
func parseValues(parameters map[string]string) (values, error) {
	var (
		v    values
		errs []error
	)
	fail := func(name, allowed string) {
		errs = append(errs, fmt.Errorf("%w: %s is %q, expected is %s", ErrParameter, name, parameters[name], allowed))
	}
	boolean := func(name string) bool {
		value := parameters[name]
		if value != "true" && value != "false" && value != "" {
			fail(name, "true or false")
		}
		return value == "true"
	}
	number := func(name string) int {
		value := parameters[name]
		if value == "" {
			return 0
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			fail(name, "a whole number")
		}
		return n
	}
	v.indexVersion = soci.IndexVersion(parameters[ParamIndexVersion])
	if !slices.Contains([]soci.IndexVersion{soci.V1, soci.V2, soci.Both}, v.indexVersion) {
		fail(ParamIndexVersion, "V1, V2 or Both")
	}
	if parameters[ParamTagSuffix] == "" {
		fail(ParamTagSuffix, "a suffix such as -soci")
	}
	v.tagUnindexed = boolean(ParamTagUnindexed)
	v.prefetch = boolean(ParamPrefetch)
	v.untagged = boolean(ParamIndexUntagged)
	v.replicated = boolean(ParamIndexReplicated)
	v.pullThroughHere = boolean(ParamIndexPullThrough)
	v.minLayerSize = int64(number(ParamMinLayerSizeMiB)) << 20
	v.memory = number(ParamGeneratorMemorySize)
	v.concurrency = number(ParamGeneratorConcurrency)
	v.fanOutFromGiB, v.stepsMemory = number(ParamFanOutFromGiB), number(ParamStepsMemorySize)
	v.retention = number(ParamLogRetentionDays)
	return v, errors.Join(errs...)
}

// Rules are those by which the stack's filter function decides.
func (s *Stack) Rules() filters.Rules {
	return filters.Rules{Filters: s.Filters, TagSuffix: s.TagSuffix(), Untagged: s.IndexUntagged(),
		OwnRepositories: s.OwnRepositories()}
}

// OwnRepositories are the names of the repositories that the functions'
// images are in, sorted; none where the functions are zip files.
func (s *Stack) OwnRepositories() []string {
	var all []string
	for _, p := range []string{ParamFilterImage, ParamGeneratorImage, ParamRepositoryNameImage} {
		if image, err := names.ParseHosted(s.Parameters[p]); err == nil {
			all = append(all, image.Repository)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

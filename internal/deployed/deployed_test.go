package deployed_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/soci"
)

// start returns an AWS with one stack.
func start(t *testing.T, change func(*awstest.Stack)) (*awstest.Server, *awstest.Stack) {
	t.Helper()
	stack := awstest.NewStack("prod-soci")
	if change != nil {
		change(stack)
	}
	server := awstest.Start(t)
	server.Handle("cloudformation", awstest.NewCloudFormation(awstest.NewStack("another"), stack))
	return server, stack
}

func TestFind(t *testing.T) {
	server, in := start(t, func(s *awstest.Stack) {
		maps.Copy(s.Parameters, map[string]string{
			deployed.ParamFilters:              "prod/*:*, !*:*-debug",
			deployed.ParamIndexVersion:         "V2",
			deployed.ParamTagSuffix:            "_lazy",
			deployed.ParamTagUnindexed:         "false",
			deployed.ParamPrefetch:             "true",
			deployed.ParamMinLayerSizeMiB:      "0",
			deployed.ParamIndexUntagged:        "true",
			deployed.ParamIndexPullThrough:     "true",
			deployed.ParamGeneratorMemorySize:  "3008",
			deployed.ParamGeneratorConcurrency: "5",
			deployed.ParamEventBus:             "bus",
		})
		s.Tags["team"] = "<platform>"
	})
	for _, name := range []string{in.Name, in.ID()} {
		s, err := deployed.Find(t.Context(), server.Config(), name)
		if err != nil {
			t.Fatal(err)
		}
		expect.Equal(t, expect.Facts{
			{"Name", s.Name, in.Name},
			{"ID", s.ID, in.ID()},
			{"Region", s.Region, awstest.Region},
			{"Account", s.Account, awstest.Account},
			{"Partition", s.Partition, "aws"},
			{"Status", s.Status, "CREATE_COMPLETE"},
		}, "the stack is %+v", s)
		if !maps.Equal(s.Parameters, in.Parameters) || !maps.Equal(s.Outputs, in.Outputs) ||
			!maps.Equal(s.Tags, in.Tags) {
			t.Errorf("parameters, outputs and tags are %v, %v, %v", s.Parameters, s.Outputs, s.Tags)
		}
		if s.Filters.String() != "prod/*:*,!*:*-debug" {
			t.Errorf("filters %s", s.Filters)
		}
		expect.Equal(t, expect.Facts{
			{"IndexVersion", s.IndexVersion(), soci.V2},
			{"TagSuffix", s.TagSuffix(), "_lazy"},
			{"TagUnindexed", s.TagUnindexed(), false},
			{"Prefetch", s.Prefetch(), true},
			{"MinLayerSize", s.MinLayerSize(), 0},
			{"IndexUntagged", s.IndexUntagged(), true},
			{"IndexReplicated", s.IndexReplicated(), false},
			{"IndexPullThrough", s.IndexPullThrough(), true},
			{"MemorySize", s.MemorySize(), 3008},
			{"ReservedConcurrency", s.ReservedConcurrency(), 5},
			{"LogRetentionDays", s.LogRetentionDays(), 30},
			{"LogLevel", s.LogLevel(), "INFO"},
			{"EventBus", s.EventBus(), "bus"},
			{"AlarmTopic", s.AlarmTopic(), ""},
			{"PermissionsBoundary", s.PermissionsBoundary(), ""},
		}, "the parameters are read as %+v", s)
	}
}

func TestFindDefaults(t *testing.T) {
	server, _ := start(t, nil)
	s, err := deployed.Find(t.Context(), server.Config(), "prod-soci")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Rules(); r.Filters.String() != "*:*" || r.TagSuffix != "-soci" || r.Untagged {
		t.Errorf("the rules are %+v", r)
	}
	if got := s.Platforms(); !slices.Equal(got, []string{"linux"}) || len(s.SigningProfiles()) != 0 {
		t.Errorf("the platforms are %q, the signing profiles %q", got, s.SigningProfiles())
	}
	s.Parameters[deployed.ParamPlatforms] = "linux/amd64,linux/arm64"
	s.Parameters[deployed.ParamSigningProfiles] = "arn:a,arn:b"
	if len(s.Platforms()) != 2 || len(s.SigningProfiles()) != 2 {
		t.Errorf("the platforms are %q, the signing profiles %q", s.Platforms(), s.SigningProfiles())
	}
	delete(s.Parameters, deployed.ParamPlatforms) // of a version before it
	if s.Platforms() != nil {
		t.Errorf("the platforms are %q", s.Platforms())
	}
	expect.Equal(t, expect.Facts{
		{"ReservedConcurrency", s.ReservedConcurrency(), 0},
		{"MinLayerSize", s.MinLayerSize(), 10 << 20},
		{"IndexUntagged", s.IndexUntagged(), false},
		{"TagUnindexed", s.TagUnindexed(), true},
		{"Prefetch", s.Prefetch(), false},
	}, "the parameters are read as %+v", s)
}

func TestFindRefuses(t *testing.T) {
	const name = "prod-soci"
	status := func(status string) func(*awstest.Stack) {
		return func(s *awstest.Stack) { s.Status = status }
	}
	parameter := func(key, value string) func(*awstest.Stack) {
		return func(s *awstest.Stack) { s.Parameters[key] = value }
	}
	tests := []struct {
		name, stack string
		change      func(*awstest.Stack)
		is          error
		text        []string
	}{
		{"no such stack", "prod-soc", nil, deployed.ErrNotFound,
			[]string{"stack prod-soc", awstest.Region, awstest.Account}},
		{"malformed name", "prod soci", nil, deployed.ErrInvalidName, []string{`"prod soci"`}},
		{"option for a name", "-x", nil, deployed.ErrInvalidName, nil},
		{"no name", "", nil, deployed.ErrInvalidName, nil},
		{"ARN of something else", "arn:aws:iam::123456789012:role/x", nil, deployed.ErrInvalidName, nil},
		{"deleted, by its ARN", awstest.NewStack(name).ID(), status("DELETE_COMPLETE"), deployed.ErrNotFound, nil},
		{"being made", name, status("CREATE_IN_PROGRESS"), deployed.ErrNotReady, []string{"CREATE_IN_PROGRESS"}},
		{"rolled back", name, status("ROLLBACK_COMPLETE"), deployed.ErrNotReady, []string{"ROLLBACK_COMPLETE"}},
		{"being deleted", name, status("DELETE_IN_PROGRESS"), deployed.ErrNotReady, nil},
		{"change set not executed", name, status("REVIEW_IN_PROGRESS"), deployed.ErrNotReady, nil},
		{"somebody else's", name, func(s *awstest.Stack) { s.Parameters = nil }, deployed.ErrNotOurs,
			[]string{deployed.ParamFilters}},
		{"somebody else's with the parameter", name, func(s *awstest.Stack) {
			delete(s.Outputs, deployed.OutRuleName)
			delete(s.Outputs, deployed.OutFailureQueueURL)
		}, deployed.ErrNotOurs, []string{deployed.OutFailureQueueURL + ", " + deployed.OutRuleName}},
		{"filters", name, parameter(deployed.ParamFilters, "a:b,C:d"), filters.ErrRepositoryPart,
			[]string{deployed.ParamFilters, `"C:d"`}},
		{"version", name, parameter(deployed.ParamIndexVersion, "V3"), deployed.ErrParameter,
			[]string{deployed.ParamIndexVersion, `"V3"`}},
		{"boolean", name, parameter(deployed.ParamIndexUntagged, "yes"), deployed.ErrParameter,
			[]string{`"yes"`, "true or false"}},
		{"number", name, parameter(deployed.ParamMinLayerSizeMiB, "10MiB"), deployed.ErrParameter, []string{`"10MiB"`}},
		{"no suffix", name, parameter(deployed.ParamTagSuffix, ""), deployed.ErrParameter, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := start(t, tt.change)
			s, err := deployed.Find(t.Context(), server.Config(), tt.stack)
			if !errors.Is(err, tt.is) {
				t.Fatalf("Find = %v, %v, want %v", s, err, tt.is)
			}
			for _, text := range tt.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not name %q", err, text)
				}
			}
		})
	}
}

// A stack answers events whatever became of its updates.
func TestFindUpdated(t *testing.T) {
	for _, status := range []string{"CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"UPDATE_COMPLETE",
		"UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE",
		"IMPORT_COMPLETE"} {
		server, _ := start(t, func(s *awstest.Stack) { s.Status = status })
		if s, err := deployed.Find(t.Context(), server.Config(), "prod-soci"); err != nil || s.Status != status {
			t.Errorf("%s: %v, %v", status, s, err)
		}
	}
}

func TestFindFails(t *testing.T) {
	server, _ := start(t, nil)
	server.Fail("cloudformation", "DescribeStacks",
		1, &awstest.Error{Status: 403, Code: "AccessDenied", Message: "User: me is not authorized"})
	_, err := deployed.Find(t.Context(), server.Config(), "prod-soci")
	if err = awserror.Explain(err); !errors.Is(err, awserror.ErrDenied) || errors.Is(err, deployed.ErrNotFound) ||
		!strings.Contains(err.Error(), "prod-soci") {
		t.Errorf("refused: %v", err)
	}
	// Without permission to ask, or an answer, the account is not named.
	server.Fail("sts", "*", 1, &awstest.Error{Status: 403, Code: "AccessDenied"})
	if _, err = deployed.Find(t.Context(), server.Config(), "unknown"); !errors.Is(err, deployed.ErrNotFound) ||
		strings.Contains(err.Error(), "account") {
		t.Errorf("account unknown: %v", err)
	}
	if n := server.Count("cloudformation", "DescribeStacks"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

package filters

import (
	"slices"
	"testing"
)

func TestRepositories(t *testing.T) {
	f, err := Parse("prod/*:v*,prod/api:latest,!*:*-debug,!old/*:*,test:*")
	if err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string][]string{
		"prod/api": {"v*", "latest"}, "prod/x": {"v*"}, "test": {"*"}, "old/x": nil, "prod": nil,
	} {
		if got := f.TagPatterns(repository); !slices.Equal(got, want) ||
			f.MatchesRepository(repository) != (want != nil) {
			t.Errorf("TagPatterns(%s) = %q, %t", repository, got, f.MatchesRepository(repository))
		}
	}
	for _, tt := range []struct{ repositories, want []string }{
		{[]string{"prod/api", "test", "old/x"}, nil},
		{[]string{"prod/x", "other"}, []string{"prod/api:latest", "!old/*:*", "test:*"}},
		{nil, []string{"prod/*:v*", "prod/api:latest", "!*:*-debug", "!old/*:*", "test:*"}},
	} {
		if got := f.Unused(tt.repositories); !slices.Equal(got, tt.want) {
			t.Errorf("Unused(%q) = %q, want %q", tt.repositories, got, tt.want)
		}
	}
}

package filters_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/filters"
	"soci-index-builder/pkg/soci"
)

func TestDecide(t *testing.T) {
	const list = "*:*,!*:*-debug,lambda/keep:*"
	tests := []struct {
		name            string
		untagged        bool
		suffix          string
		referrer        bool
		repository, tag string
		artifact        string
		want            filters.Verdict
	}{
		{name: "chosen", tag: "v1", want: filters.Verdict{Decision: filters.Matched, Filter: "*:*"}},
		{name: "excluded", tag: "v1-debug", want: filters.Verdict{Decision: filters.NotMatched, Filter: "!*:*-debug"}},
		{name: "the last filter decides", repository: "lambda/keep", tag: "1-debug",
			want: filters.Verdict{Decision: filters.Matched, Filter: "lambda/keep:*"}},
		{name: "SOCI-enabled image", tag: "v1-soci",
			want: filters.Verdict{Decision: filters.OwnArtifact, Reason: "tag suffix -soci"}},
		{name: "another suffix", suffix: "_lazy", tag: "v1-soci",
			want: filters.Verdict{Decision: filters.Matched, Filter: "*:*"}},
		{name: "SOCI index", artifact: soci.ArtifactTypeV2, untagged: true,
			want: filters.Verdict{Decision: filters.OwnArtifact, Reason: "artifact media type " + soci.ArtifactTypeV2}},
		{name: "record of a deployment", tag: "deploy.1", artifact: filters.DeploymentRecord,
			want: filters.Verdict{Decision: filters.OwnArtifact,
				Reason: "artifact media type " + filters.DeploymentRecord}},
		{name: "referrer", referrer: true, untagged: true, want: filters.Verdict{Decision: filters.Referrer}},
		{name: "no tag", want: filters.Verdict{Decision: filters.Untagged}},
		{name: "no tag, asked for", untagged: true, want: filters.Verdict{Decision: filters.Matched, Filter: "*:*"}},
	}
	parsed, err := filters.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := filters.Rules{Filters: parsed, TagSuffix: "-soci", Untagged: tt.untagged}
			if tt.suffix != "" {
				r.TagSuffix = tt.suffix
			}
			e := filters.Image{Repository: "app", Tag: tt.tag, ArtifactType: tt.artifact, Referrer: tt.referrer}
			if tt.repository != "" {
				e.Repository = tt.repository
			}
			if got := r.Decide(e); got != tt.want {
				t.Errorf("Decide = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// What ranges over the decisions misses none.
func TestDecisions(t *testing.T) {
	source, err := os.ReadFile("rules.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []filters.Decision
	for _, m := range regexp.MustCompile(` Decision = "([a-z-]+)"`).FindAllSubmatch(source, -1) {
		declared = append(declared, filters.Decision(m[1]))
	}
	if got := filters.Decisions(); len(declared) == 0 || !slices.Equal(got, declared) {
		t.Errorf("Decisions returns %q, the constants are %q", got, declared)
	}
}

// Without filters nothing is chosen.
func TestDecideZero(t *testing.T) {
	e := filters.Image{Repository: "app", Tag: "v1"}
	if got := (filters.Rules{}).Decide(e); got.Decision != filters.NotMatched {
		t.Errorf("Decide = %+v", got)
	}
}

// Every is what its text says.
func TestEvery(t *testing.T) {
	parsed, err := filters.Parse(filters.Every().String())
	if err != nil || !reflect.DeepEqual(parsed, filters.Every()) {
		t.Errorf("%q reads as %+v, %v", filters.Every(), parsed, err)
	}
}

func TestOwnSuffix(t *testing.T) {
	tests := []struct {
		name, tag, suffix string
		want              bool
	}{
		{"default suffix", "v1-soci", "-soci", true},
		{"other suffix", "v1-lazy", "-lazy", true},
		{"not that suffix", "v1-soci", "-lazy", false},
		{"nothing before the suffix", "_lazy", "_lazy", false},
		{"no tag", "", "-soci", false},
		{"no suffix", "v1", "", false},
		{"case counts", "v1-SOCI", "-soci", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules := filters.Rules{Filters: filters.Every(), TagSuffix: tt.suffix, Untagged: true}
			want := filters.Verdict{Decision: filters.Matched, Filter: "*:*"}
			if tt.want {
				want = filters.Verdict{Decision: filters.OwnArtifact, Reason: "tag suffix " + tt.suffix}
			}
			if got := rules.Decide(filters.Image{Repository: "app", Tag: tt.tag}); got != want {
				t.Errorf("with the suffix %q tag %q is %+v, want %+v", tt.suffix, tt.tag, got, want)
			}
		})
	}
}

// An image in a repository of the functions' own images is never indexed,
// whatever the filters say.
func TestOwnRepositories(t *testing.T) {
	every, err := filters.Parse("*:*")
	if err != nil {
		t.Fatal(err)
	}
	uri := "123456789012.dkr.ecr.eu-west-1.amazonaws.com/stack1/filter@sha256:" + strings.Repeat("0", 64)
	own, err := filters.OwnRepositories(uri + ",stack1/generator," + uri)
	if err != nil || !slices.Equal(own, []string{"stack1/filter", "stack1/generator"}) {
		t.Fatalf("the repositories are %q, %v", own, err)
	}
	rules := filters.Rules{Filters: every, OwnRepositories: own}
	for repository, want := range map[string]filters.Decision{
		"stack1/filter": filters.OwnArtifact, "stack1/generator": filters.OwnArtifact,
		"stack1/filter2": filters.Matched,
		"filter":         filters.Matched,
	} {
		if v := rules.Decide(filters.Image{Repository: repository, Tag: "v1"}); v.Decision != want ||
			(v.Decision == filters.OwnArtifact) != (v.Reason == "repository of the functions' images") {
			t.Errorf("%s: %+v, want %s", repository, v, want)
		}
	}
	if none, err := filters.OwnRepositories(""); err != nil || len(none) > 0 {
		t.Errorf("of nothing there are %q, %v", none, err)
	}
	if _, err := filters.OwnRepositories("a,"); err == nil {
		t.Error("an empty name is taken")
	}
}

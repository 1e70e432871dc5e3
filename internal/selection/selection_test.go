package selection_test

import (
	"testing"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/selection"
	"soci-index-builder/pkg/soci"
)

func TestDecide(t *testing.T) {
	const list = "*:*,!*:*-debug,lambda/keep:*"
	tests := []struct {
		name            string
		untagged        bool
		suffix          string
		detailType      string
		repository, tag string
		artifact        string
		want            selection.Verdict
	}{
		{name: "chosen", tag: "v1", want: selection.Verdict{Decision: selection.Matched, Filter: "*:*"}},
		{name: "excluded", tag: "v1-debug", want: selection.Verdict{Decision: selection.NotMatched, Filter: "!*:*-debug"}},
		{name: "the last filter decides", repository: "lambda/keep", tag: "1-debug", want: selection.Verdict{Decision: selection.Matched, Filter: "lambda/keep:*"}},
		{name: "SOCI-enabled image", tag: "v1-soci", want: selection.Verdict{Decision: selection.OwnArtifact, Reason: "tag suffix -soci"}},
		{name: "another suffix", suffix: "_lazy", tag: "v1-soci", want: selection.Verdict{Decision: selection.Matched, Filter: "*:*"}},
		{name: "SOCI index", artifact: soci.ArtifactTypeV2, untagged: true, want: selection.Verdict{Decision: selection.OwnArtifact, Reason: "artifact media type " + soci.ArtifactTypeV2}},
		{name: "referrer", detailType: ecrevent.ReferrerAction, untagged: true, want: selection.Verdict{Decision: selection.Referrer}},
		{name: "no tag", want: selection.Verdict{Decision: selection.Untagged}},
		{name: "no tag, asked for", untagged: true, want: selection.Verdict{Decision: selection.Matched, Filter: "*:*"}},
	}
	parsed, err := filters.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := selection.Rules{Filters: parsed, TagSuffix: "-soci", Untagged: tt.untagged}
			if tt.suffix != "" {
				r.TagSuffix = tt.suffix
			}
			e := &ecrevent.Event{DetailType: ecrevent.ImageAction, Detail: ecrevent.Detail{RepositoryName: "app", ImageTag: tt.tag, ArtifactMediaType: tt.artifact}}
			if tt.detailType != "" {
				e.DetailType = tt.detailType
			}
			if tt.repository != "" {
				e.Detail.RepositoryName = tt.repository
			}
			if got := r.Decide(e); got != tt.want {
				t.Errorf("Decide = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Without filters nothing is chosen.
func TestDecideZero(t *testing.T) {
	e := &ecrevent.Event{Detail: ecrevent.Detail{RepositoryName: "app", ImageTag: "v1"}}
	if got := (selection.Rules{}).Decide(e); got.Decision != selection.NotMatched {
		t.Errorf("Decide = %+v", got)
	}
}

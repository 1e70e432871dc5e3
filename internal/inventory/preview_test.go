package inventory_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func previewRules(t *testing.T, list string, untagged bool) filters.Rules {
	t.Helper()
	parsed, err := filters.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return filters.Rules{Filters: parsed, TagSuffix: "-soci", Untagged: untagged}
}

// listing is a source of what a test wants.
type listing struct {
	repositories []string
	images       map[string][]inventory.Image
	err          error // of the last repository
}

func (l *listing) Repositories(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, r := range l.repositories {
			if !yield(r, nil) {
				return
			}
		}
		if l.err != nil {
			yield("", l.err)
		}
	}
}

var errGone = errors.New("gone")

func (l *listing) Images(_ context.Context, repository string) ([]inventory.Image, error) {
	images, ok := l.images[repository]
	if !ok {
		return nil, errGone
	}
	return images, nil
}

func (l *listing) Open(string) (*ecrclient.Repository, error) {
	panic("internal error: the content of an image does not matter")
}

var one, two = digest.FromString("1"), digest.FromString("2")

func TestPreviewListed(t *testing.T) {
	source := &listing{
		repositories: []string{"app", "empty", "lib"},
		images: map[string][]inventory.Image{
			"app": {
				{Repository: "app", Digest: one, Tags: []string{"v1", "v1-debug"}},
				{Repository: "app", Digest: two, Tags: []string{"v1-soci"}},
				{Repository: "app", Digest: digest.FromString("sbom"), Subject: one,
					ArtifactType: "application/spdx+json"},
				{Repository: "app", Digest: digest.FromString("index"), Subject: one,
					ArtifactType: soci.ArtifactTypeV1},
			},
			"empty": nil,
			"lib":   {{Repository: "lib", Digest: two}},
		},
	}
	for _, tt := range []struct {
		untagged bool
		want     []string
	}{
		{false, []string{"app:v1 matched", "app:v1-debug not-matched", "app:v1-soci own-artifact",
			"app@" + digest.FromString("sbom").String() + " referrer",
			"app@" + digest.FromString("index").String() + " own-artifact", "lib@" + two.String() + " untagged"}},
		{true, []string{"app:v1 matched", "app:v1-debug not-matched", "app:v1-soci own-artifact",
			"app@" + digest.FromString("sbom").String() + " referrer",
			"app@" + digest.FromString("index").String() + " own-artifact", "lib@" + two.String() + " matched"}},
	} {
		images, err := inventory.PreviewListed(t.Context(), source, previewRules(t, "*:*,!*:*-debug", tt.untagged), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, image := range images {
			got = append(got, image.Name()+" "+string(image.Decision))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("untagged %t: %q, want %q", tt.untagged, got, tt.want)
		}
	}
}

func TestPreviewListedFails(t *testing.T) {
	for name, source := range map[string]*listing{
		"repositories": {err: errGone},
		"images":       {repositories: []string{"app"}},
	} {
		images, err := inventory.PreviewListed(t.Context(), source, previewRules(t, "*:*", false), nil)
		if !errors.Is(err, errGone) || images != nil {
			t.Errorf("%s: %v, %v", name, images, err)
		}
	}
}

func TestPreviewNamedRefuses(t *testing.T) {
	for _, name := range []string{"", "app", "app:", "App:v1", "app:-v", "app@sha256:1", "example.com/app:v1:2", "app@",
		":v1", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"} {
		if image, err := inventory.PreviewNamed(name, previewRules(t, "*:*", true)); !errors.Is(err, names.ErrInvalid) {
			t.Errorf("PreviewNamed(%q) = %+v, %v", name, image, err)
		}
	}
}

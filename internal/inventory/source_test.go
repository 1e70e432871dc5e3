package inventory_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func TestRegistry(t *testing.T) {
	a := newAccount(t)
	a.fill()
	source := inventory.Registry(a.registry.Host(), []string{"team/web", "app"},
		ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
	o := inventory.Options{Rules: rules(t, "*:*,!*:*-debug"), MinLayerSize: 1}
	compare(t, lines(t, inventory.Survey(t.Context(), source, o)),
		lines(t, inventory.Survey(t.Context(), a.source(), o))...)

	// The list of tags is not asked for when the tags are given.
	a.registry.Clear()
	source = inventory.Registry(a.registry.Host(), []string{"app"})
	source.OnlyTags("app", "done", "moved")
	o.Tags = map[string][]string{"app": {"done", "moved"}}
	compare(t, lines(t, inventory.Survey(t.Context(), source, o)), "app:done indexed",
		"app:moved stale moved-soci was made of another image")
	if n := a.registry.Count("", "/tags/list"); n != 0 {
		t.Errorf("the tags were listed %d times", n)
	}
	source.OnlyTags("app", "none")
	for _, err := range inventory.Survey(t.Context(), source, o) {
		if !errors.Is(err, ecrclient.ErrNotFound) {
			t.Errorf("a tag that is not there: %v", err)
		}
	}
	a.registry.Add(registrytest.Rule{Path: "/tags/list",
		Fault: registrytest.Status(http.StatusNotFound, "NAME_UNKNOWN", "")})
	if _, err := inventory.Registry(a.registry.Host(), nil).Images(t.Context(), "none"); !errors.Is(err,
		inventory.ErrNoRepository) {
		t.Errorf("no such repository: %v", err)
	}
}

func TestECRImages(t *testing.T) {
	a := newAccount(t)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	a.ecr.Images("app",
		awstest.Image{Tags: []string{"b", "a"}, PushedAt: at, PulledAt: at.Add(time.Hour), Size: 42},
		awstest.Image{ArtifactMediaType: soci.ArtifactTypeV1, Subject: digest.FromString("subject"),
			Digest: digest.FromString("x")},
		awstest.Image{Tags: []string{"z"}, Archived: true})
	images, err := a.source().Images(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 {
		t.Fatalf("%+v", images)
	}
	expect.Equal(t, expect.Facts{
		{"images[0].Tags", images[0].Tags, []string{"a", "b"}},
		{"images[0].PushedAt.Equal(at)", images[0].PushedAt.Equal(at), true},
		{"images[0].PulledAt.Equal(at.Add(time.Hour))", images[0].PulledAt.Equal(at.Add(time.Hour)), true},
		{"images[0].Size", images[0].Size, 42},
		{"images[0].MediaType", images[0].MediaType, ocispec.MediaTypeImageManifest},
		{"images[1].ArtifactType", images[1].ArtifactType, soci.ArtifactTypeV1},
		{"images[1].Subject", images[1].Subject, digest.FromString("subject")},
	}, "%+v", images)
	if images, err = a.source(inventory.WithArchived()).Images(t.Context(), "app"); err != nil || len(images) != 3 ||
		!images[1].Archived {
		t.Errorf("%+v, %v", images, err)
	}
	a.ecr.Images("twice", awstest.Image{Digest: digest.FromString("one"), Tags: []string{"a"}},
		awstest.Image{Digest: digest.FromString("two"), Tags: []string{"b"}},
		awstest.Image{Digest: digest.FromString("one"), Tags: []string{"a", "c"}})
	if images, err = a.source().Images(t.Context(), "twice"); err != nil || len(images) != 2 ||
		len(images[0].Tags) != 2 {
		t.Errorf("%+v, %v", images, err)
	}
	if _, err := a.source().Images(t.Context(), "none"); !errors.Is(err, inventory.ErrNoRepository) {
		t.Errorf("%v", err)
	}
	if _, err := a.source().Open("app"); err == nil {
		t.Error("the account is not known yet")
	}
	if repo, err := a.source(inventory.WithAccount(awstest.Account)).Open("app"); err != nil ||
		repo.Name() != a.ecr.Host()+"/app" {
		t.Errorf("%v, %v", repo, err)
	}
	var names []string
	a.ecr.Repository("zz", awstest.Repository{})
	a.ecr.Repository("aa", awstest.Repository{Mutability: "IMMUTABLE"})
	for name, err := range a.source().Repositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	compare(t, names, "aa", "app", "twice", "zz")
}

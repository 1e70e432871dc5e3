package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Thousands of images in pages, of which a few were pushed since; ECR throttles
// and is late, the registry throttles too.
func TestSurveyLarge(t *testing.T) {
	a := newAccount(t)
	since := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	var want []string
	for i := range 4900 {
		a.ecr.Images("big", awstest.Image{Tags: []string{fmt.Sprintf("old-%04d", i)}, PushedAt: since.Add(-time.Hour)})
	}
	for i := range 100 {
		tag := fmt.Sprintf("new-%03d", i)
		d := a.registry.PushImage(t, "big", tag, registrytest.Image{
			Layers:      []registrytest.Layer{{Content: a.layers[0]}},
			Annotations: map[string]string{"build": tag}}).Manifest.Digest
		a.ecr.PushedAt("big", d, since.Add(time.Duration(i)*time.Hour))
		want = append(want, "big:"+tag+" missing no SOCI index")
	}
	a.aws.Fail("ecr", "DescribeImages", 2, awstest.Throttled)
	a.aws.Fail("ecr", "DescribeImages", 1, &awstest.Error{After: 10 * time.Millisecond})
	a.aws.Fail("ecr", "DescribeImages",
		1, &awstest.Error{Status: http.StatusInternalServerError, Code: "ServerException", Message: "try again"})
	a.registry.Add(registrytest.Rule{Path: "/manifests/", Times: 20,
		Fault: registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "")})
	source := inventory.ECR(a.aws.RetryingConfig(5),
		inventory.WithClientOptions(ecrclient.WithEndpoint(a.registry.URL()),
			ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 30, MinWait: time.Nanosecond})))
	var progress []inventory.Progress
	got := lines(t, inventory.Survey(t.Context(), source,
		inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Since: since,
			Progress: func(p inventory.Progress) { progress = append(progress, p) }}))
	compare(t, got, want...)
	if n := a.aws.Count("ecr", "DescribeImages"); n != 5+3 {
		t.Errorf("%d calls of DescribeImages, want 5 pages and 3 more attempts", n)
	}
	if last := progress[len(progress)-1]; len(progress) != 100 ||
		last != (inventory.Progress{Repositories: 1, Images: 100, Done: 100}) {
		t.Errorf("%d times progress, at last %+v", len(progress), last)
	}
}

// An image that goes away meanwhile is no error; one that has lost a part is
// told.
func TestSurveyGone(t *testing.T) {
	a := newAccount(t)
	first := a.image("app", "1", 0)
	a.image("app", "2", 1)
	part := a.image("app", "", 2)
	a.registry.PushIndex(t, "app", "3", false, part)
	a.delete("app", part.Digest)
	notFound := registrytest.Status(http.StatusNotFound, "MANIFEST_UNKNOWN", "")
	a.registry.Add(registrytest.Rule{Path: "/manifests/" + first.Digest.String(), Fault: notFound})
	got := lines(t, inventory.Survey(t.Context(), a.source(),
		inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}))
	if len(got) != 2 || got[0] != "app:2 missing no SOCI index" || !strings.HasPrefix(got[1], "app:3 fails ") {
		t.Errorf("%q", got)
	}
	// Between the manifest and its config.
	a.registry.Clear()
	a.registry.Add(registrytest.Rule{Path: "/manifests/" + first.Digest.String(), Skip: 2, Fault: notFound},
		registrytest.Rule{Path: "/referrers/" + first.Digest.String(), Fault: notFound},
		registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 1, Fault: notFound})
	one := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, Concurrency: 1}
	if got := lines(t, inventory.Survey(t.Context(), a.source(), one)); len(got) != 2 ||
		got[0] != "app:2 missing no SOCI index" {
		t.Errorf("%q", got)
	}
}

// A registry that refuses to tell, or fails to, is not taken for one without
// SOCI indexes.
func TestSurveyUnknown(t *testing.T) {
	for _, status := range []int{403, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			a := newAccount(t)
			a.image("app", "1", 0)
			a.registry.Add(registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")})
			source := inventory.Registry(a.registry.Host(), []string{"app"},
				ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			for version, want := range map[soci.IndexVersion]inventory.State{
				soci.V1: inventory.StateUnknown, soci.Both: inventory.StateUnknown, soci.V2: inventory.StateMissing,
			} {
				n := 0
				for r, err := range inventory.Survey(t.Context(), source,
					inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1, IndexVersion: version}) {
					n++
					if err != nil {
						t.Fatalf("%s: %+v, %v", version, r, err)
					}
					expect.Equal(t, expect.Facts{
						{"State", r.State, want},
						{"V1", r.V1, inventory.CoverUnknown},
						{"State.Lacking", r.State.Lacking(), version == soci.V2},
						{"State.ToIndex", r.State.ToIndex(), true},
						{"State.Chosen", r.State.Chosen(), true},
					}, "%s: %+v, %v", version, r, err)
					if told := strings.Contains(r.Reason, fmt.Sprint(status)); told != (version != soci.V2) {
						t.Errorf("%s: %q", version, r.Reason)
					}
				}
				if n != 1 {
					t.Errorf("%d records", n)
				}
			}
			// On ECR it is an error: a missing permission or a failure.
			a.ecrRefuses(t)
		})
	}
}

// ecrRefuses expects the survey of ECR to fail.
func (a *account) ecrRefuses(t *testing.T) {
	t.Helper()
	for r, err := range inventory.Survey(t.Context(), a.source(),
		inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}) {
		if err == nil || r.State != "" {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

func TestSurveyErrors(t *testing.T) {
	all := inventory.Options{Rules: rules(t, "*:*"), MinLayerSize: 1}
	type result struct {
		records int
		errs    []error
		of      []string // repositories
	}
	survey := func(ctx context.Context, src inventory.Source, o inventory.Options) (r result) {
		for record, err := range inventory.Survey(ctx, src, o) {
			if err == nil {
				r.records++
				continue
			}
			r.errs = append(r.errs, err)
			r.of = append(r.of, record.Repository)
		}
		return r
	}
	t.Run("one repository is denied", func(t *testing.T) {
		a := newAccount(t)
		for i := range 200 {
			a.registry.PushImage(t, "aa", fmt.Sprint(i),
				registrytest.Image{Annotations: map[string]string{"n": fmt.Sprint(i)}})
		}
		a.image("bb", "1", 0)
		a.registry.Add(registrytest.Rule{Path: "/v2/aa/",
			Fault: registrytest.Status(http.StatusForbidden, "DENIED", "")})
		one := all
		one.Concurrency = 1
		r := survey(t.Context(), a.source(), one)
		if r.records != 1 || len(r.errs) != 1 || r.of[0] != "aa" {
			t.Fatalf("%+v, want one record, and one error of aa", r)
		}
		const rest = "199 more images of aa are not looked at"
		if err := r.errs[0]; !errors.Is(err, ecrclient.ErrDenied) || !strings.Contains(err.Error(), rest) {
			t.Errorf("%v, want %v with %q", err, ecrclient.ErrDenied, rest)
		}
		if n := a.registry.Count("", "/v2/aa/"); n >= 200 {
			t.Errorf("%d requests to a repository that denies", n)
		}
	})
	t.Run("one repository cannot be listed", func(t *testing.T) {
		a := newAccount(t)
		a.image("aa", "1", 0)
		a.image("bb", "1", 0)
		a.aws.Fail("ecr", "DescribeImages", 1,
			&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
		if r := survey(t.Context(), a.source(), all); r.records != 1 || len(r.errs) != 1 || r.of[0] != "aa" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no repository can be listed", func(t *testing.T) {
		a := newAccount(t)
		a.aws.Fail("ecr", "DescribeRepositories", 1,
			&awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
		if r := survey(t.Context(), a.source(), all); r.records != 0 || len(r.errs) != 1 || r.of[0] != "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no such repository", func(t *testing.T) {
		a := newAccount(t)
		if r := survey(t.Context(), a.source(inventory.WithRepositories("none")), all); len(r.errs) != 1 ||
			!errors.Is(r.errs[0], inventory.ErrNoRepository) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no such tag", func(t *testing.T) {
		a := newAccount(t)
		a.image("aa", "1", 0)
		o := all
		o.Tags = map[string][]string{"aa": {"1", "2"}}
		if r := survey(t.Context(), a.source(), o); r.records != 0 || len(r.errs) != 1 ||
			!errors.Is(r.errs[0], inventory.ErrNoTag) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		a := newAccount(t)
		a.image("aa", "1", 0)
		a.image("aa", "2", 1)
		ctx, cancel := context.WithCancel(t.Context())
		a.registry.Add(registrytest.Rule{Path: "/v2/aa/", Skip: 3,
			Fault: func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
				cancel()
				<-r.Context().Done()
			}})
		if r := survey(ctx, a.source(), all); len(r.errs) != 1 || !errors.Is(r.errs[0], context.Canceled) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("not read to its end", func(t *testing.T) {
		a := newAccount(t)
		for i := range 5 {
			a.registry.PushImage(t, "aa", fmt.Sprint(i),
				registrytest.Image{Annotations: map[string]string{"n": fmt.Sprint(i)}})
		}
		for range inventory.Survey(t.Context(), a.source(), all) {
			break
		}
	})
}

// A stand-in for ECR may link a page to itself.
func TestECRListsEnd(t *testing.T) {
	a := newAccount(t)
	calls := map[string]int{}
	answer := func(name string, out map[string]any) func([]byte) (any, error) {
		return func([]byte) (any, error) {
			if calls[name]++; calls[name] > 3 {
				t.Errorf("%s is called %d times", name, calls[name])
				delete(out, "nextToken")
			}
			return out, nil
		}
	}
	a.aws.Handle("ecr", awstest.JSON(map[string]func([]byte) (any, error){
		"DescribeRepositories": answer("DescribeRepositories",
			map[string]any{"nextToken": "again", "repositories": []any{map[string]any{"repositoryName": "app"}}}),
		"DescribeImages": answer("DescribeImages", map[string]any{"nextToken": "again", "imageDetails": []any{
			map[string]any{"imageDigest": "sha256:" + strings.Repeat("0", 64), "imageTags": []string{"1"}}}}),
	}))
	images, err := a.source().Images(t.Context(), "app")
	if err != nil || len(images) != 1 || calls["DescribeImages"] != 2 {
		t.Errorf("%+v, %v after %d calls", images, err, calls["DescribeImages"])
	}
	n := 0
	for _, err := range a.source().Repositories(t.Context()) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 2 || calls["DescribeRepositories"] != 2 { // each page has it
		t.Errorf("%d repositories after %d calls", n, calls["DescribeRepositories"])
	}
}

package verify_test

import (
	"errors"
	"strings"
	"testing"

	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// The SOCI indexes of an image that is indexed in both versions are verified as
// they are, with faults of the registry.
func TestVersions(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	result, err := soci.IndexImage(t.Context(), i.repo, i.repo, i.pushed.Manifest, soci.Options{
		IndexVersion: soci.Both, Tag: "1", TagSuffix: "-soci", SpanSize: spanSize, MinLayerSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	v2 := result.Manifests[0].IndexV2.Digest.String()
	ztoc := result.Manifests[0].Layers[0].Ztoc.Digest.Encoded()
	gone := registrytest.Status(404, "NOT_FOUND", "no")
	for _, row := range []struct {
		name   string
		rules  []registrytest.Rule
		want   soci.IndexVersion
		v1, v2 int    // differences
		first  string // in the first difference
		fails  error
	}{
		{name: "sound"},
		{name: "sound, both must exist", want: soci.Both},
		{name: "no suffixed tag", rules: []registrytest.Rule{{Path: "manifests/1-soci", Fault: gone}}},
		{name: "no suffixed tag, but it must exist",
			rules: []registrytest.Rule{{Path: "manifests/1-soci", Fault: gone}},
			want:  soci.V2, fails: verify.ErrNoIndex},
		{name: "no SOCI index v2", rules: []registrytest.Rule{{Path: v2, Fault: gone}}, v2: 1,
			first: "not in the repository"},
		{name: "no zTOC", rules: []registrytest.Rule{{Path: ztoc, Fault: gone}}, v1: 1, v2: 1,
			first: "not in the repository"},
		{name: "no zTOC, v1 alone", rules: []registrytest.Rule{{Path: ztoc, Fault: gone}}, want: soci.V1, v1: 1},
		{name: "suffixed tag refused", fails: ecrclient.ErrDenied, rules: []registrytest.Rule{
			{Path: "manifests/1-soci", Fault: registrytest.Status(403, "DENIED", "no")}}},
		{name: "SOCI index v2 refused", fails: ecrclient.ErrDenied, rules: []registrytest.Rule{
			{Path: v2, Fault: registrytest.Status(403, "DENIED", "no")}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			i.server.Clear()
			for _, rule := range row.rules {
				i.server.Add(rule)
			}
			image, err := inspect.LoadVersions(t.Context(), i.repo, i.pushed.Manifest, "1", "-soci")
			var report *verify.Report
			if err == nil {
				report, err = verify.New(i.repo, verify.Options{}).Versions(t.Context(), image, row.want)
			}
			if !errors.Is(err, row.fails) {
				t.Fatalf("%v, want %v", err, row.fails)
			}
			if row.fails != nil {
				return
			}
			if n1, n2 := report.DifferencesOf("v1"), report.DifferencesOf("v2"); n1 != row.v1 || n2 != row.v2 {
				t.Errorf("%d and %d differences, want %d and %d: %q, %v", n1, n2, row.v1, row.v2, all(report),
					report.Wrong)
			}
			if found := all(report); row.first != "" && (len(found) == 0 || !strings.Contains(found[0], row.first)) {
				t.Errorf("%q, want %q", found, row.first)
			}
			if (row.want == soci.V1) == report.Has("v2") && row.name != "no suffixed tag" {
				t.Errorf("v2 is looked at: %t", report.Has("v2"))
			}
		})
	}
}

// A layer is read once for all images of a Verifier, and again after it failed.
func TestVerifierReadsOnce(t *testing.T) {
	i := pushImage(t, testlayers.Named("writer/go-6"))
	if _, err := soci.IndexImage(t.Context(), i.repo, i.repo, i.pushed.Manifest, soci.Options{
		SpanSize: spanSize, MinLayerSize: 1}); err != nil {
		t.Fatal(err)
	}
	image, err := inspect.LoadVersions(t.Context(), i.repo, i.pushed.Manifest, "", "-soci")
	if err != nil {
		t.Fatal(err)
	}
	v := verify.New(i.repo, verify.Options{})
	i.server.Add(registrytest.Rule{Path: i.pushed.Layers[0].Digest.Encoded(),
		Fault: registrytest.Status(403, "DENIED", "no")})
	if _, err := v.Versions(t.Context(), image, ""); !errors.Is(err, ecrclient.ErrDenied) {
		t.Fatalf("%v, want ErrDenied", err)
	}
	i.server.Clear()
	for _, want := range []int{1, 0} {
		report, err := v.Versions(t.Context(), image, "")
		if err != nil || report.Compared != want || len(report.Layers()) != 1 {
			t.Fatalf("%v, %+v, want %d layers compared", err, report, want)
		}
		if report.Layers()[0].Spans == 0 {
			t.Errorf("%v, %+v, want %d layers compared", err, report, want)
		}
	}
}

package generator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// platformsImage pushes an image index of three platforms that have a layer in
// common, each with a label for a file of each of its layers.
func platformsImage(t *testing.T, s *registrytest.Server) (index ocispec.Descriptor, images []digest.Digest) {
	t.Helper()
	var parts []ocispec.Descriptor
	for n, p := range [][2]string{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}} {
		config := fmt.Sprintf(`{"os":%q,"architecture":%q,"config":{"Labels":{"soci-index-builder.prefetch":`+
			`"/file-1,/file-%d,/not/there"}}}`, p[0], p[1], n+2)
		image := s.PushImage(t, repository, "", registrytest.Image{Platform: p[0] + "/" + p[1], Config: []byte(config),
			Layers: []registrytest.Layer{{Content: layer(t, 1, 3*minSize)}, {Content: layer(t, uint64(n+2), 2*minSize)},
				{Content: layer(t, 9, minSize/2)}}}).Manifest
		parts, images = append(parts, image), append(images, image.Digest)
	}
	return s.PushIndex(t, repository, "v1", false, parts...), images
}

// madeOf is made for several image manifests.
func madeOf(t *testing.T, s *registrytest.Server, images []digest.Digest) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i, d := range images {
		for name, value := range made(t, s, d) {
			if value == "referrer" {
				value = fmt.Sprintf("referrer of platform %d", i)
			}
			all[name] = value
		}
	}
	return all
}

// newStepperOf makes steps with these options.
func newStepperOf(t *testing.T, s *registrytest.Server, version soci.IndexVersion, choice []string,
	prefetch bool) *stepper {
	steps := newStepper(t, s)
	o := &steps.Options
	o.IndexVersion, o.Choice, o.PrefetchLabel, o.TagUnindexed = version, choice, prefetch, true
	return steps
}

// Whatever the platforms and the versions are, with prefetch artifacts or without,
// the steps leave what the function itself leaves, also beside what an earlier
// choice left.
func TestStepsOfPlatforms(t *testing.T) {
	for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
		for _, choice := range [][]string{nil, {"linux"}, {"linux/arm64"}, {"windows", "linux/amd64"}, {"freebsd"}} {
			for _, earlier := range []bool{false, true} {
				for _, prefetch := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %q, earlier: %t, prefetch: %t", version, choice, earlier, prefetch),
						func(t *testing.T) {
							one, parts := registrytest.Start(t), registrytest.Start(t)
							var outcomes []string
							var left []map[string]string
							for _, s := range []*registrytest.Server{one, parts} {
								image, images := platformsImage(t, s)
								event := push(image.Digest, "v1")
								if earlier {
									before := newStepperOf(t, s, version, []string{"windows/amd64"}, prefetch)
									if _, err := before.Handler.Handle(t.Context(), event); err != nil {
										t.Fatal(err)
									}
								}
								steps := newStepperOf(t, s, version, choice, prefetch)
								if s == one {
									answer, err := steps.Handler.Handle(t.Context(), event)
									if err != nil {
										t.Fatal(err)
									}
									outcomes = append(outcomes, string(answer.Outcome))
								} else {
									answer, err := steps.all(t, event)
									if err != nil {
										t.Fatal(err)
									}
									outcomes = append(outcomes, fmt.Sprint(answer["outcome"]))
								}
								left = append(left, madeOf(t, s, images))
							}
							if outcomes[0] != outcomes[1] || !maps.Equal(left[0], left[1]) {
								t.Errorf("one function: %s, %v\nseveral: %s, %v", outcomes[0], left[0], outcomes[1],
									left[1])
							}
							want := soci.OutcomeIndexed
							if slices.Equal(choice, []string{"freebsd"}) && (!earlier || version == soci.V1) {
								want = soci.OutcomePlatformNotChosen
							}
							if outcomes[0] != string(want) {
								t.Errorf("the outcome is %s, want %s", outcomes[0], want)
							}
						})
				}
			}
		}
	}
}

// A platform that cannot be read fails the image only if it is chosen, in several
// functions as in one.
func TestStepsOfUnreadablePlatform(t *testing.T) {
	for _, choice := range [][]string{nil, {"linux"}, {"windows"}} {
		for _, version := range []soci.IndexVersion{soci.V1, soci.V2, soci.Both} {
			var left []map[string]string
			for range 2 {
				s := registrytest.Start(t)
				image, images := platformsImage(t, s)
				var m ocispec.Manifest
				if err := json.Unmarshal(s.Manifest(t, repository, images[2].String()), &m); err != nil {
					t.Fatal(err)
				}
				s.Add(registrytest.Rule{Path: "/blobs/" + m.Config.Digest.String(),
					Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")})
				event, steps := push(image.Digest, "v1"), newStepperOf(t, s, version, choice, true)
				var err error
				if len(left) == 0 {
					_, err = steps.Handler.Handle(t.Context(), event)
				} else {
					_, err = steps.all(t, event)
				}
				if linux := slices.Equal(choice, []string{"linux"}); (err == nil) != linux {
					t.Errorf("%q, %s: %v", choice, version, err)
				}
				left = append(left, madeOf(t, s, images))
			}
			if !maps.Equal(left[0], left[1]) {
				t.Errorf("%q, %s: one function: %v, several: %v", choice, version, left[0], left[1])
			}
		}
	}
}

// cleanSteps returns a registry in which the steps were done once, and what they
// made there.
func cleanSteps(t *testing.T) (*registrytest.Server, map[string]string) {
	t.Helper()
	s := registrytest.Start(t)
	image, images := platformsImage(t, s)
	if _, err := newStepperOf(t, s, soci.Both, []string{"linux"}, true).all(t, push(image.Digest, "v1")); err != nil {
		t.Fatal(err)
	}
	return s, madeOf(t, s, images)
}

// A zTOC that is gone before the last step is built again there, and the result
// is the same, prefetch artifacts included.
func TestStepsOfVanishedZtocs(t *testing.T) {
	clean, want := cleanSteps(t)
	s := registrytest.Start(t)
	image, images := platformsImage(t, s)
	event, steps := push(image.Digest, "v1"), newStepperOf(t, s, soci.Both, []string{"linux"}, true)
	var plan planned
	if err := steps.do(t, &plan, StepPlan, event, nil); err != nil {
		t.Fatal(err)
	}
	if len(plan.Items) != 3 {
		t.Fatalf("%d layers of the chosen platforms, want 3", len(plan.Items))
	}
	results := make([]fanout.Result, len(plan.Items))
	for i, item := range plan.Items {
		// All but the first are pushed into another repository.
		if i > 0 {
			steps = newStepperOf(t, clean, soci.Both, []string{"linux"}, true)
		}
		if err := steps.do(t, &results[i], StepLayer, event, map[string]any{"layer": item}); err != nil {
			t.Fatal(err)
		}
	}
	var answer map[string]any
	steps = newStepperOf(t, s, soci.Both, []string{"linux"}, true)
	more := map[string]any{"items": plan.Items, "results": results}
	if err := steps.do(t, &answer, StepPublish, event, more); err != nil {
		t.Fatal(err)
	}
	if got := madeOf(t, s, images); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Step Functions may do the last step twice.
	if err := steps.do(t, &answer, StepPublish, event, more); err != nil {
		t.Fatal(err)
	}
	if got := madeOf(t, s, images); !maps.Equal(got, want) {
		t.Errorf("when it is done again there is %v, want %v", got, want)
	}
}

// Two executions for one image at the same time leave what one leaves.
func TestStepsAtOnce(t *testing.T) {
	_, want := cleanSteps(t)
	s := registrytest.Start(t)
	image, images := platformsImage(t, s)
	var both sync.WaitGroup
	for range 2 {
		steps := newStepperOf(t, s, soci.Both, []string{"linux"}, true)
		both.Go(func() {
			if answer, err := steps.all(t, push(image.Digest, "v1")); err != nil || answer["outcome"] != "indexed" {
				t.Errorf("%v %v", err, answer)
			}
		})
	}
	both.Wait()
	if got := madeOf(t, s, images); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A request of the last step that fails once is made again in a second attempt of
// that step, which leaves what one without faults leaves, prefetch artifacts
// included.
func TestPublishFaultsWithPrefetch(t *testing.T) {
	run := func(t *testing.T, s *registrytest.Server, fault func()) (map[string]string, int) {
		image, images := platformsImage(t, s)
		event, steps := push(image.Digest, "v1"), newStepperOf(t, s, soci.Both, []string{"linux"}, true)
		var plan planned
		if err := steps.do(t, &plan, StepPlan, event, nil); err != nil {
			t.Fatal(err)
		}
		results := make([]fanout.Result, len(plan.Items))
		for i, item := range plan.Items {
			if err := steps.do(t, &results[i], StepLayer, event, map[string]any{"layer": item}); err != nil {
				t.Fatal(err)
			}
		}
		s.Clear()
		fault()
		var answer map[string]any
		more := map[string]any{"items": plan.Items, "results": results}
		if err := steps.do(t, &answer, StepPublish, event, more); err != nil {
			if err := steps.do(t, &answer, StepPublish, event, more); err != nil {
				t.Errorf("the second attempt: %v", err)
			}
		}
		return madeOf(t, s, images), len(s.Requests())
	}
	clean := registrytest.Start(t)
	want, requests := run(t, clean, func() {})
	if len(want) != 3 || requests < 20 {
		t.Fatalf("%d requests make %v", requests, want)
	}
	for k := range requests {
		if testing.Short() && k%5 != 0 {
			continue
		}
		s := registrytest.Start(t)
		got, _ := run(t, s, func() {
			s.Add(registrytest.Rule{Skip: k, Times: 1,
				Fault: registrytest.Status(http.StatusForbidden, "DENIED", "why")})
		})
		if !maps.Equal(got, want) {
			t.Errorf("request %d fails, then there is %v, want %v", k+1, got, want)
		}
	}
}

package record

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const repository = "team/filter"

// world has a bucket and a repository with immutable tags.
type world struct {
	*awstest.Server
	s3       *awstest.S3
	ecr      *awstest.ECR
	registry *registrytest.Server
	bucket   *codebucket.Bucket
	managed  *companion.Managed
}

func immutable() registrytest.Rule {
	return registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.ImmutableTags(400, "TAG_INVALID")}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: awstest.Start(t), s3: awstest.NewS3(), registry: registrytest.Start(t)}
	w.registry.Add(immutable())
	w.ecr = awstest.NewECR(w.registry)
	w.Handle("s3", w.s3)
	w.Handle("ecr", w.ecr)
	w.s3.AddBucket("b", awstest.Region)
	w.s3.Set("b", "versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	w.s3.PageSize(2)
	cfg := w.RetryingConfig(3)
	var err error
	if w.bucket, err = codebucket.OpenOwn(t.Context(), cfg, "b", awstest.Account); err != nil {
		t.Fatal(err)
	}
	w.managed, err = companion.Open(cfg, w.ecr.Host()+"/"+repository, ecrclient.WithEndpoint(w.registry.URL()),
		ecrclient.WithRetry(ecrclient.RetryPolicy{MinWait: 1, MaxWait: 2}))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// stores returns every kind of store, each of its own world, for a stack.
func stores(t *testing.T) map[string]func(stack string) Store {
	a, b := newWorld(t), newWorld(t)
	return map[string]func(string) Store{
		"bucket":     func(stack string) Store { return InBucket(a.bucket, stack) },
		"repository": func(stack string) Store { return InRepository(b.managed.Registry(), b.managed, stack) },
	}
}

func list(t *testing.T, s Store) []*Record {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// texts tells records apart by their code.
func texts(all []*Record) string {
	var b []string
	for _, r := range all {
		text := strings.Split(r.Code["FilterFunction"].Key, "/")[1]
		if r.Succeeded {
			text = strings.ToUpper(text)
		}
		b = append(b, text)
	}
	return strings.Join(b, " ")
}

// The suite that every store passes.
func TestStores(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			s, other := open("s"), open("s-2")
			if all := list(t, s); len(all) > 0 {
				t.Fatalf("at first there are %+v", all)
			}
			for n, code := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				r := zipRecord(t, "s", n, code)
				for range 2 { // a lost reply
					if err := s.Write(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				if got := texts(list(t, s)); !strings.HasPrefix(got, code) {
					t.Fatalf("written are %s", got)
				}
				if code == "a" || code == "c" || code == "g" {
					for range 2 {
						if err := s.MarkSucceeded(t.Context(), r); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := other.Write(t.Context(), zipRecord(t, "s-2", 0, "z")); err != nil {
				t.Fatal(err)
			}
			if err := other.Write(t.Context(), zipRecord(t, "s", 0, "z")); !errors.Is(err, ErrInvalid) {
				t.Errorf("the error is %v, want ErrInvalid", err)
			}
			all := list(t, s)
			if got := texts(all); got != "h G f e d C b A" {
				t.Fatalf("the records are %s", got)
			}
			if !all[1].SameVersion(zipRecord(t, "s", 6, "g")) || all[1].Template != template {
				t.Errorf("the record is %+v", all[1])
			}
			kept, err := Prune(t.Context(), s, 5)
			if got := texts(kept); err != nil || got != "h G f e d C" {
				t.Errorf("kept are %s, %v", got, err)
			}
			if got := texts(list(t, s)); got != "h G f e d C" {
				t.Errorf("left are %s", got)
			}
			if err := s.Delete(t.Context(), all); err != nil {
				t.Error(err)
			}
			if err := s.Delete(t.Context(), all); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if got := texts(list(t, s)); got != "" {
				t.Errorf("left are %s", got)
			}
			if got := texts(list(t, other)); got != "z" {
				t.Errorf("the other stack has %s", got)
			}
		})
	}
}

func TestStacksInBucket(t *testing.T) {
	w := newWorld(t)
	for _, stack := range []string{"s", "s-2"} {
		for n := range 3 {
			if err := InBucket(w.bucket, stack).Write(t.Context(), zipRecord(t, stack, n, "a")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if stacks, err := StacksInBucket(t.Context(), w.bucket); err != nil || !slices.Equal(stacks, []string{"s", "s-2"}) {
		t.Errorf("the stacks are %q, %v", stacks, err)
	}
	for key := range w.s3.Objects("b") {
		if !strings.HasPrefix(key, "soci-index-builder/records/s") {
			t.Errorf("an object is %s", key)
		}
	}
}

// Nothing takes a record for an image, and the filter function never has it
// indexed, whatever the filters.
func TestRecordIsNoImage(t *testing.T) {
	w := newWorld(t)
	s := InRepository(w.managed.Registry(), w.managed, "s")
	r := zipRecord(t, "s", 0, "a")
	if err := errors.Join(s.Write(t.Context(), r), s.MarkSucceeded(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	tags, err := w.managed.Registry().Tags(t.Context())
	if err != nil || len(tags) != 2 {
		t.Fatalf("the tags are %q, %v", tags, err)
	}
	parsed, err := filters.Parse("*:*")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		desc, err := w.managed.Registry().Resolve(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := w.managed.Registry().FetchManifest(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		info, err := soci.Classify(desc.MediaType, manifest)
		if err != nil || info.Kind != soci.KindArtifact || info.ArtifactType != ArtifactType {
			t.Errorf("it is %+v, %v", info, err)
		}
	}
	images, err := w.managed.Images(t.Context())
	if err != nil || len(images) != 2 {
		t.Fatalf("the images are %+v, %v", images, err)
	}
	for _, i := range images {
		if i.Kind != companion.RecordImage || len(i.Tags) == 0 {
			t.Errorf("ECR has %+v", i)
		}
	}
	verdict := filters.Rules{Filters: parsed, Untagged: true}.Decide(
		filters.Image{Repository: repository, Tag: tags[0], ArtifactType: ArtifactType})
	if verdict.Decision != filters.OwnArtifact {
		t.Errorf("the filter decides %+v", verdict)
	}
}

func TestOwnRepositoryLosesNothing(t *testing.T) {
	w := newWorld(t)
	s := InRepository(w.managed.Registry(), nil, "s")
	for n := range 7 {
		if err := s.Write(t.Context(), zipRecord(t, "s", n, "a")); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := Prune(t.Context(), s, 5); err != nil || len(kept) != 5 {
		t.Errorf("kept are %d, %v", len(kept), err)
	}
	if n := len(list(t, s)); n != 7 {
		t.Errorf("%d are left, want all 7", n)
	}
}

func TestDamagedInBucket(t *testing.T) {
	w := newWorld(t)
	s := InBucket(w.bucket, "s")
	r := zipRecord(t, "s", 0, "a")
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	key := "soci-index-builder/records/s/" + r.ID + ".json"
	good := w.s3.Objects("b")[key]
	for name, tt := range map[string]struct {
		content string
		want    error
	}{
		"cut short": {string(good[:len(good)/2]), ErrCorrupt},
		"huge":      {strings.Repeat(" ", maxSize+1), ErrCorrupt},
		"later":     {`{"format":7}`, ErrUnsupported},
	} {
		w.s3.Put("b", key, []byte(tt.content))
		if _, err := s.List(t.Context()); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
		}
		if _, err := Prune(t.Context(), s, 5); !errors.Is(err, tt.want) {
			t.Errorf("%s: Prune goes on: %v", name, err)
		}
	}
	// Other names are somebody else's, and a mark alone is no record.
	w.s3.Put("b", key, good)
	w.s3.Put("b", "soci-index-builder/records/s/README", []byte("x"))
	w.s3.Put("b", "soci-index-builder/records/s/20261128t110000z-0000000f.succeeded", []byte("{}"))
	if n := len(list(t, s)); n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestDamagedInRepository(t *testing.T) {
	id := zipRecord(t, "s", 0, "a").ID
	tag := tagPrefix("s") + id + recordEnd
	content, err := zipRecord(t, "s", 0, "a").encode()
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(artifactType string, layers ...ocispec.Descriptor) string {
		config := describe([]byte(emptyConfig))
		config.MediaType = artifactType
		return string(mustJSON(t,
			ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
				Config: config, Layers: layers}))
	}
	layer, huge := describe(content), describe(content)
	huge.Size = maxSize + 1
	another := describe([]byte(`{"format":1,"id":"x"}`))
	for name, text := range map[string]string{
		"another type": manifest("application/vnd.example+json", layer),
		"no layer":     manifest(ArtifactType),
		"two layers":   manifest(ArtifactType, layer, layer),
		"huge":         manifest(ArtifactType, huge),
		"no record":    manifest(ArtifactType, another),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.registry.PushBlob(t, repository, []byte(emptyConfig))
			w.registry.PushBlob(t, repository, content)
			w.registry.PushBlob(t, repository, []byte(`{"format":1,"id":"x"}`))
			w.registry.PushManifest(t, repository, tag, ocispec.MediaTypeImageManifest, []byte(text))
			_, err := InRepository(w.managed.Registry(), nil, "s").List(t.Context())
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tag) {
				t.Errorf("the error is %v, want ErrCorrupt", err)
			}
		})
	}
	t.Run("an image under the tag", func(t *testing.T) {
		w := newWorld(t)
		w.registry.PushImage(t, repository, tag, registrytest.Image{})
		if _, err := InRepository(w.managed.Registry(), nil, "s").List(t.Context()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("the error is %v, want ErrCorrupt", err)
		}
	})
	t.Run("other bytes arrive", func(t *testing.T) {
		w := newWorld(t)
		s := InRepository(w.managed.Registry(), nil, "s")
		if err := s.Write(t.Context(), zipRecord(t, "s", 0, "a")); err != nil {
			t.Fatal(err)
		}
		w.registry.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: registrytest.Corrupt(5)})
		if _, err := s.List(t.Context()); err == nil {
			t.Error("a record with another digest was read")
		}
	})
}

// Passing faults are retried; lasting ones are errors of their class.
func TestStoreFaults(t *testing.T) {
	ctx := context.Background()
	work := func(s Store) error {
		r := zipRecord(t, "s", 0, "a")
		if err := errors.Join(s.Write(ctx, r), s.MarkSucceeded(ctx, r)); err != nil {
			return err
		}
		all, err := s.List(ctx)
		if err != nil {
			return err
		}
		if texts(all) != "A" {
			t.Errorf("the records are %s", texts(all))
		}
		return s.Delete(ctx, all)
	}
	slow := &awstest.Error{Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."}
	for _, operation := range []string{"PutObject", "ListObjectsV2", "GetObject", "ListObjectVersions",
		"DeleteObjects"} {
		w := newWorld(t)
		w.s3.Fail(operation, 1, slow)
		w.s3.Lose(operation, 1)
		if err := work(InBucket(w.bucket, "s")); err != nil {
			t.Errorf("%s: %v", operation, err)
		}
		w.s3.Fail(operation, 1000, slow)
		if err := work(InBucket(w.bucket, "s")); !errors.Is(err, awserror.ErrThrottled) {
			t.Errorf("%s: the error is %v, want ErrThrottled", operation, err)
		}
	}
	for _, rule := range []registrytest.Rule{
		{Method: http.MethodHead, Path: "/manifests/"}, {Method: http.MethodPost},
		{Method: http.MethodPut, Path: "/blobs/"},
		{Method: http.MethodPut, Path: "/manifests/"}, {Method: http.MethodGet, Path: "/tags/"},
		{Method: http.MethodGet, Path: "/manifests/"}, {Method: http.MethodGet, Path: "/blobs/"},
	} {
		w := newWorld(t)
		w.registry.Clear()
		rule.Fault, rule.Times = registrytest.Status(429, "TOOMANYREQUESTS", ""), 2
		w.registry.Add(rule, immutable())
		if err := work(InRepository(w.managed.Registry(), w.managed, "s")); err != nil {
			t.Errorf("%s %s: %v", rule.Method, rule.Path, err)
		}
		rule.Times = 0
		w = newWorld(t)
		w.registry.Clear()
		w.registry.Add(rule)
		if err := work(InRepository(w.managed.Registry(), w.managed, "s")); !errors.Is(err, ecrclient.ErrThrottled) {
			t.Errorf("%s %s: the error is %v, want ErrThrottled", rule.Method, rule.Path, err)
		}
	}
}

func mustJSON(t *testing.T, m ocispec.Manifest) []byte {
	t.Helper()
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

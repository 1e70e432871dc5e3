package companion

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// account has one managed repository.
type account struct {
	*awstest.Server
	registry *registrytest.Server
	ecr      *awstest.ECR
	uri      string
	name     string
	managed  *Managed
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{Server: awstest.Start(t), registry: registrytest.Start(t),
		name: RepositoryName("s", "FilterFunction")}
	a.ecr = awstest.NewECR(a.registry)
	a.Handle("ecr", a.ecr)
	a.uri = a.ecr.Host() + "/" + a.name
	var err error
	a.managed, err = Open(a.Config(), a.uri, ecrclient.WithEndpoint(a.registry.URL()),
		ecrclient.WithRetry(ecrclient.RetryPolicy{MinWait: 1, MaxWait: 2}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// push makes an image of a function, for a repository, and pushes it here.
func (a *account) push(t *testing.T, uri, text string) *lambdaimage.Image {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("bootstrap")
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	i, err := lambdaimage.New("arm64", uri, b.Bytes())
	if err == nil {
		_, _, err = i.Push(t.Context(), a.managed.Registry())
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (a *account) pushRecord(t *testing.T) digest.Digest {
	t.Helper()
	config := a.registry.PushBlob(t, a.name, []byte("{}"))
	return a.registry.PushManifest(t, a.name, "deploy.1", ocispec.MediaTypeImageManifest, fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"artifactType":%[2]q,`+
			`"config":{"mediaType":%[2]q,"digest":%q,"size":2},"layers":[]}`,
		ocispec.MediaTypeImageManifest, filters.DeploymentRecord, config.Digest)).Digest
}

func TestImages(t *testing.T) {
	a := newAccount(t)
	if all, err := a.managed.Images(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("a repository that is not there has %v, %v", all, err)
	}
	long := time.Now().Add(-24 * time.Hour)
	old, kept, fresh := a.push(t, a.uri, "old"), a.push(t, a.uri, "kept"), a.push(t, a.uri, "fresh")
	for _, i := range []*lambdaimage.Image{old, kept} {
		a.ecr.PushedAt(a.name, i.Descriptor.Digest, long)
	}
	record := a.pushRecord(t)
	a.ecr.PushedAt(a.name, record, long)
	all, err := a.managed.Images(t.Context())
	kinds := map[digest.Digest]Kind{}
	for _, i := range all {
		kinds[i.Digest] = i.Kind
	}
	if err != nil || len(all) != 4 {
		t.Fatalf("the images are %+v, %v", all, err)
	}
	if kinds[record] != RecordImage || kinds[old.Descriptor.Digest] != FunctionImage ||
		all[0].Digest != fresh.Descriptor.Digest {
		t.Errorf("the images are %+v, %v", all, err)
	}
	if err := a.managed.CheckForeign(t.Context()); err != nil {
		t.Error(err)
	}

	// Foreign ones: without the label, with that of another repository, and what
	// is no image.
	foreign := []digest.Digest{
		a.registry.PushImage(t, a.name, "theirs", registrytest.Image{}).Manifest.Digest,
		a.push(t, a.uri+"2", "old").Descriptor.Digest,
	}
	foreign = append(foreign, a.registry.PushIndex(t, a.name, "index", false, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: foreign[0], Size: 1}).Digest)
	for _, d := range foreign {
		a.ecr.PushedAt(a.name, d, long)
	}
	if err := a.managed.CheckForeign(t.Context()); !errors.Is(err, ErrForeignImages) ||
		!strings.Contains(err.Error(), ": 3, such as") {
		t.Errorf("the error is %v, want ErrForeignImages", err)
	}

	before := time.Now().Add(-time.Hour)
	keep := []string{kept.URI(a.uri), old.URI(a.uri + "2")}
	want := []digest.Digest{old.Descriptor.Digest}
	for _, dryRun := range []bool{true, false, false} {
		gone, err := a.managed.Prune(t.Context(), keep, before, dryRun)
		if err != nil || !slices.Equal(gone, want) {
			t.Errorf("dry run %t: gone are %v, %v, want %v", dryRun, gone, err, want)
		}
		if !dryRun {
			want = nil
		}
	}
	if all, err := a.managed.Images(t.Context()); err != nil || len(all) != 6 {
		t.Errorf("left are %+v, %v", all, err)
	}
}

func TestImagesFail(t *testing.T) {
	a := newAccount(t)
	i := a.push(t, a.uri, "old")
	d := i.Descriptor.Digest
	a.Fail("ecr", "DescribeImages", 1, awstest.Throttled)
	if _, err := a.managed.Images(t.Context()); !errors.Is(err, awserror.ErrThrottled) {
		t.Errorf("the error is %v, want ErrThrottled", err)
	}
	a.Fail("ecr", "BatchDeleteImage", 1, &awstest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"})
	if err := a.managed.Delete(t.Context(), d); !errors.Is(err, awserror.ErrDenied) ||
		!strings.Contains(err.Error(), "ecr:BatchDeleteImage") {
		t.Errorf("the error is %v, want ErrDenied", err)
	}
	a.ecr.Undeletable(a.name, d, "KmsError", "the key is gone")
	if err := a.managed.Delete(t.Context(), d); err == nil || !strings.Contains(err.Error(), d.String()+": KmsError") {
		t.Errorf("the error is %v", err)
	}
	a.ecr.Undeletable(a.name, d, "", "")
	for range 2 {
		if err := a.managed.Delete(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	other, err := Open(a.Config(), a.uri+"2", ecrclient.WithEndpoint(a.registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(t.Context(), d); err != nil {
		t.Errorf("a repository that is gone: %v", err)
	}
	// An image that the registry does not show is an error, not a foreign image.
	a.push(t, a.uri, "new")
	a.registry.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
		Fault: registrytest.Status(403, "DENIED", "no")})
	if err := a.managed.CheckForeign(t.Context()); !errors.Is(err, ecrclient.ErrDenied) {
		t.Errorf("the error is %v, want ErrDenied", err)
	}
	if _, err := Open(a.Config(), "nothing"); !errors.Is(err, ecrclient.ErrInvalidReference) {
		t.Errorf("the error is %v, want ErrInvalidReference", err)
	}
}

func TestCheck(t *testing.T) {
	a := newAccount(t)
	if left, err := Check(t.Context(), a.Config(), a.name, "other"); err != nil || len(left) > 0 {
		t.Errorf("left over are %q, %v", left, err)
	}
	a.ecr.Repository("other", awstest.Repository{Tags: map[string]string{ours.TagKey: ours.TagValue}})
	if left, err := Check(t.Context(), a.Config(), a.name, "other"); err != nil ||
		!slices.Equal(left, []string{"other"}) {
		t.Errorf("left over are %q, %v", left, err)
	}
	a.ecr.Repository(a.name, awstest.Repository{Tags: map[string]string{ours.TagKey: "AwsSamCli"}})
	if _, err := Check(t.Context(), a.Config(), a.name); !errors.Is(err, ours.ErrForeign) ||
		!strings.Contains(err.Error(), a.name) {
		t.Errorf("the error is %v, want ErrForeign", err)
	}
	for _, operation := range []string{"DescribeRepositories", "ListTagsForResource"} {
		a.Fail("ecr", operation, 1, awstest.Throttled)
		if _, err := Check(t.Context(), a.Config(), "other"); !errors.Is(err, awserror.ErrThrottled) {
			t.Errorf("the error is %v, want ErrThrottled", err)
		}
	}
}

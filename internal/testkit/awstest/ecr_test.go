package awstest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/internal/testkit/registrytest"
)

const sociV1 = "application/vnd.amazon.soci.index.v1+json"

// account is ECR with an image of two platforms, a SOCI index of the first,
// and an image of two tags.
type account struct {
	*awstest.ECR
	api              *ecr.Client
	registry         *registrytest.Server
	amd, arm, single registrytest.Pushed
	index, sociIndex digest.Digest
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{registry: registrytest.Start(t)}
	a.ECR = awstest.NewECR(a.registry)
	server := awstest.Start(t)
	server.Handle("ecr", a.ECR)
	a.api = ecr.NewFromConfig(server.Config())
	layers := []registrytest.Layer{{Content: []byte("layer")}}
	a.amd = a.registry.PushImage(t, "team/app", "", registrytest.Image{Layers: layers})
	a.arm = a.registry.PushImage(t, "team/app", "", registrytest.Image{Layers: layers, Platform: "linux/arm64"})
	a.index = a.registry.PushIndex(t, "team/app", "multi", false, a.amd.Manifest, a.arm.Manifest).Digest
	a.single = a.registry.PushImage(t, "team/app", "one", registrytest.Image{Platform: "linux/386"})
	a.registry.PushManifest(t, "team/app", "two", a.single.Manifest.MediaType, a.single.Bytes)
	a.sociIndex = a.registry.PushReferrer(t, "team/app", a.amd.Manifest, sociV1, []byte("zTOC")).Digest
	return a
}

func (a *account) describe(t *testing.T, in *ecr.DescribeImagesInput) map[digest.Digest]types.ImageDetail {
	t.Helper()
	if in.RepositoryName == nil {
		in.RepositoryName = aws.String("team/app")
	}
	found := map[digest.Digest]types.ImageDetail{}
	pages := ecr.NewDescribeImagesPaginator(a.api, in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range out.ImageDetails {
			if _, twice := found[digest.Digest(*d.ImageDigest)]; twice {
				t.Errorf("%s is listed twice", *d.ImageDigest)
			}
			found[digest.Digest(*d.ImageDigest)] = d
		}
	}
	return found
}

func TestECRDescribeImages(t *testing.T) {
	a := newAccount(t)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	a.PushedAt("team/app", a.single.Manifest.Digest, at)
	all := a.describe(t, &ecr.DescribeImagesInput{})
	if len(all) != 5 {
		t.Fatalf("%d images, want 5: %v", len(all), all)
	}
	single := all[a.single.Manifest.Digest]
	expect.Equal(t, expect.Facts{
		{"ImageTags", single.ImageTags, []string{"one", "two"}},
		{"single.ImagePushedAt.Equal(at)", single.ImagePushedAt.Equal(at), true},
		{"ArtifactMediaType", *single.ArtifactMediaType, "application/vnd.oci.image.config.v1+json"},
		{"ImageSizeInBytes", *single.ImageSizeInBytes, a.single.Config.Size},
	}, "described as %+v", single)
	soci := all[a.sociIndex]
	if *soci.ArtifactMediaType != sociV1 || *soci.SubjectManifestDigest != a.amd.Manifest.Digest.String() ||
		soci.ImageTags != nil {
		t.Errorf("SOCI index described as %+v", soci)
	}
	if d := all[a.index]; d.ArtifactMediaType != nil ||
		*d.ImageManifestMediaType != "application/vnd.oci.image.index.v1+json" ||
		*d.ImageSizeInBytes != max(a.amd.Config.Size, a.arm.Config.Size)+int64(len("layer")) {
		t.Errorf("image index described as %+v", d)
	}
	if n := len(a.describe(t,
		&ecr.DescribeImagesInput{Filter: &types.DescribeImagesFilter{TagStatus: types.TagStatusTagged}})); n != 2 {
		t.Errorf("%d tagged, want 2", n)
	}
	byTag := a.describe(t, &ecr.DescribeImagesInput{ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("two")}}})
	if _, ok := byTag[a.single.Manifest.Digest]; len(byTag) != 1 || !ok {
		t.Errorf("by tag: %v", byTag)
	}
	_, err := a.api.DescribeImages(t.Context(), &ecr.DescribeImagesInput{
		RepositoryName: aws.String("team/app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("three")}}})
	if _, ok := errors.AsType[*types.ImageNotFoundException](err); !ok {
		t.Errorf("a tag that is not there: %v", err)
	}
	_, err = a.api.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/none")})
	if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); !ok {
		t.Errorf("a repository that is not there: %v", err)
	}
}

func TestECRPages(t *testing.T) {
	a := newAccount(t)
	for i := range 2500 {
		a.Images("many", awstest.Image{Tags: []string{fmt.Sprint("v", i)}, Size: 7, Archived: i%500 == 0})
	}
	if n := len(a.describe(t,
		&ecr.DescribeImagesInput{RepositoryName: aws.String("many"), MaxResults: aws.Int32(1000)})); n != 2495 {
		t.Errorf("%d images, want 2495 and no archived one", n)
	}
	archived := &ecr.DescribeImagesInput{RepositoryName: aws.String("many"),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterArchived}}
	if n := len(a.describe(t, archived)); n != 5 {
		t.Errorf("%d archived images, want 5", n)
	}
	for _, in := range []ecr.DescribeImagesInput{
		{MaxResults: aws.Int32(1001)},
		{NextToken: aws.String("made up")},
	} {
		in.RepositoryName = aws.String("many")
		_, err := a.api.DescribeImages(t.Context(), &in)
		if _, ok := errors.AsType[*types.InvalidParameterException](err); !ok {
			t.Errorf("%+v: %v", in, err)
		}
	}
	out, err := a.api.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1)})
	if err != nil || len(out.Repositories) != 1 || *out.Repositories[0].RepositoryName != "many" {
		t.Fatalf("%+v, %v, want many", out, err)
	}
	if out.NextToken == nil {
		t.Fatalf("the page of many has the token %v for a next one", out.NextToken)
	}
	out, err = a.api.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{NextToken: out.NextToken})
	if err != nil || len(out.Repositories) != 1 || *out.Repositories[0].RepositoryName != "team/app" {
		t.Fatalf("%+v, %v, want team/app", out, err)
	}
	if out.NextToken != nil {
		t.Fatalf("the page of team/app has the token %v for a next one", out.NextToken)
	}
}

func TestECRBatchGetImage(t *testing.T) {
	a := newAccount(t)
	out, err := a.api.BatchGetImage(t.Context(),
		&ecr.BatchGetImageInput{RepositoryName: aws.String("team/app"), ImageIds: []types.ImageIdentifier{
			{ImageDigest: aws.String(a.single.Manifest.Digest.String())},
			{ImageTag: aws.String("multi")},
			{ImageTag: aws.String("gone")},
			{},
		}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Images) != 2 || *out.Images[0].ImageManifest != string(a.single.Bytes) ||
		*out.Images[1].ImageId.ImageDigest != a.index.String() {
		t.Errorf("images %+v", out.Images)
	}
	if len(out.Failures) != 2 || out.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound ||
		out.Failures[1].FailureCode != types.ImageFailureCodeMissingDigestAndTag {
		t.Errorf("failures %+v", out.Failures)
	}
}

func TestECRBatchDeleteImage(t *testing.T) {
	byDigest := func(d digest.Digest) types.ImageIdentifier {
		return types.ImageIdentifier{ImageDigest: aws.String(d.String())}
	}
	byTag := func(tag string) types.ImageIdentifier { return types.ImageIdentifier{ImageTag: aws.String(tag)} }
	tests := []struct {
		name    string
		ids     func(*account) []types.ImageIdentifier
		deleted int // entries of imageIds
		failed  []types.ImageFailureCode
		left    int
	}{
		{"one of two tags", func(*account) []types.ImageIdentifier { return []types.ImageIdentifier{byTag("one")} },
			1, nil,
			5},
		{"both tags", func(*account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byTag("one"),
				byTag("two")}
		},
			2, nil, 4},
		{"by digest, with its tags", func(a *account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byDigest(a.single.Manifest.Digest)}
		}, 2, nil, 4},
		{"listed by an image index", func(a *account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byDigest(a.arm.Manifest.Digest)}
		}, 0, []types.ImageFailureCode{types.ImageFailureCodeImageReferencedByManifestList}, 5},
		{"with its image index", func(a *account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byDigest(a.index), byDigest(a.arm.Manifest.Digest)}
		}, 1, []types.ImageFailureCode{types.ImageFailureCodeImageReferencedByManifestList}, 4},
		{"a referrer", func(
			a *account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byDigest(a.sociIndex)}
		},
			1, nil, 4},
		{"not there", func(*account) []types.ImageIdentifier {
			return []types.ImageIdentifier{byTag("none"), byDigest(digest.FromString("none")), byTag("one")}
		}, 1, []types.ImageFailureCode{types.ImageFailureCodeImageNotFound, types.ImageFailureCodeImageNotFound}, 5},
		{"refused", func(a *account) []types.ImageIdentifier {
			a.Undeletable("team/app", a.sociIndex, "KmsError", "the key is gone")
			return []types.ImageIdentifier{byDigest(a.sociIndex)}
		}, 0, []types.ImageFailureCode{types.ImageFailureCodeKmsError}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			out, err := a.api.BatchDeleteImage(t.Context(),
				&ecr.BatchDeleteImageInput{RepositoryName: aws.String("team/app"), ImageIds: tt.ids(a)})
			if err != nil {
				t.Fatal(err)
			}
			var codes []types.ImageFailureCode
			for _, f := range out.Failures {
				codes = append(codes, f.FailureCode)
			}
			if len(out.ImageIds) != tt.deleted || !slices.Equal(codes, tt.failed) {
				t.Errorf("deleted %d, failed %v, want %d, %v", len(out.ImageIds), codes, tt.deleted, tt.failed)
			}
			if left := len(a.describe(t, &ecr.DescribeImagesInput{})); left != tt.left {
				t.Errorf("%d images left, want %d", left, tt.left)
			}
		})
	}
	t.Run("too many", func(t *testing.T) {
		a := newAccount(t)
		_, err := a.api.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("team/app"),
			ImageIds: make([]types.ImageIdentifier, 101)})
		if _, ok := errors.AsType[*types.InvalidParameterException](err); !ok {
			t.Errorf("101 images: %v", err)
		}
	})
	t.Run("without content", func(t *testing.T) {
		a := newAccount(t)
		a.Images("many", awstest.Image{Tags: []string{"a", "b"}}, awstest.Image{Tags: []string{"c"}})
		_, err := a.api.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("many"),
			ImageIds: []types.ImageIdentifier{byTag("a"), byTag("c")}})
		if err != nil {
			t.Fatal(err)
		}
		left := a.describe(t, &ecr.DescribeImagesInput{RepositoryName: aws.String("many")})
		if len(left) != 1 {
			t.Fatalf("left %v", left)
		}
		for _, d := range left {
			if !slices.Equal(d.ImageTags, []string{"b"}) {
				t.Errorf("tags %v", d.ImageTags)
			}
		}
	})
}

func TestECRListImageReferrers(t *testing.T) {
	a := newAccount(t)
	for i := range 30 {
		a.registry.PushReferrer(t, "team/app", a.amd.Manifest, "application/vnd.example.signature", fmt.Append(nil, i))
	}
	in := &ecr.ListImageReferrersInput{RepositoryName: aws.String("team/app"),
		SubjectId: &types.SubjectIdentifier{ImageDigest: aws.String(a.amd.Manifest.Digest.String())}}
	n := 0
	for {
		out, err := a.api.ListImageReferrers(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		n += len(out.Referrers)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if n != 31 {
		t.Errorf("%d referrers, want 31", n)
	}
	in.Filter = &types.ListImageReferrersFilter{ArtifactTypes: []string{sociV1}}
	out, err := a.api.ListImageReferrers(t.Context(), in)
	if err != nil || len(out.Referrers) != 1 || *out.Referrers[0].Digest != a.sociIndex.String() {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestECRRepositorySettings(t *testing.T) {
	a := newAccount(t)
	a.Repository("locked", awstest.Repository{
		Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"*-soci"},
		KMSKey: "arn:aws:kms:eu-west-1:123456789012:key/1", Policy: `{"a":1}`, LifecyclePolicy: `{"rules":[]}`,
	})
	out, err := a.api.DescribeRepositories(t.Context(),
		&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"locked"}})
	if err != nil {
		t.Fatal(err)
	}
	r := out.Repositories[0]
	expect.Equal(t, expect.Facts{
		{"ImageTagMutability", r.ImageTagMutability, types.ImageTagMutabilityImmutableWithExclusion},
		{"ImageTagMutabilityExclusionFilters[0].Filter", *r.ImageTagMutabilityExclusionFilters[0].Filter, "*-soci"},
		{"EncryptionConfiguration.EncryptionType", r.EncryptionConfiguration.EncryptionType, types.EncryptionTypeKms},
		{`strings.HasSuffix(*r.RepositoryArn, ":repository/locked")`,
			strings.HasSuffix(*r.RepositoryArn, ":repository/locked"), true},
	}, "described as %+v", r)
	if p, err := a.api.GetRepositoryPolicy(t.Context(),
		&ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("locked")}); err != nil || *p.PolicyText != `{"a":1}` {
		t.Errorf("policy %+v, %v", p, err)
	}
	if p, err := a.api.GetLifecyclePolicy(t.Context(),
		&ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("locked")}); err != nil ||
		*p.LifecyclePolicyText != `{"rules":[]}` {
		t.Errorf("lifecycle policy %+v, %v", p, err)
	}
	_, err = a.api.GetRepositoryPolicy(t.Context(),
		&ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("team/app")})
	if _, ok := errors.AsType[*types.RepositoryPolicyNotFoundException](err); !ok {
		t.Errorf("no policy: %v", err)
	}
	_, err = a.api.GetLifecyclePolicy(t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("team/app")})
	if _, ok := errors.AsType[*types.LifecyclePolicyNotFoundException](err); !ok {
		t.Errorf("no lifecycle policy: %v", err)
	}
	a.Setting("BLOB_MOUNTING", "ENABLED")
	if s, err := a.api.GetAccountSetting(t.Context(),
		&ecr.GetAccountSettingInput{Name: aws.String("BLOB_MOUNTING")}); err != nil || *s.Value != "ENABLED" {
		t.Errorf("setting %+v, %v", s, err)
	}
	a.ExcludePullTime("arn:aws:iam::123456789012:role/builder")
	if l, err := a.api.ListPullTimeUpdateExclusions(t.Context(),
		&ecr.ListPullTimeUpdateExclusionsInput{}); err != nil ||
		len(l.PullTimeUpdateExclusions) != 1 {
		t.Errorf("exclusions %+v, %v", l, err)
	}
	if token, err := a.api.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{}); err != nil ||
		*token.AuthorizationData[0].AuthorizationToken != a.Token() {
		t.Errorf("token %+v, %v", token, err)
	}
}

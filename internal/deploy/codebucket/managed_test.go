package codebucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/testkit/awstest"
)

const (
	regionalName = "soci-index-builder-123456789012-eu-west-1-an"
	randomOne    = "soci-index-builder-000000000001"
)

// world is an account whose S3 has no bucket at first.
type world struct {
	*awstest.Server
	s3     *awstest.S3
	slept  int
	random int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: awstest.Start(t), s3: awstest.NewS3()}
	w.Handle("s3", w.s3)
	return w
}

func (w *world) managed(cfg aws.Config) *Managed {
	return NewManaged(cfg, ManagedOptions{Account: awstest.Account, Partition: "aws",
		Random: func() string { w.random++; return fmt.Sprintf("%012x", w.random) },
		Sleep:  func(context.Context, time.Duration) error { w.slept++; return nil },
	})
}

func look(t *testing.T, m *Managed, known string) *Plan {
	t.Helper()
	p, err := m.Look(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ensure(t *testing.T, m *Managed, p *Plan) *Bucket {
	t.Helper()
	b, err := m.Ensure(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// isRight checks what S3 holds of the settings.
func (w *world) isRight(t *testing.T, name string) {
	t.Helper()
	for parameter, want := range map[string][]string{
		"tagging":    {"<Key>ManagedStackSource</Key>", "<Value>SociIndexBuilder</Value>"},
		"versioning": {"<Status>Enabled</Status>"},
		"encryption": {"AES256"},
		"publicAccessBlock": {"<BlockPublicAcls>true<", "<BlockPublicPolicy>true<", "<IgnorePublicAcls>true<",
			"<RestrictPublicBuckets>true<"},
		"policy":    {`"Effect":"Deny"`, `"aws:SecureTransport":"false"`, `arn:aws:s3:::` + name + `/*`},
		"lifecycle": {"<AbortIncompleteMultipartUpload><DaysAfterInitiation>1<"},
	} {
		got := w.s3.Setting(name, parameter)
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("%s of %s is %q, without %s", parameter, name, got, text)
			}
		}
	}
	if lifecycle := w.s3.Setting(name, "lifecycle"); strings.Contains(lifecycle, "xpiration>") {
		t.Errorf("objects expire: %s", lifecycle)
	}
}

func TestManagedBucketIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	m := w.managed(w.Config())
	p := look(t, m, "")
	want := []string{"make the bucket", "block public access", "refuse requests without TLS", "encrypt its objects",
		"keep versions", "let incomplete uploads, and nothing else, expire"}
	if p.Name != regionalName || p.Exists || !slices.Equal(p.Changes, want) {
		t.Errorf("the plan is %+v", p)
	}
	for _, operation := range w.s3.Operations() {
		if strings.HasPrefix(operation, "Put") || strings.HasPrefix(operation, "Create") {
			t.Errorf("Look writes: %s", operation)
		}
	}
	b := ensure(t, m, p)
	if b.Name != regionalName || b.Prefix() != "" {
		t.Errorf("the bucket is %s with the prefix %q", b.Name, b.Prefix())
	}
	w.isRight(t, regionalName)
	if opened, err := m.Open(t.Context(), regionalName); err != nil || opened.Name != b.Name {
		t.Errorf("Open: %v, %v", opened, err)
	}
	if _, err := m.Open(t.Context(), randomOne); !errors.Is(err, ErrNoBucket) {
		t.Errorf("the error is %v, want ErrNoBucket", err)
	}

	// A second deploy finds it, and has nothing to put right.
	if p = look(t, m, ""); !p.Exists || len(p.Changes) > 0 || p.Name != regionalName {
		t.Errorf("the second plan is %+v", p)
	}
	writes := w.s3.Count("PutBucketPolicy")
	ensure(t, m, p)
	if n := w.s3.Count("PutBucketPolicy"); n != writes {
		t.Error("settings that are right were written again")
	}
	for _, operation := range w.s3.Unchecked() {
		if operation != "CreateBucket" && operation != "ListBuckets" {
			t.Errorf("%s did not say who must own the bucket", operation)
		}
	}
}

func TestManagedSettingsArePutRight(t *testing.T) {
	for parameter, wrong := range map[string]string{
		"publicAccessBlock": `<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>` +
			`</PublicAccessBlockConfiguration>`,
		"policy":     `{"Version":"2012-10-17","Statement":[]}`,
		"encryption": "",
		"versioning": `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`,
		"lifecycle": `<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix></Prefix></Filter><Expiration>` +
			`<Days>7</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>` +
			`</AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`,
	} {
		t.Run(parameter, func(t *testing.T) {
			w := newWorld(t)
			m := w.managed(w.Config())
			ensure(t, m, look(t, m, ""))
			w.s3.Set(regionalName, parameter, wrong)
			p := look(t, m, "")
			if len(p.Changes) != 1 || !p.Exists {
				t.Errorf("the plan is %+v, want one change", p)
			}
			ensure(t, m, p)
			w.isRight(t, regionalName)
			if p := look(t, m, ""); len(p.Changes) != 0 {
				t.Errorf("then the plan is %+v", p)
			}
		})
	}
}

// A key of the account's own encrypts too, and other tags are somebody's.
func TestManagedSettingsOfOthersStay(t *testing.T) {
	w := newWorld(t)
	m := w.managed(w.Config())
	ensure(t, m, look(t, m, ""))
	kms := `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>` +
		`<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	w.s3.Set(regionalName, "encryption", kms)
	w.s3.Tag(regionalName, map[string]string{ours.TagKey: ours.TagValue, "cost": "center"})
	ensure(t, m, look(t, m, ""))
	if got := w.s3.Setting(regionalName, "encryption"); got != kms {
		t.Errorf("the encryption is %s", got)
	}
	if got := w.s3.Setting(regionalName, "tagging"); !strings.Contains(got, "center") {
		t.Errorf("the tags are %s", got)
	}
}

func TestManagedForeign(t *testing.T) {
	w := newWorld(t)
	m := w.managed(w.Config())
	p := look(t, m, "")
	w.s3.AddBucket(regionalName, awstest.Region)
	w.s3.Put(regionalName, "code/theirs", nil)
	refused := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "--bucket") {
			t.Errorf("the error is %v, want ErrForeign", err)
		}
	}
	_, err := m.Look(t.Context(), "")
	refused(regionalName, err)
	_, err = m.Ensure(t.Context(), p) // it came up since
	refused(regionalName, err)
	_, err = m.Open(t.Context(), regionalName)
	refused(regionalName, err)
	refused(regionalName, m.Delete(t.Context(), regionalName, true))
	w.s3.AddBucket(randomOne, awstest.Region)
	_, err = m.Look(t.Context(), randomOne)
	refused(randomOne, err)
	for _, operation := range w.s3.Operations() {
		if strings.HasPrefix(operation, "Put") || strings.HasPrefix(operation, "Delete") {
			t.Errorf("a foreign bucket is written to: %s", operation)
		}
	}
}

func TestManagedOfAnotherAccount(t *testing.T) {
	w := newWorld(t)
	m := w.managed(w.Config())
	w.s3.AddBucket(randomOne, awstest.Region)
	w.s3.Tag(randomOne, map[string]string{ours.TagKey: ours.TagValue})
	w.s3.Own(randomOne, "999999999999", true) // everybody may write to it: a trap
	if _, err := m.Look(t.Context(), randomOne); !errors.Is(err, ErrOwner) {
		t.Errorf("the error is %v, want ErrOwner", err)
	}
}

func TestManagedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.s3.AddBucket(randomOne, "us-west-2")
	w.s3.Tag(randomOne, map[string]string{ours.TagKey: ours.TagValue})
	if _, err := w.managed(w.Config()).Look(t.Context(), randomOne); !errors.Is(err, ErrWrongRegion) {
		t.Errorf("the error is %v, want ErrWrongRegion", err)
	}
	// By tag it isn't found, since it is of another region.
	if p := look(t, w.managed(w.Config()), ""); p.Exists {
		t.Errorf("the plan is %+v", p)
	}
}

// Regions without the namespace get a random name, which later deploys find by
// the stack's parameter or by the tag.
func TestManagedRandomName(t *testing.T) {
	for name, region := range map[string]string{"known to lack it": "me-south-1", "says so": awstest.Region} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.s3.NoAccountRegional()
			w.s3.PageSize(1)
			cfg := w.Config()
			cfg.Region = region
			m := w.managed(cfg)
			for i := range 3 { // of others
				w.s3.AddBucket(fmt.Sprintf("soci-index-builder-%012x", 0xa00+i), region)
			}
			w.s3.AddBucket(randomOne, region)
			w.s3.Own(randomOne, "999999999999", false)
			b := ensure(t, m, look(t, m, ""))
			if b.Name != "soci-index-builder-000000000002" {
				t.Errorf("the bucket is %s: the first name is taken", b.Name)
			}
			w.isRight(t, b.Name)
			made := w.s3.Count("CreateBucket")
			for _, known := range []string{"", b.Name, "the-users-own"} {
				if p := look(t, m, known); p.Name != b.Name || !p.Exists || len(p.Changes) > 0 {
					t.Errorf("with %q the plan is %+v", known, p)
				}
			}
			if w.s3.Count("CreateBucket") != made {
				t.Error("another bucket was made")
			}
		})
	}
}

func TestManagedBeingMade(t *testing.T) {
	aborted := &awstest.Error{Status: http.StatusConflict, Code: "OperationAborted",
		Message: "A conflicting conditional operation is currently in progress against this resource. " +
			"Please try again."}
	w := newWorld(t)
	m := w.managed(w.Config())
	w.s3.Fail("CreateBucket", 3, aborted)
	ensure(t, m, look(t, m, ""))
	if w.slept != 3 {
		t.Errorf("%d pauses, want 3", w.slept)
	}
	w.isRight(t, regionalName)

	// A race of two deploys: both saw none.
	w = newWorld(t)
	one, two := w.managed(w.Config()), w.managed(w.Config())
	p, q := look(t, one, ""), look(t, two, "")
	ensure(t, one, p)
	if b := ensure(t, two, q); b.Name != regionalName || len(w.s3.Buckets()) != 1 {
		t.Errorf("the buckets are %q", w.s3.Buckets())
	}

	// It never ends.
	w = newWorld(t)
	m = w.managed(w.Config())
	w.s3.Fail("CreateBucket", 1000, aborted)
	if _, err := m.Ensure(t.Context(), look(t, m, "")); err == nil ||
		!strings.Contains(err.Error(), "OperationAborted") {
		t.Errorf("the error is %v", err)
	}
}

// Every call is throttled twice, then loses its answer once: nothing of it is
// seen where the SDK tries again, and where it does not, the error says so.
func TestManagedFaults(t *testing.T) {
	w := newWorld(t)
	m := w.managed(w.RetryingConfig(3))
	var asked []string
	{
		plain := newWorld(t)
		m := plain.managed(plain.Config())
		b := ensure(t, m, look(t, m, ""))
		if err := b.Put(t.Context(), "code/x/a.zip", "application/zip", []byte("a")); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), b.Name, false); err != nil {
			t.Fatal(err)
		}
		asked = plain.s3.Operations()
		slices.Sort(asked)
		asked = slices.Compact(asked)
	}
	if len(asked) < 15 {
		t.Fatalf("only %q were asked for", asked)
	}
	slow := &awstest.Error{Status: http.StatusServiceUnavailable, Code: "SlowDown",
		Message: "Please reduce your request rate."}
	for _, operation := range asked {
		w.s3.Fail(operation, 1, slow)
		w.s3.Lose(operation, 1)
	}
	b := ensure(t, m, look(t, m, ""))
	w.isRight(t, regionalName)
	if err := b.Put(t.Context(), "code/x/a.zip", "application/zip", []byte("a")); err != nil {
		t.Error(err)
	}
	if err := m.Delete(t.Context(), b.Name, false); err != nil || len(w.s3.Buckets()) > 0 {
		t.Errorf("Delete: %v, buckets %q", err, w.s3.Buckets())
	}

	for _, operation := range asked {
		w := newWorld(t)
		m := w.managed(w.Config())
		w.s3.Fail(operation, 1000, slow)
		err := func() error {
			p, err := m.Look(t.Context(), "")
			if err != nil {
				return err
			}
			b, err := m.Ensure(t.Context(), p)
			if err != nil {
				return err
			}
			if err := b.Put(t.Context(), "code/x/a.zip", "application/zip", []byte("a")); err != nil {
				return err
			}
			return m.Delete(t.Context(), b.Name, false)
		}()
		// To HEAD there is no body, and so no code.
		if !errors.Is(err, awserror.ErrThrottled) && !(operation == "HeadBucket" && err != nil) {
			t.Errorf("with %s throttled the error is %v", operation, err)
		}
	}
}

func TestManagedDenied(t *testing.T) {
	denied := &awstest.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"}
	for operation, action := range map[string]string{
		"CreateBucket": "s3:CreateBucket", "GetBucketTagging": "s3:GetBucketTagging",
		"PutBucketPolicy": "s3:PutBucketPolicy", "PutBucketVersioning": "s3:PutBucketVersioning",
		"PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
		"GetBucketEncryption":             "s3:GetEncryptionConfiguration",
	} {
		w := newWorld(t)
		m := w.managed(w.Config())
		w.s3.Fail(operation, 1, denied)
		p := look(t, m, "")
		if _, err := m.Ensure(t.Context(), p); !errors.Is(err, awserror.ErrDenied) ||
			!strings.Contains(err.Error(), action) {
			t.Errorf("without %s the error is %v", action, err)
		}
	}
	// Permission to list the account's buckets is not needed.
	w := newWorld(t)
	m := w.managed(w.Config())
	w.s3.Fail("ListBuckets", 1, denied)
	ensure(t, m, look(t, m, ""))
}

func TestManagedDelete(t *testing.T) {
	w := newWorld(t)
	w.s3.PageSize(2)
	m := w.managed(w.Config())
	b := ensure(t, m, look(t, m, ""))
	for _, key := range []string{"code/1/a.zip", "code/1/a.zip", "code/2/a.zip", "records/s/1.json", "precious",
		"deleted"} {
		w.s3.Put(b.Name, key, []byte(key))
	}
	w.s3.Hide(b.Name, "deleted")
	if keys, err := b.Foreign(t.Context()); err != nil || !slices.Equal(keys, []string{"deleted", "precious"}) {
		t.Errorf("foreign are %q, %v", keys, err)
	}
	err := m.Delete(t.Context(), b.Name, false)
	if !errors.Is(err, ErrForeignObjects) || !strings.Contains(err.Error(), `"deleted"`) {
		t.Errorf("the error is %v, want ErrForeignObjects", err)
	}
	if n := len(w.s3.Versions(b.Name)); n != 5 {
		t.Errorf("%d keys are left, want all 5", n)
	}
	w.s3.Lock(b.Name, "code/2/a.zip", true)
	if err := m.Delete(t.Context(), b.Name, true); err == nil ||
		!strings.Contains(err.Error(), "code/2/a.zip: AccessDenied") {
		t.Errorf("the error is %v", err)
	}
	if left := w.s3.Versions(b.Name); len(left) != 1 {
		t.Errorf("left is %v", left)
	}
	w.s3.Lock(b.Name, "code/2/a.zip", false) // a second run finishes
	w.s3.Fail("DeleteBucket", 1, &awstest.Error{Status: http.StatusConflict, Code: "BucketNotEmpty"})
	if err := m.Delete(t.Context(), b.Name, true); err != nil || len(w.s3.Buckets()) > 0 {
		t.Errorf("Delete: %v, buckets %q", err, w.s3.Buckets())
	}
	if err := m.Delete(t.Context(), b.Name, true); err != nil {
		t.Errorf("the third time: %v", err)
	}
}

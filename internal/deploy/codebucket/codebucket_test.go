package codebucket

import (
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/testkit/awstest"
)

const name = "code-bucket"

// start returns an S3 with an empty bucket in the region of the configuration.
func start(t *testing.T) (*awstest.Server, *awstest.S3) {
	t.Helper()
	server, s3 := awstest.Start(t), awstest.NewS3()
	s3.AddBucket(name, awstest.Region)
	server.Handle("s3", s3)
	return server, s3
}

func pack(t *testing.T, contents map[string]string) *Package {
	t.Helper()
	folder := t.TempDir()
	var files []string
	for _, file := range slices.Sorted(maps.Keys(contents)) {
		path := filepath.Join(folder, file)
		if err := os.WriteFile(path, []byte(contents[file]), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	p, err := Pack("team/", "1.2.3", files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPack(t *testing.T) {
	contents := map[string]string{"a.zip": "one", "b.zip": "two"}
	p := pack(t, contents)
	// printf '%s  %s\n' $(printf one | sha256sum | cut -c-64) a.zip ... | sha256sum | cut -c-16
	if want := "team/1.2.3-9057782100f112ac/"; p.Prefix != want {
		t.Errorf("the prefix is %q, want %q", p.Prefix, want)
	}
	if got := pack(t, contents).Prefix; got != p.Prefix {
		t.Errorf("the same files have the prefixes %q and %q", p.Prefix, got)
	}
	for _, other := range []map[string]string{
		{"a.zip": "two", "b.zip": "one"},
		{"a.zip": "one", "c.zip": "two"},
		{"a.zip": "one"},
	} {
		if pack(t, other).Prefix == p.Prefix {
			t.Errorf("%v and %v have the same prefix", contents, other)
		}
	}
	if len(p.Objects) != 2 || p.Objects[0].Key != p.Prefix+"a.zip" || string(p.Objects[1].Content) != "two" {
		t.Errorf("the objects are %+v", p.Objects)
	}
	if _, err := Pack("", "1", []string{filepath.Join(t.TempDir(), "none.zip")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v, want fs.ErrNotExist", err)
	}
}

func TestUpload(t *testing.T) {
	p := pack(t, map[string]string{"a.zip": "the content"})
	o := p.Objects[0]
	tests := []struct {
		name  string
		setUp func(*awstest.S3)
		sent  bool
	}{
		{"nothing is there", func(*awstest.S3) {}, true},
		{"other content of the same size", func(s *awstest.S3) { s.Put(name, o.Key, []byte("THE CONTENT")) }, true},
		{"the same without a checksum", func(s *awstest.S3) { s.Put(name, o.Key, o.Content) }, true},
		{"may not look", func(s *awstest.S3) {
			s.Fail("HeadBucket", 1, &awstest.Error{Status: http.StatusForbidden})
			s.Fail("HeadObject", 1, &awstest.Error{Status: http.StatusForbidden})
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, s3 := start(t)
			tt.setUp(s3)
			b, err := Open(t.Context(), server.Config(), name)
			if err != nil {
				t.Fatal(err)
			}
			if sent, err := b.Upload(t.Context(), o); err != nil || sent != tt.sent {
				t.Fatalf("Upload gives %v, %v, want %v", sent, err, tt.sent)
			}
			if got := s3.Objects(name); len(got) != 1 || string(got[o.Key]) != "the content" {
				t.Errorf("the bucket has %q", got)
			}
			puts := server.Count("s3", "PUT /"+name+"/"+o.Key)
			if sent, err := b.Upload(t.Context(), o); err != nil || sent {
				t.Errorf("the second time gives %v, %v, want it there already", sent, err)
			}
			if n := server.Count("s3", "PUT /"+name+"/"+o.Key); n != puts {
				t.Errorf("%d uploads, want %d", n, puts)
			}
		})
	}
}

func TestOpenFails(t *testing.T) {
	tests := []struct {
		name, bucket string
		setUp        func(*awstest.S3)
		want         error
		text         string
	}{
		{"no such bucket", "other", func(*awstest.S3) {}, ErrNoBucket, "aws s3 mb s3://other --region eu-west-1"},
		{"another region", "far", func(s *awstest.S3) { s.AddBucket("far", "us-west-2") }, ErrWrongRegion,
			"is in us-west-2, not in eu-west-1"},
		{"another region, and forbidden", "far", func(s *awstest.S3) {
			s.AddBucket("far", "us-west-2")
			s.Fail("HeadBucket", 1, &awstest.Error{Status: http.StatusForbidden})
		}, ErrWrongRegion, "is in us-west-2, not in eu-west-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, s3 := start(t)
			tt.setUp(s3)
			_, err := Open(t.Context(), server.Config(), tt.bucket)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v, want %v with %q in one line", err, tt.want, tt.text)
			}
		})
	}
}

func TestUploadFails(t *testing.T) {
	tests := []struct {
		name string
		err  awstest.Error
		want error
		text string
	}{
		{"denied", awstest.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "explicit deny"},
			awserror.ErrDenied, "it needs the action s3:PutObject"},
		{"expired", awstest.Error{Status: http.StatusBadRequest, Code: "ExpiredToken", Message: "expired"},
			awserror.ErrCredentials, "have expired"},
		{"bucket gone", awstest.Error{Status: http.StatusNotFound, Code: "NoSuchBucket", Message: "gone"}, ErrNoBucket,
			"does not exist"},
	}
	o := pack(t, map[string]string{"a.zip": "the content"}).Objects[0]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, s3 := start(t)
			b, err := Open(t.Context(), server.Config(), name)
			if err != nil {
				t.Fatal(err)
			}
			s3.Fail("PutObject", 1, &tt.err)
			_, err = b.Upload(t.Context(), o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("the error is %v, want %v with %q and the key in one line", err, tt.want, tt.text)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), o.Key) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v, want %v with %q and the key in one line", err, tt.want, tt.text)
			}
			if got := s3.Objects(name); len(got) != 0 {
				t.Errorf("the bucket has %q", got)
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name   string
		check  func(string) error
		values []string
		want   error
	}{
		{"good buckets", CheckBucketName, []string{"abc", "my.bucket-1", strings.Repeat("a", 63)}, nil},
		{"bad buckets", CheckBucketName,
			[]string{"", "ab", "s3://bucket", "Bucket", "-bucket", "bucket.", "a..b", strings.Repeat("a", 64)},
			ErrBucketName},
		{"good prefixes", CheckPrefix, []string{"", "a/", "team_1/soci.builder/", strings.Repeat("a", 199) + "/"}, nil},
		{"bad prefixes", CheckPrefix,
			[]string{"/", "a", "/a/", "a//b/", "a b/", "a'b/", strings.Repeat("a", 200) + "/"},
			ErrPrefix},
	}
	for _, tt := range tests {
		for _, value := range tt.values {
			t.Run(tt.name+"/"+value, func(t *testing.T) {
				if err := tt.check(value); !errors.Is(err, tt.want) {
					t.Errorf("%q gives %v, want %v", value, err, tt.want)
				}
			})
		}
	}
}

package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// version is one of an object.
type version struct {
	id       string // "null" in a bucket without versions
	content  []byte
	checksum string // base64 of its sha256; empty: stored without
	marker   bool   // the object was deleted
	modified time.Time
	locked   bool
}

// Age sets when every version of an object was last modified.
func (s *S3) Age(name, key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.buckets[name].objects[key] {
		v.modified = at
	}
}

// Lock makes every attempt to delete the versions of an object fail, in an answer
// that lists them as errors; locked false ends that.
func (s *S3) Lock(name, key string, locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.buckets[name].objects[key] {
		v.locked = locked
	}
}

// Hide deletes an object as one does without naming a version.
func (s *S3) Hide(name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(s.buckets[name], key, &version{marker: true})
}

// Versions returns how many versions and delete markers each object has.
func (s *S3) Versions(name string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int{}
	for key, versions := range s.buckets[name].objects {
		all[key] = len(versions)
	}
	return all
}

// latest is the version that a request without a version gets, nil for none.
func (b *bucket) latest(key string) *version {
	versions := b.objects[key]
	if len(versions) == 0 || versions[len(versions)-1].marker {
		return nil
	}
	return versions[len(versions)-1]
}

func (s *S3) put(b *bucket, key string, v *version) {
	v.modified = time.Now()
	if !b.versioned() {
		v.id = "null"
		b.objects[key] = slices.DeleteFunc(b.objects[key], func(old *version) bool { return old.id == "null" })
	} else {
		s.versions++
		v.id = fmt.Sprintf("v%06d", s.versions)
	}
	b.objects[key] = append(b.objects[key], v)
}

func (s *S3) getObject(r *s3Request) *Error {
	v := r.bucket.latest(r.key)
	if v == nil {
		return &Error{Status: http.StatusNotFound, Code: "NoSuchKey", Message: r.key}
	}
	h := r.ResponseWriter.Header()
	if v.checksum != "" && r.Request.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
		h.Set("X-Amz-Checksum-Sha256", v.checksum)
	}
	h.Set("Content-Length", fmt.Sprint(len(v.content)))
	if r.Method == http.MethodGet {
		_, _ = r.Write(v.content)
	}
	return nil
}

func (s *S3) putObject(r *s3Request) *Error {
	sum := sha256.Sum256(r.content)
	v := &version{content: r.content, checksum: r.Request.Header.Get("X-Amz-Checksum-Sha256")}
	if v.checksum != "" && v.checksum != base64.StdEncoding.EncodeToString(sum[:]) {
		return &Error{Status: http.StatusBadRequest, Code: "BadDigest",
			Message: "The SHA256 you specified did not match the calculated checksum."}
	}
	s.put(r.bucket, r.key, v)
	return nil
}

func (s *S3) noUpload(*s3Request) *Error {
	return &Error{Status: http.StatusNotFound, Code: "NoSuchUpload",
		Message: "The specified multipart upload does not " +
			"exist. The upload ID may be invalid, or the upload may have been aborted or completed."}
}

// Write sends a part of the answer's body.
func (r *s3Request) Write(p []byte) (int, error) { return r.ResponseWriter.Write(p) }

func (s *S3) listObjects(r *s3Request) *Error {
	var keys []string
	for key := range r.bucket.objects {
		if r.bucket.latest(key) != nil && strings.HasPrefix(key, r.query("prefix")) &&
			key > r.query("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	end := "<IsTruncated>false</IsTruncated>"
	if len(keys) > s.pageSize {
		keys = keys[:s.pageSize]
		end = "<IsTruncated>true</IsTruncated><NextContinuationToken>" + escape(keys[s.pageSize-1]) +
			"</NextContinuationToken>"
	}
	var b strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key><Size>%d</Size></Contents>", escape(key),
			len(r.bucket.latest(key).content))
	}
	r.xml("<ListBucketResult>" + b.String() + end + "</ListBucketResult>")
	return nil
}

func (s *S3) listObjectVersions(r *s3Request) *Error {
	var b strings.Builder
	n := 0
	end := "<IsTruncated>false</IsTruncated>"
	afterKey, afterVersion := r.query("key-marker"), r.query("version-id-marker")
pages:
	for _, key := range slices.Sorted(maps.Keys(r.bucket.objects)) {
		if !strings.HasPrefix(key, r.query("prefix")) || key < afterKey || key == afterKey && afterVersion == "" {
			continue
		}
		versions := slices.Clone(r.bucket.objects[key])
		slices.Reverse(versions)
		skip := key == afterKey
		for i, v := range versions {
			if skip {
				skip = v.id != afterVersion
				continue
			}
			kind := "Version"
			if v.marker {
				kind = "DeleteMarker"
			}
			fmt.Fprintf(&b,
				"<%s><Key>%s</Key><VersionId>%s</VersionId><IsLatest>%t</IsLatest><LastModified>%s</LastModified>"+
					"<Size>%d</Size></%[1]s>", kind, escape(key), v.id, i == 0,
				v.modified.UTC().Format("2006-01-02T15:04:05.000Z"),
				len(v.content))
			if n++; n == s.pageSize {
				end = fmt.Sprintf("<IsTruncated>true</IsTruncated><NextKeyMarker>%s</NextKeyMarker>"+
					"<NextVersionIdMarker>%s</NextVersionIdMarker>", escape(key), v.id)
				break pages
			}
		}
	}
	r.xml("<ListVersionsResult>" + b.String() + end + "</ListVersionsResult>")
	return nil
}

func (s *S3) deleteObjects(r *s3Request) *Error {
	var in struct {
		Object []struct{ Key, VersionId string }
		Quiet  bool
	}
	if err := xml.Unmarshal(r.content, &in); err != nil || len(in.Object) == 0 || len(in.Object) > 1000 {
		return &Error{Status: http.StatusBadRequest, Code: "MalformedXML", Message: string(r.content)}
	}
	var b strings.Builder
	for _, o := range in.Object {
		if o.VersionId == "" {
			s.put(r.bucket, o.Key, &version{marker: true})
			continue
		}
		locked := false
		r.bucket.objects[o.Key] = slices.DeleteFunc(r.bucket.objects[o.Key], func(v *version) bool {
			locked = locked || v.id == o.VersionId && v.locked
			return v.id == o.VersionId && !v.locked
		})
		if len(r.bucket.objects[o.Key]) == 0 {
			delete(r.bucket.objects, o.Key)
		}
		if locked {
			fmt.Fprintf(&b, "<Error><Key>%s</Key><VersionId>%s</VersionId><Code>AccessDenied</Code>"+
				"<Message>Access Denied because object protected by object lock.</Message></Error>", escape(o.Key),
				o.VersionId)
		} else if !in.Quiet {
			fmt.Fprintf(&b, "<Deleted><Key>%s</Key><VersionId>%s</VersionId></Deleted>", escape(o.Key), o.VersionId)
		}
	}
	r.xml("<DeleteResult>" + b.String() + "</DeleteResult>")
	return nil
}

package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// S3 answers for the service s3, with the bucket in the path, as clients ask
// an endpoint that is an IP address. It knows HeadBucket, HeadObject and
// PutObject, checks what a client says of its content, and refuses to go on in
// another region than the bucket's. Give it to [Server.Handle].
type S3 struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	faults  []*fault
}

type bucket struct {
	region  string
	objects map[string]object
}

type object struct {
	content  []byte
	checksum string // base64 of its sha256; empty: stored without
}

// NewS3 has no bucket.
func NewS3() *S3 { return &S3{buckets: map[string]*bucket{}} }

// AddBucket makes an empty bucket.
func (s *S3) AddBucket(name, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = &bucket{region, map[string]object{}}
}

// Put stores an object, without a checksum, in a bucket that was added.
func (s *S3) Put(name, key string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].objects[key] = object{content: content}
}

// Objects returns the content of a bucket by key.
func (s *S3) Objects(name string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]byte{}
	for key, o := range s.buckets[name].objects {
		all[key] = o.content
	}
	return all
}

// Fail has the next requests for an operation, one of HeadBucket, HeadObject
// and PutObject, answered with err, so many times. The answers to HEAD have no
// body, as those of S3.
func (s *S3) Fail(operation string, times int, err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{"s3", operation, times, err})
}

func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	operation := map[string]string{http.MethodHead: "HeadObject", http.MethodPut: "PutObject"}[r.Method]
	if key == "" && r.Method == http.MethodHead {
		operation = "HeadBucket"
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b != nil {
		w.Header().Set("X-Amz-Bucket-Region", b.region)
	}
	for _, f := range s.faults {
		if f.times > 0 && f.operation == operation {
			f.times--
			writeS3Error(w, r, f.err)
			return
		}
	}
	switch region := regionOf(r); {
	case operation == "":
		writeS3Error(w, r, &Error{Status: http.StatusNotImplemented, Code: "NotImplemented",
			Message: r.Method + " " + r.URL.Path})
		return
	case b == nil:
		writeS3Error(w, r, &Error{Status: http.StatusNotFound, Code: "NoSuchBucket",
			Message: "The specified bucket does not exist"})
		return
	case region != b.region:
		writeS3Error(w, r, &Error{Status: http.StatusMovedPermanently, Code: "PermanentRedirect",
			Message: "The bucket you are attempting to access must be addressed using the specified endpoint."})
		return
	}

	switch operation {
	case "HeadObject":
		o, ok := b.objects[key]
		if !ok {
			writeS3Error(w, r, &Error{Status: http.StatusNotFound, Code: "NoSuchKey", Message: key})
			return
		}
		if o.checksum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set("X-Amz-Checksum-Sha256", o.checksum)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(o.content)))
	case "PutObject":
		sum := sha256.Sum256(content)
		o := object{content, r.Header.Get("X-Amz-Checksum-Sha256")}
		if o.checksum != "" && o.checksum != base64.StdEncoding.EncodeToString(sum[:]) {
			writeS3Error(w, r, &Error{Status: http.StatusBadRequest, Code: "BadDigest",
				Message: "The SHA256 you specified did not match the calculated checksum."})
			return
		}
		b.objects[key] = o
	}
}

// regionOf reads the region that the request was signed for.
func regionOf(r *http.Request) string {
	if m := scope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1]
	}
	return ""
}

func writeS3Error(w http.ResponseWriter, r *http.Request, e *Error) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><RequestId>1</RequestId></Error>`,
			escape(e.Code), escape(e.Message))
	}
}

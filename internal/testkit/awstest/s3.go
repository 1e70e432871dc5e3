package awstest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// S3 answers for the service s3, with the bucket in the path, as clients ask
// an endpoint that is an IP address. It knows what the program asks for of
// buckets (s3bucket.go) and objects (s3object.go), checks what a client says of
// its content and of a bucket's owner, and refuses to go on in another region
// than the bucket's. Give it to [Server.Handle].
type S3 struct {
	mu         sync.Mutex
	buckets    map[string]*bucket
	faults     []*fault
	lost       []*fault
	operations []string
	unchecked  []string
	versions   int
	pageSize   int
	noRegional bool
}

type bucket struct {
	region   string
	owner    string // an account
	open     bool   // also for other accounts
	settings map[string]string
	objects  map[string][]*version // by key, the newest last
}

// NewS3 has no bucket.
func NewS3() *S3 { return &S3{buckets: map[string]*bucket{}, pageSize: 1000} }

// AddBucket makes an empty bucket without settings, of the account.
func (s *S3) AddBucket(name, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = &bucket{region: region, owner: Account, settings: map[string]string{},
		objects: map[string][]*version{}}
}

// Own hands a bucket to another account, which lets everybody in when open.
func (s *S3) Own(name, account string, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].owner, s.buckets[name].open = account, open
}

// Put stores an object, without a checksum, in a bucket that was added.
func (s *S3) Put(name, key string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(s.buckets[name], key, &version{content: content})
}

// Objects returns the content of a bucket by key.
func (s *S3) Objects(name string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]byte{}
	if s.buckets[name] == nil {
		return all
	}
	for key := range s.buckets[name].objects {
		if v := s.buckets[name].latest(key); v != nil {
			all[key] = v.content
		}
	}
	return all
}

// Fail has the next requests for an operation ("HeadBucket"; "*" is any), times
// of them, answered with err. The answers to HEAD have no body, as those
// of S3.
func (s *S3) Fail(operation string, times int, err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{"s3", operation, times, err})
}

// Lose has the next requests for an operation, times of them, done, and the
// connection ended in place of an answer.
func (s *S3) Lose(operation string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, &fault{"s3", operation, times, nil})
}

// Count tells how often an operation was asked for.
func (s *S3) Count(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, o := range s.operations {
		if o == operation {
			n++
		}
	}
	return n
}

// Operations returns what was asked for, in order.
func (s *S3) Operations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.operations)
}

// Unchecked returns the operations that came without the bucket's expected
// owner.
func (s *S3) Unchecked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unchecked)
}

// PageSize bounds the pages of lists. The default is 1000.
func (s *S3) PageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

func used(faults []*fault, operation string) *fault {
	for _, f := range faults {
		if f.times > 0 && (f.operation == operation || f.operation == "*") {
			f.times--
			return f
		}
	}
	return nil
}

func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	operation := s3Operation(r, name, key)
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	expected := r.Header.Get("X-Amz-Expected-Bucket-Owner")
	s.operations = append(s.operations, operation)
	if expected == "" {
		s.unchecked = append(s.unchecked, operation)
	}
	if b != nil && operation != "CreateBucket" {
		w.Header().Set("X-Amz-Bucket-Region", b.region)
	}
	if f := used(s.faults, operation); f != nil {
		writeS3Error(w, r, f.err)
		return
	}
	if f := used(s.lost, operation); f != nil {
		defer panic(http.ErrAbortHandler)
	}
	do := s3Operations[operation]
	switch region := regionOf(r); {
	case do == nil:
		writeS3Error(w, r, &Error{Status: http.StatusNotImplemented, Code: "NotImplemented",
			Message: r.Method + " " + r.URL.Path})
		return
	case operation == "CreateBucket", operation == "ListBuckets":
	case b == nil:
		writeS3Error(w, r, &Error{Status: http.StatusNotFound, Code: "NoSuchBucket",
			Message: "The specified bucket does not exist"})
		return
	case region != b.region:
		writeS3Error(w, r, &Error{Status: http.StatusMovedPermanently, Code: "PermanentRedirect",
			Message: "The bucket you are attempting to access must be addressed using the specified endpoint."})
		return
	case expected != "" && expected != b.owner, b.owner != Account && !b.open:
		writeS3Error(w, r, &Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied"})
		return
	}
	if err := do(s, &s3Request{w, r, b, name, key, content}); err != nil {
		writeS3Error(w, r, err)
	}
}

// s3Request is one as the operations get it.
type s3Request struct {
	http.ResponseWriter
	*http.Request
	bucket    *bucket // nil for one that does not exist
	name, key string
	content   []byte
}

// query is a parameter of the URL.
func (r *s3Request) query(name string) string { return r.URL.Query().Get(name) }

// xml answers.
func (r *s3Request) xml(text string) {
	r.ResponseWriter.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(r.ResponseWriter, text)
}

// s3Operations are those that are known.
var s3Operations = map[string]func(*S3, *s3Request) *Error{
	"CreateBucket":       (*S3).createBucket,
	"DeleteBucket":       (*S3).deleteBucket,
	"HeadBucket":         func(*S3, *s3Request) *Error { return nil },
	"ListBuckets":        (*S3).listBuckets,
	"ListObjectVersions": (*S3).listObjectVersions,
	"ListObjectsV2":      (*S3).listObjects,
	"DeleteObjects":      (*S3).deleteObjects,
	"GetObject":          (*S3).getObject,
	"HeadObject":         (*S3).getObject,
	"PutObject":          (*S3).putObject,
	// No upload in parts is ever begun.
	"UploadPart":              (*S3).noUpload,
	"CompleteMultipartUpload": (*S3).noUpload,
}

// s3Settings are what a bucket has, by the parameter of the URL that asks for
// it: the names of the operations, and what the answer is when there is none.
var s3Settings = map[string]struct{ name, none string }{
	"tagging":           {"BucketTagging", "NoSuchTagSet"},
	"versioning":        {"BucketVersioning", ""},
	"encryption":        {"BucketEncryption", "ServerSideEncryptionConfigurationNotFoundError"},
	"publicAccessBlock": {"PublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"},
	"policy":            {"BucketPolicy", "NoSuchBucketPolicy"},
	"lifecycle":         {"BucketLifecycleConfiguration", "NoSuchLifecycleConfiguration"},
}

func init() {
	for _, of := range s3Settings {
		s3Operations["Get"+of.name] = (*S3).getSetting
		s3Operations["Put"+of.name] = (*S3).putSetting
	}
}

// s3Operation names what a request asks for.
func s3Operation(r *http.Request, name, key string) string {
	query := r.URL.Query()
	for parameter, of := range s3Settings {
		if query.Has(parameter) {
			return map[string]string{http.MethodGet: "Get", http.MethodPut: "Put"}[r.Method] + of.name
		}
	}
	switch {
	case name == "":
		return map[string]string{http.MethodGet: "ListBuckets"}[r.Method]
	case query.Has("versions"):
		return "ListObjectVersions"
	case query.Get("list-type") == "2":
		return "ListObjectsV2"
	case query.Has("delete") && r.Method == http.MethodPost:
		return "DeleteObjects"
	case key != "" && query.Has("uploadId"):
		return map[string]string{http.MethodPut: "UploadPart", http.MethodPost: "CompleteMultipartUpload"}[r.Method]
	case key == "":
		return map[string]string{http.MethodHead: "HeadBucket", http.MethodPut: "CreateBucket",
			http.MethodDelete: "DeleteBucket"}[r.Method]
	}
	return map[string]string{http.MethodHead: "HeadObject", http.MethodPut: "PutObject",
		http.MethodGet: "GetObject"}[r.Method]
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

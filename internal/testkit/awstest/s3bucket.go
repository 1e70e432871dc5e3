package awstest

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// NoAccountRegional has S3 know nothing of the account-regional namespace, as
// in some regions.
func (s *S3) NoAccountRegional() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noRegional = true
}

// Buckets returns the names of all.
func (s *S3) Buckets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.buckets))
}

// Setting returns what was set of a bucket, by the parameter of the URL that
// asks for it, such as "tagging"; empty for nothing.
func (s *S3) Setting(name, parameter string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[name].settings[parameter]
}

// Set sets something of a bucket, as the body of the request that does so.
func (s *S3) Set(name, parameter, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].settings[parameter] = body
}

// Tag sets the tags of a bucket.
func (s *S3) Tag(name string, tags map[string]string) { s.Set(name, "tagging", tagging(tags)) }

func tagging(tags map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", escape(key), escape(tags[key]))
	}
	return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
}

// The defaults of every bucket made since 2023.
const (
	s3Encrypted = `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>` +
		`<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	s3Private = `<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>` +
		`<IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>` +
		`<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>`
)

func (s *S3) createBucket(r *s3Request) *Error {
	var in struct {
		LocationConstraint string
		Tags               []struct{ Key, Value string } `xml:"Tags>Tag"`
	}
	if len(r.content) > 0 && xml.Unmarshal(r.content, &in) != nil {
		return &Error{Status: http.StatusBadRequest, Code: "MalformedXML", Message: string(r.content)}
	}
	region := regionOf(r.Request)
	located := in.LocationConstraint
	if located == "" {
		located = "us-east-1"
	}
	regional := r.Request.Header.Get("X-Amz-Bucket-Namespace") == "account-regional"
	named := strings.HasSuffix(r.name, "-an")
	switch {
	case located != region:
		return &Error{Status: http.StatusBadRequest, Code: "IllegalLocationConstraintException",
			Message: "The " + located +
				" location constraint is incompatible for the region specific endpoint this request was sent to."}
	case regional && s.noRegional:
		return &Error{Status: http.StatusBadRequest, Code: "InvalidBucketNamespace",
			Message: "The account-regional namespace is not supported in this region."}
	case named && !regional:
		return &Error{Status: http.StatusBadRequest, Code: "MissingNamespaceHeader",
			Message: "The request must have the header x-amz-bucket-namespace."}
	case regional && !strings.HasSuffix(r.name, "-"+Account+"-"+region+"-an"):
		return &Error{Status: http.StatusBadRequest, Code: "InvalidBucketName", Message: r.name}
	case r.bucket != nil && r.bucket.owner == Account:
		return &Error{Status: http.StatusConflict, Code: "BucketAlreadyOwnedByYou",
			Message: "Your previous request to create the named bucket succeeded and you already own it."}
	case r.bucket != nil:
		return &Error{Status: http.StatusConflict, Code: "BucketAlreadyExists",
			Message: "The requested bucket name is not available."}
	}
	made := &bucket{region: region, owner: Account, objects: map[string][]*version{},
		settings: map[string]string{"encryption": s3Encrypted, "publicAccessBlock": s3Private}}
	if len(in.Tags) > 0 {
		tags := map[string]string{}
		for _, tag := range in.Tags {
			tags[tag.Key] = tag.Value
		}
		made.settings["tagging"] = tagging(tags)
	}
	s.buckets[r.name] = made
	r.ResponseWriter.Header().Set("Location", "/"+r.name)
	return nil
}

func (s *S3) deleteBucket(r *s3Request) *Error {
	if len(r.bucket.objects) > 0 {
		return &Error{Status: http.StatusConflict, Code: "BucketNotEmpty",
			Message: "The bucket you tried to delete is not empty. You must delete all versions in the bucket."}
	}
	delete(s.buckets, r.name)
	r.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *S3) listBuckets(r *s3Request) *Error {
	var names []string
	for name, b := range s.buckets {
		region := r.query("bucket-region")
		if b.owner == Account && strings.HasPrefix(name, r.query("prefix")) && (region == "" || region == b.region) &&
			name > r.query("continuation-token") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	next := ""
	if len(names) > s.pageSize {
		names = names[:s.pageSize]
		next = "<ContinuationToken>" + names[s.pageSize-1] + "</ContinuationToken>"
	}
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "<Bucket><Name>%s</Name><BucketRegion>%s</BucketRegion></Bucket>", name, s.buckets[name].region)
	}
	r.xml("<ListAllMyBucketsResult><Buckets>" + b.String() + "</Buckets>" + next + "</ListAllMyBucketsResult>")
	return nil
}

// setting is the parameter of the URL that names one.
func (r *s3Request) setting() string {
	for parameter := range s3Settings {
		if r.URL.Query().Has(parameter) {
			return parameter
		}
	}
	return ""
}

func (s *S3) getSetting(r *s3Request) *Error {
	parameter := r.setting()
	text := r.bucket.settings[parameter]
	switch none := s3Settings[parameter].none; {
	case text == "" && none != "":
		return &Error{Status: http.StatusNotFound, Code: none, Message: "There is none"}
	case text == "":
		text = "<VersioningConfiguration></VersioningConfiguration>"
	}
	r.xml(text)
	return nil
}

func (s *S3) putSetting(r *s3Request) *Error {
	r.bucket.settings[r.setting()] = string(r.content)
	return nil
}

// versioned reports whether the bucket keeps the versions of its objects.
func (b *bucket) versioned() bool {
	return strings.Contains(b.settings["versioning"], "<Status>Enabled</Status>")
}

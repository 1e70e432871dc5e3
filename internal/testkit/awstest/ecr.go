package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/registrytest"
)

// ECR is ECR's API over the content of a registry: what was pushed there is
// listed, described and deleted here. Hand it to [Server.Handle] as "ecr".
// The test sets what the registry does not know. It is safe for concurrent
// use.
type ECR struct {
	content *ecrContent

	mu           sync.Mutex
	repositories map[string]*Repository
	pushed       map[ecrKey]time.Time
	images       map[string][]*Image // that have no content in the registry
	undeletable  map[ecrKey]imageFailure
	settings     map[string]string
	gone         map[string]bool // repositories that were deleted
	exclusions   []string
	password     string
	signing      []SigningRule
}

type ecrKey struct {
	repository string
	digest     digest.Digest
}

// Repository is what is set of a repository.
type Repository struct {
	CreatedAt       time.Time // the default is 2026-01-01
	Mutability      string    // MUTABLE (the default), IMMUTABLE, ..._WITH_EXCLUSION
	Exclusions      []string  // wildcards of the two modes with exclusions
	KMSKey          string    // ARN; "" is encryption by AES256
	LifecyclePolicy string    // JSON; "" is none
	Policy          string    // JSON; "" is none
	Tags            map[string]string
}

// Image is one that is listed though the registry does not have it, to fill
// pages by the thousand.
type Image struct {
	Digest            digest.Digest // "" is made of the repository and the image's place
	Tags              []string
	PushedAt          time.Time
	PulledAt          time.Time // zero: never
	Size              int64
	MediaType         string        // "" is that of an OCI image manifest
	ArtifactMediaType string        // "" is that of an OCI image config
	Subject           digest.Digest // of a referrer
	Archived          bool          // listed only when archived images are asked for
	Status            string        // of Archived; "" is ARCHIVED
	Manifest          string        // for BatchGetImage; the digest is that of it if it is not given
}

// NewECR returns the API over a registry, which may be nil when no image has
// content.
func NewECR(registry *registrytest.Server) *ECR {
	return &ECR{
		content:      &ecrContent{registry: registry, manifests: map[digest.Digest]*ecrManifest{}},
		repositories: map[string]*Repository{},
		pushed:       map[ecrKey]time.Time{},
		images:       map[string][]*Image{},
		undeletable:  map[ecrKey]imageFailure{},
		gone:         map[string]bool{},
		settings: map[string]string{"BLOB_MOUNTING": "DISABLED", "BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE",
			"REGISTRY_POLICY_SCOPE": "V2"},
		password: "password",
	}
}

// Repository makes a repository, or sets what it is. A repository to which
// something was pushed is there without.
func (e *ECR) Repository(name string, r Repository) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.repositories[name] = &r
	delete(e.gone, name)
}

// DeleteRepository deletes a repository with all that is in it, as ECR does by
// force.
func (e *ECR) DeleteRepository(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, image := range e.list(name) {
		e.remove(name, image)
	}
	delete(e.repositories, name)
	delete(e.images, name)
	e.gone[name] = true
}

// DeleteImages deletes all that is in a repository.
func (e *ECR) DeleteImages(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, image := range e.list(name) {
		e.remove(name, image)
	}
}

// PushedAt sets when a manifest of the registry was pushed. The default is
// when it was.
func (e *ECR) PushedAt(repository string, d digest.Digest, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pushed[ecrKey{repository, d}] = at
}

// Images adds images without content to a repository.
func (e *ECR) Images(repository string, images ...Image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, image := range images {
		switch {
		case image.Digest != "":
		case image.Manifest != "":
			image.Digest = digest.FromString(image.Manifest)
		default:
			image.Digest = digest.FromString(fmt.Sprint(repository, len(e.images[repository])))
		}
		if image.MediaType == "" {
			image.MediaType = mediaTypeManifest
		}
		if image.ArtifactMediaType == "" {
			image.ArtifactMediaType = mediaTypeConfig
		}
		e.images[repository] = append(e.images[repository], &image)
	}
}

// Undeletable has each attempt to delete the image fail with a failure code of
// BatchDeleteImage, such as KmsError; "" lets it be deleted again.
func (e *ECR) Undeletable(repository string, d digest.Digest, code, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if code == "" {
		delete(e.undeletable, ecrKey{repository, d})
		return
	}
	e.undeletable[ecrKey{repository, d}] = imageFailure{FailureCode: code, FailureReason: reason}
}

// Setting sets an account setting, such as BLOB_MOUNTING.
func (e *ECR) Setting(name, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settings[name] = value
}

// ExcludePullTime adds principals whose pulls leave no time behind.
func (e *ECR) ExcludePullTime(arns ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exclusions = append(e.exclusions, arns...)
}

// Token is what GetAuthorizationToken returns: base64 of user and password.
func (e *ECR) Token() string {
	return base64.StdEncoding.EncodeToString([]byte("AWS:" + e.password))
}

// Host is the name of the account's registry.
func (e *ECR) Host() string { return Account + ".dkr.ecr." + Region + ".amazonaws.com" }

// ServeHTTP answers one request of the API.
func (e *ECR) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	JSON(map[string]func([]byte) (any, error){
		"DescribeRepositories":         operation(e.describeRepositories),
		"DescribeImages":               operation(e.describeImages),
		"ListImages":                   operation(e.listImages),
		"BatchGetImage":                operation(e.batchGetImage),
		"BatchDeleteImage":             operation(e.batchDeleteImage),
		"ListImageReferrers":           operation(e.listImageReferrers),
		"GetAuthorizationToken":        operation(e.getAuthorizationToken),
		"GetLifecyclePolicy":           operation(e.getLifecyclePolicy),
		"GetRepositoryPolicy":          operation(e.getRepositoryPolicy),
		"GetAccountSetting":            operation(e.getAccountSetting),
		"ListPullTimeUpdateExclusions": operation(e.listPullTimeUpdateExclusions),
		"GetSigningConfiguration":      operation(e.getSigningConfiguration),
		"DescribeRegistry":             operation(e.describeRegistry),
		"ListTagsForResource":          operation(e.listTagsForResource),
		"BatchCheckLayerAvailability":  operation(e.batchCheckLayers),
		"InitiateLayerUpload":          operation(e.initiateUpload),
		"UploadLayerPart":              operation(e.noUpload),
		"CompleteLayerUpload":          operation(e.noUpload),
		"PutImage":                     operation(e.putImage),
	}).ServeHTTP(w, r)
}

// operation decodes the input and refuses another account's registry.
func operation[In interface{ registryID() string }](f func(In) (any, error)) func([]byte) (any, error) {
	return func(body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, invalidParameter("SerializationException: %v", err)
		}
		if id := in.registryID(); id != "" && id != Account {
			return nil, &Error{Status: 400, Code: "AccessDeniedException",
				Message: "User is not authorized on a resource of account " + id}
		}
		return f(in)
	}
}

// ofRegistry is in every input.
type ofRegistry struct {
	RegistryID string `json:"registryId"`
}

func (o ofRegistry) registryID() string { return o.RegistryID }

func invalidParameter(format string, args ...any) *Error {
	return &Error{Status: 400, Code: "InvalidParameterException", Message: fmt.Sprintf(format, args...)}
}

// repository returns what is known of a repository that exists.
func (e *ECR) repository(name string) (*Repository, error) {
	if r := e.repositories[name]; r != nil {
		return r, nil
	}
	if len(e.images[name]) > 0 || !e.gone[name] && slices.Contains(e.content.repositories(), name) {
		return &Repository{}, nil
	}
	return nil, &Error{Status: 400, Code: "RepositoryNotFoundException",
		Message: fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", name,
			Account)}
}

// page returns one page of a list; the token is the place where the next begins,
// and is valid only for the list that it was made for.
func page[T any](list []T, of string, maxResults, byDefault, limit int, token string) ([]T, string, error) {
	if maxResults < 0 || maxResults > limit {
		return nil, "", invalidParameter(
			"Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value between 1 and %d'",
			limit)
	}
	if maxResults == 0 {
		maxResults = byDefault
	}
	salt := fmt.Sprintf("%x", sha256.Sum256([]byte(of)))
	start := 0
	if token != "" {
		place, ok := strings.CutPrefix(token, salt+"/")
		if _, err := fmt.Sscanf(place, "%d", &start); !ok || err != nil {
			return nil, "", invalidParameter("Invalid parameter at 'nextToken'")
		}
	}
	start = min(start, len(list))
	end := min(start+maxResults, len(list))
	if end == len(list) {
		return list[start:end], "", nil
	}
	return list[start:end], fmt.Sprintf("%s/%d", salt, end), nil
}

// epoch is a time as the protocol has it.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

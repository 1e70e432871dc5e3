package ecrclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/names"
)

// maxReferrers bounds the list that Referrers collects.
const maxReferrers = 10_000

// errNoReferrersAPI: something other than the referrers API answered.
var errNoReferrersAPI = errors.New("the answer is no list of referrers")

// referrersAPI is what a repository knows about its registry's referrers API.
type referrersAPI struct{ state atomic.Int32 }

const (
	apiUntried int32 = iota
	apiServes
	apiMissing // the referrers tag schema serves
	apiFails   // nobody knows; it is asked again, once each time

	apiNoSubject // never kept: the answer is about the one manifest
)

func (a *referrersAPI) is(state int32) bool { return a.state.Load() == state }

func (a *referrersAPI) set(state int32) { a.state.Store(state) }

// Referrers lists the manifests whose subject is desc, of one artifact type or
// of all (""), in the registry's order, each digest once. A manifest without
// any, or a missing one, has an empty list. More than 10,000 are an error.
//
// On a registry without the referrers API the referrers tag schema is read. If
// the API exists but refuses, or fails after all attempts, the error is
// ErrReferrersUnknown, and the list is that of the tag schema: there may be
// more. ECR has the API and no tag schema, and returns only the error.
func (r *Repository) Referrers(ctx context.Context, desc ocispec.Descriptor, artifactType string) (
	[]ocispec.Descriptor, error) {
	op := operation{opReferrers, desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return nil, r.fail(op, err)
	}
	var unknown error
	if !r.referrersAPI.is(apiMissing) {
		found, err := r.askReferrersAPI(ctx, op, desc, artifactType)
		if err == nil {
			return found, nil
		}
		switch r.judgeReferrersAPI(err) {
		case apiMissing, apiNoSubject:
		case apiFails:
			r.log.WarnContext(ctx,
				"the registry does not tell which manifests refer to another, going on with the referrers tag schema",
				"repository", r.remote.Reference.Repository, "digest", desc.Digest.String(), "error", err.Error())
			unknown = err
		default:
			return nil, err
		}
	}
	var found []ocispec.Descriptor
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		found, err = r.referrersByTag(ctx, desc, artifactType)
		return err
	})
	switch {
	case unknown != nil:
		return found, r.fail(op, fmt.Errorf("%w, the referrers tag schema lists %d: %w",
			ErrReferrersUnknown, len(found), unknown.(*Error).Err))
	case err != nil:
		return nil, err
	}
	return found, nil
}

// askReferrersAPI reads the list with the API, retrying if that may help.
func (r *Repository) askReferrersAPI(ctx context.Context, op operation, desc ocispec.Descriptor, artifactType string) (
	[]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	attempt := func(ctx context.Context) (err error) {
		found, err = r.referrersByAPI(ctx, desc, artifactType)
		return err
	}
	var err error
	if r.referrersAPI.is(apiFails) {
		if err = attempt(ctx); err != nil {
			err = r.fail(op, err)
		}
	} else {
		err = r.retry(ctx, op, attempt)
	}
	if err != nil {
		return nil, err
	}
	r.referrersAPI.set(apiServes)
	return found, nil
}

// judgeReferrersAPI returns what a failed answer says about the API, apiUntried
// if nothing. ECR has the API: there a refusal is about permissions, and a
// failure is temporary.
func (r *Repository) judgeReferrersAPI(err error) int32 {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return apiUntried
	}
	state := apiUntried
	switch {
	case e.Status == http.StatusNotFound && e.Code == errcode.ErrorCodeManifestUnknown:
		return apiNoSubject
	case unsupported(e.Status, e.Code), e.Status == http.StatusNotFound && e.Code != errcode.ErrorCodeNameUnknown:
		state = apiMissing
	case r.ofECR:
	case errors.Is(err, errNoReferrersAPI), e.Status == http.StatusBadRequest, e.Status == http.StatusNotAcceptable,
		e.Status == http.StatusNotImplemented:
		state = apiMissing
	case e.Status == http.StatusForbidden, e.Status >= 500:
		state = apiFails
	}
	// A registry that served it once has the API; one bad answer does not
	// change that.
	if state == apiMissing && r.referrersAPI.is(apiServes) {
		return apiUntried
	}
	if state != apiUntried && !r.ofECR {
		r.referrersAPI.set(state)
	}
	return state
}

// askAgain returns what is known about the referrers API before a manifest with
// a subject is pushed, and the error if it is apiUntried. That an earlier listing
// failed may have been a fluke.
func (r *Repository) askAgain(ctx context.Context, subject ocispec.Descriptor) (int32, error) {
	if r.ofECR || r.referrersAPI.is(apiServes) || checkDescriptor(subject) != nil {
		return apiServes, nil
	}
	_, err := r.askReferrersAPI(ctx, operation{opReferrers, subject.Digest.String()}, subject, names.SociIndexV1)
	if err == nil {
		return apiServes, nil
	}
	return r.judgeReferrersAPI(err), err
}

func (r *Repository) referrersByAPI(ctx context.Context, desc ocispec.Descriptor, artifactType string) (
	[]ocispec.Descriptor, error) {
	path := "referrers/" + desc.Digest.String()
	if artifactType != "" {
		path += "?artifactType=" + url.QueryEscape(artifactType)
	}
	l := newReferrerList(artifactType)
	err := r.list(ctx, path, maxReferrerListSize, func(resp *http.Response, b []byte) (int, int, error) {
		index, err := readReferrers(resp, b)
		if err != nil {
			return 0, 0, err
		}
		// A registry that filtered need not repeat the type.
		filtered := resp.Header.Get("OCI-Filters-Applied") != "" ||
			index.Annotations["org.opencontainers.referrers.filtersApplied"] != ""
		fresh, err := l.add(index.Manifests, filtered)
		return len(index.Manifests), fresh, err
	})
	return l.found, err
}

// readReferrers decodes a page of the API, which must be an image index.
func readReferrers(resp *http.Response, b []byte) (*ocispec.Index, error) {
	told, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var fields struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	err := documents.Unmarshal(b, &fields)
	if told != ocispec.MediaTypeImageIndex && (err != nil || mediaType(resp) != "" ||
		fields.MediaType != ocispec.MediaTypeImageIndex && (fields.MediaType != "" || fields.Manifests == nil)) {
		return nil, fmt.Errorf("%w: media type %q", errNoReferrersAPI, printable(resp.Header.Get("Content-Type")))
	}
	var index ocispec.Index
	if err := documents.Index(b, &index); err != nil {
		return nil, fmt.Errorf("the list of referrers: %w", err)
	}
	return &index, nil
}

// referrersByTag returns those of the list that clients keep.
func (r *Repository) referrersByTag(ctx context.Context, desc ocispec.Descriptor, artifactType string) (
	[]ocispec.Descriptor, error) {
	all, err := r.listUnderTag(ctx, desc)
	if err != nil {
		return nil, err
	}
	l := newReferrerList(artifactType)
	_, err = l.add(all, false)
	return l.found, err
}

// listUnderTag reads the list that clients keep under a tag made of the digest,
// as it is. Anything there that is not an image index is unrelated.
func (r *Repository) listUnderTag(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	list, b, err := r.getByReference(ctx, names.ReferrersTag(desc.Digest.String()))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if list.MediaType != ocispec.MediaTypeImageIndex || list.Digest == desc.Digest {
		return nil, nil
	}
	var index ocispec.Index
	if err := documents.Index(b, &index); err != nil {
		return nil, fmt.Errorf("the list of referrers %s: %w", list.Digest, err)
	}
	return index.Manifests, nil
}

// referrerList collects referrers of a type.
type referrerList struct {
	artifactType string
	found        []ocispec.Descriptor
	seen         map[digest.Digest]bool
}

func newReferrerList(artifactType string) *referrerList {
	return &referrerList{artifactType: artifactType, seen: make(map[digest.Digest]bool)}
}

// add takes what is of the type, and returns how many were not seen before.
func (l *referrerList) add(page []ocispec.Descriptor, filtered bool) (fresh int, err error) {
	for _, d := range page {
		if err := checkDescriptor(d); err != nil {
			return fresh, fmt.Errorf("referrer %d: %w", len(l.seen)+1, err)
		}
		if l.seen[d.Digest] {
			continue
		}
		if len(l.seen) == maxReferrers {
			return fresh, fmt.Errorf("more than %d referrers", maxReferrers)
		}
		l.seen[d.Digest] = true
		fresh++
		if l.artifactType == "" || d.ArtifactType == l.artifactType || filtered && d.ArtifactType == "" {
			l.found = append(l.found, d)
		}
	}
	return fresh, nil
}

package ecrclient

import (
	"errors"
	"net/http"
)

// NotFound reports whether the registry has no such repository, manifest, tag
// or blob. A web page of something before it says nothing of that.
func (e *Error) NotFound() bool { return errors.Is(e, ErrNotFound) && !errors.Is(e, ErrNotRegistry) }

// ReferrersUnknown reports whether a list of referrers may be incomplete,
// because the registry refused or failed to list them.
func (e *Error) ReferrersUnknown() bool { return errors.Is(e, ErrReferrersUnknown) }

// TagImmutable reports whether a manifest was refused because its tag names
// another one and must not be moved. The caller has to check that the tag
// exists at all: other refusals can look the same.
func (e *Error) TagImmutable() bool {
	switch e.Status {
	case http.StatusBadRequest:
		// ECR: "The image tag ... already exists ... cannot be overwritten
		// because the tag is immutable." Its API has the other names.
		return e.Code == "TAG_INVALID" || e.Code == "ImageTagAlreadyExistsException"
	case http.StatusConflict, http.StatusPreconditionFailed:
		return true // a tag is all that a manifest can be in conflict with
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		// Answers of some registries that do not move an existing tag. ECR
		// answers 403 only for a missing permission.
		_, ofECR := e.ECRHost()
		return !ofECR && e.Op == opPushManifest && !isDigest(e.Reference)
	}
	return false
}

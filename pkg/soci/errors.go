package soci

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/inflate"
	"soci-index-builder/internal/text/bytesize"
)

// The classes of failure. Every error that this package returns for a layer or
// a manifest matches exactly one of them with errors.Is; an error of the
// Source or the Destination matches none and is wrapped unchanged.
var (
	// ErrTruncated: the content ends before its own format says it does.
	ErrTruncated = inflate.ErrTruncated

	// ErrCorrupt: the content breaks the rules of its own format.
	ErrCorrupt = inflate.ErrCorrupt

	// ErrDigestMismatch: the bytes that arrived are not the ones that the
	// descriptor names, by size or by digest. Fetching them again may help,
	// which is not so for ErrCorrupt.
	ErrDigestMismatch = errors.New("content does not match its descriptor")

	// ErrUnsupported: the content is sound, as far as it was read, but a zTOC
	// cannot describe it. Within an image such a layer is skipped.
	ErrUnsupported = errors.New("unsupported")

	// ErrLimit: the content exceeds one of the Limits, or a limit of this
	// package; the message says what there is too much of, and the limit. If
	// it is Limits.MaxMemory, the error is a *MemoryError.
	ErrLimit = errors.New("limit exceeded")

	// ErrTagImmutable: the tag of the SOCI-enabled image names another image
	// and the registry does not let it be moved.
	ErrTagImmutable = errors.New("immutable tag names another image")

	// ErrTagTaken: the tag of the SOCI-enabled image names something that is
	// none, of which it is not taken away.
	ErrTagTaken = errors.New("the suffixed tag is somebody's own")

	// ErrTagMoving: the tag of the image moved again and again while its
	// SOCI-enabled image was made. Trying again may help.
	ErrTagMoving = errors.New("tag keeps moving")

	// ErrInvalidOption: an option's value is outside what is allowed.
	ErrInvalidOption = errors.New("invalid option")
)

// UnsupportedError is an ErrUnsupported that says what could not be described.
type UnsupportedError struct {
	Reason SkipReason
	Detail string // for people: the entry, the format
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%v: %s (%s)", ErrUnsupported, e.Reason.Text(), e.Detail)
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// MemoryError is an ErrLimit: building needs more than Limits.MaxMemory.
type MemoryError struct {
	Max    int64 // bytes, the limit
	Enough int64 // bytes that would be enough for this layer, an estimate; 0 if it cannot be known
}

func (e *MemoryError) Error() string {
	text := fmt.Sprintf("%v: building needs more than %s of memory", ErrLimit, bytesize.Format(e.Max))
	if e.Enough > 0 {
		text += fmt.Sprintf("; about %s would be enough", bytesize.Format(e.Enough))
	}
	return text
}

// Is makes errors.Is(err, ErrLimit) true.
func (e *MemoryError) Is(target error) bool { return target == ErrLimit }

// LayerError names the layer that failed and its manifest.
type LayerError struct {
	Manifest digest.Digest // the image manifest that lists the layer
	Layer    digest.Digest
	Err      error
}

func (e *LayerError) Error() string { return fmt.Sprintf("layer %s: %v", e.Layer, e.Err) }

func (e *LayerError) Unwrap() error { return e.Err }

// ManifestError names the manifest of an image that failed, and why. Err is a
// *LayerError when a layer is at fault.
type ManifestError struct {
	Manifest digest.Digest
	Platform string // "linux/arm64", normalized, or "unknown"
	Err      error
}

func (e *ManifestError) Error() string {
	return fmt.Sprintf("manifest %s (%s): %v", e.Manifest, e.Platform, e.Err)
}

func (e *ManifestError) Unwrap() error { return e.Err }

// ManifestErrors are the manifests of an image that failed, in the order of
// the image index, at least one. What came of the others stands in the Result.
type ManifestErrors []*ManifestError

func (e ManifestErrors) Error() string {
	texts := make([]string, len(e))
	for i, m := range e {
		texts[i] = m.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors of all manifests.
func (e ManifestErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, m := range e {
		errs[i] = m
	}
	return errs
}

// optionError is an ErrInvalidOption. Its text says what is wrong, without that
// class in front.
type optionError struct{ error }

func (e optionError) Unwrap() error        { return e.error }
func (e optionError) Is(target error) bool { return target == ErrInvalidOption }

func invalidOption(format string, args ...any) error {
	return optionError{fmt.Errorf(format, args...)}
}

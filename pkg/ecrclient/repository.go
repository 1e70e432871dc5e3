package ecrclient

import (
	"cmp"
	"context"
	_ "crypto/sha256" // digests of this kind can be verified
	_ "crypto/sha512" // as well
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"soci-index-builder/internal/names"
)

// Repository is one repository of one registry. It is a soci.Source and a
// soci.Destination, and safe for concurrent use. Every error of its methods is
// an *Error.
type Repository struct {
	name      string // as the caller knows it
	reference string

	// Both send through client, and push alike but for manifests with a
	// subject: tagging always writes the referrers tag schema, remote when the
	// registry does not confirm that it processed the subject.
	remote, tagging *remote.Repository
	referrersAPI    referrersAPI
	ofECR           bool
	client          *client
	policy          RetryPolicy
	pieces          *pieces
	log             *slog.Logger
	now             func() time.Time
	sleep           func(context.Context, time.Duration) error
}

// New returns the repository that ref names, "host[:port]/name[:tag|@digest]".
// It makes no request. A malformed ref is ErrInvalidReference.
func New(ref string, opts ...Option) (*Repository, error) {
	image, err := names.ParseHosted(ref)
	if err != nil {
		reason := err.Error()
		if e, ok := errors.AsType[*names.Error](err); ok {
			reason = e.Reason()
		}
		return nil, fmt.Errorf("%w %.300q: %s; it must be host[:port]/name[:tag|@digest]", ErrInvalidReference,
			redactText(ref), redactText(reason))
	}
	parsed := registry.Reference{Registry: image.Host, Repository: image.Repository}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	r := &Repository{
		name:      parsed.Registry + "/" + parsed.Repository,
		reference: cmp.Or(image.Digest, image.Tag),
		policy:    o.retry,
		pieces:    newPieces(o.parallel),
		log:       o.logger,
		now:       o.now,
		sleep:     o.sleep,
	}
	_, r.ofECR = ParseECRHost(parsed.Registry)
	plain := isLoopback(parsed.Host())
	if o.plainHTTP != nil {
		plain = *o.plainHTTP
	}
	if o.endpoint != "" {
		if parsed.Registry, plain, err = parseEndpoint(o.endpoint); err != nil {
			return nil, err
		}
		if o.plainHTTP != nil && *o.plainHTTP != plain {
			return nil, fmt.Errorf("endpoint %q contradicts plain HTTP %t", redactText(o.endpoint), *o.plainHTTP)
		}
	}
	transport := &watchedTransport{
		base: o.transport, outward: o.outward, registry: &origin{host: hostname(parsed.Host())},
		header: o.headerTimeout, stall: o.stall, userAgent: o.userAgent,
	}
	httpClient := &http.Client{Transport: transport, CheckRedirect: transport.checkRedirect}
	r.client = &client{
		auth: newAuth(o, parsed.Host(), parsed.Repository, httpClient),
		http: httpClient,
		log:  o.logger,
		now:  o.now,
	}
	for _, one := range []**remote.Repository{&r.remote, &r.tagging} {
		*one = &remote.Repository{
			Client:             completing{r.client},
			Reference:          parsed,
			PlainHTTP:          plain,
			ManifestMediaTypes: manifestMediaTypes,
			MaxMetadataBytes:   MaxManifestSize,
		}
	}
	return r, r.tagging.SetReferrersCapability(false)
}

// parseEndpoint splits "http://host:port".
func parseEndpoint(endpoint string) (host string, plain bool, err error) {
	host, plain, err = names.ParseEndpoint(endpoint)
	if err != nil {
		return "", false, fmt.Errorf("registry endpoint %q: %w", redactText(endpoint), err)
	}
	return host, plain, nil
}

func isLoopback(host string) bool {
	host = hostname(host)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// hostname returns the host of HOST[:PORT], without the brackets of IPv6.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// Name returns "host/name", the host as in the reference given to New, also with
// WithEndpoint.
func (r *Repository) Name() string { return r.name }

// PlainHTTP reports whether the registry is spoken to without TLS.
func (r *Repository) PlainHTTP() bool { return r.remote.PlainHTTP }

// Reference returns the tag or digest of the reference given to New, "" if it
// had none; the digest if it had both.
func (r *Repository) Reference() string { return r.reference }

// Resolve returns the descriptor of the manifest that a tag or digest names, as
// the registry describes it: media type, digest and size.
func (r *Repository) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	op := operation{"resolve", reference}
	if !names.IsTag(reference) && !names.IsDigest(reference) {
		return ocispec.Descriptor{}, r.fail(op, fmt.Errorf("%w: not a tag or digest", ErrInvalidReference))
	}
	var desc ocispec.Descriptor
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		desc, err = r.describe(ctx, reference)
		return err
	})
	return desc, err
}

// Exists reports whether the blob or manifest that desc names exists. A blob of
// a size other than desc.Size does not count.
func (r *Repository) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	op := operation{"look for " + kind(desc), desc.Digest.String()}
	if err := checkDescriptor(desc); err != nil {
		return false, r.fail(op, err)
	}
	var exists bool
	err := r.retry(ctx, op, func(ctx context.Context) (err error) {
		if isManifest(desc) {
			exists, err = r.manifestExists(ctx, desc)
		} else {
			exists, err = r.blobExists(ctx, desc)
		}
		return err
	})
	return exists, err
}

// checkDescriptor refuses descriptors that no registry could serve.
func checkDescriptor(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrInvalidReference, desc.Digest, err)
	}
	if desc.Size < 0 {
		return fmt.Errorf("%w: its size is %d bytes", ErrDigestMismatch, desc.Size)
	}
	return nil
}

func isDigest(reference string) bool {
	_, err := digest.Parse(reference)
	return err == nil
}

// fail makes err the *Error of an operation.
func (r *Repository) fail(op operation, err error) error {
	out := &Error{Op: op.name, Repository: r.name, Reference: op.reference}
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		err = &statusError{status: http.StatusNotFound}
	case errors.Is(err, errdef.ErrSizeExceedsLimit):
		err = fmt.Errorf("%w: %w", ErrManifestTooLarge, err)
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		out.Status, out.Code = e.status, e.code
	} else if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		out.Status = e.StatusCode
		if len(e.Errors) > 0 {
			out.Code = printable(e.Errors[0].Code)
		}
	} else if e, ok := errors.AsType[*Error](err); ok {
		out.Status, out.Code = e.Status, e.Code
	} else if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		out.Status = http.StatusUnauthorized
		host, _, _ := strings.Cut(r.name, "/")
		err = &noCredentials{host, err}
	}
	if again, ok := errors.AsType[*Error](err); out.Status == http.StatusUnauthorized &&
		(!ok || again.Op == opAuthenticate) {
		if a, ok := r.client.auth.(interface{ hint() string }); ok && a.hint() != "" {
			err = fmt.Errorf("%w; %s", err, a.hint())
		}
	}
	out.Err = redact(err)
	return out
}

// noCredentials: the registry demands credentials, and none were found.
type noCredentials struct {
	host string
	err  error
}

func (e *noCredentials) Error() string {
	return "401 Unauthorized: there are no credentials for " + e.host
}
func (e *noCredentials) Unwrap() error { return e.err }

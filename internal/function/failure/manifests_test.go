package failure

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// An image of which several manifests failed is tried again as long as one of them
// may succeed.
func TestOfManifests(t *testing.T) {
	of := func(causes ...error) error {
		var all soci.ManifestErrors
		for _, err := range causes {
			all = append(all, &soci.ManifestError{Platform: "linux/amd64", Err: err})
		}
		return fmt.Errorf("image: %w", all)
	}
	denied := &ecrclient.Error{Op: "fetch blob", Repository: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
		Reference: "sha256:x", Status: http.StatusForbidden}
	for _, tt := range []struct {
		name   string
		err    error
		class  Class
		reason Reason
	}{
		{"corrupt", of(soci.ErrCorrupt), Permanent, Corrupt},
		{"corrupt, truncated", of(soci.ErrCorrupt, soci.ErrTruncated), Permanent, Corrupt},
		{"corrupt, throttled", of(soci.ErrCorrupt, ecrclient.ErrThrottled), Transient, Throttled},
		{"throttled, corrupt", of(ecrclient.ErrThrottled, soci.ErrCorrupt), Transient, Throttled},
		{"corrupt, unavailable, throttled", of(soci.ErrCorrupt, ecrclient.ErrUnavailable, ecrclient.ErrThrottled),
			Transient, Unavailable},
		{"corrupt, denied", of(soci.ErrCorrupt, denied), Transient, AccessDenied},
	} {
		f := Of(tt.err)
		if f.Class != tt.class || f.Reason != tt.reason || !errors.Is(f, tt.err) {
			t.Errorf("%s: %s, %s, %v", tt.name, f.Class, f.Reason, f)
		}
		if want := Of(denied).Permission; tt.reason == AccessDenied && (f.Permission != want || want == "") {
			t.Errorf("%s: the permission %q, want %q", tt.name, f.Permission, want)
		}
	}
}

// A status is enough where the code says nothing.
func TestOfStatusAlone(t *testing.T) {
	for status, want := range map[int]Reason{
		http.StatusTooManyRequests: Throttled, http.StatusNotFound: NotFound, http.StatusBadGateway: Unavailable,
		http.StatusUnauthorized: AccessDenied, http.StatusBadRequest: Unexpected,
	} {
		err := &smithy.OperationError{ServiceID: "SQS", OperationName: "SendMessage", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New("no code")}}
		if f := Of(err); f.Class != Transient || f.Reason != want {
			t.Errorf("%d: %s, %s; want %s", status, f.Class, f.Reason, want)
		}
	}
}

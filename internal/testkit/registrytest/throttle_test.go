package registrytest_test

import (
	"net/http"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/registrytest"
)

// Everything is sent, and no sooner than the limits allow.
func TestThrottle(t *testing.T) {
	s := registrytest.Start(t)
	path := "/v2/app/blobs/" + s.PushBlob(t, "app", []byte(content)).Digest.String()
	for _, row := range []struct {
		name    string
		rate    int64
		latency time.Duration
		atLeast time.Duration
	}{
		{"no limit", 0, 0, 0},
		{"latency", 0, 20 * time.Millisecond, 20 * time.Millisecond},
		{"rate", 16 * 20, 0, 50 * time.Millisecond},
		{"both", 16 * 20, 20 * time.Millisecond, 70 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.Clear()
			s.Add(registrytest.Rule{Method: http.MethodGet, Fault: registrytest.Throttle(row.rate, row.latency)})
			start := time.Now()
			status, body, err := get(t, s.URL()+path)
			if took := time.Since(start); took < row.atLeast {
				t.Errorf("it took %v, want %v at least", took, row.atLeast)
			}
			if status != 200 || body != content || err != nil {
				t.Errorf("%d %q %v, want 200 %q", status, body, err, content)
			}
		})
	}
}

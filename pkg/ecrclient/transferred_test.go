package ecrclient_test

import (
	"io"
	"net/http"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
)

// A reader counts the bytes that came: those that it read ahead, and those
// that came twice.
func TestTransferred(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	const piece = 64 << 10
	content := noise(7, 20*piece)
	for _, tt := range []struct {
		name     string
		read     int64
		rule     registrytest.Rule
		min, max int64
	}{
		{"all of it", 20 * piece, registrytest.Rule{}, 20 * piece, 20 * piece},
		{"the beginning", 100, registrytest.Rule{}, 100, 100},
		{"a part, with some read ahead", 5 * piece, registrytest.Rule{}, 5 * piece, 13 * piece},
		{"all of it, after lost connections", 20 * piece,
			registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Times: 2, Fault: registrytest.Truncate(1000)},
			20 * piece,
			20 * piece},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			desc := s.PushBlob(t, repository, content)
			if tt.rule.Fault != nil {
				s.Add(tt.rule)
			}
			rc, err := open(t, s, ahead(piece, 8)).Fetch(t.Context(), desc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, rc, tt.read); err != nil {
				t.Fatal(err)
			}
			rc.Close()
			counted, ok := rc.(interface{ Transferred() int64 })
			if !ok {
				t.Fatalf("%T does not count", rc)
			}
			if got := counted.Transferred(); got < tt.min || got > tt.max {
				t.Errorf("%d bytes came, not %d to %d", got, tt.min, tt.max)
			}
		})
	}
}

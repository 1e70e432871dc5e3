package registrytest_test

import (
	"fmt"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
)

// A registry that has a blob answers before it has read it, and closes the
// connection, which is no failure of a push.
func TestPushAgain(t *testing.T) {
	s := registrytest.Start(t)
	content := make([]byte, 4<<20)
	want := s.PushBlob(t, "app", content)
	for n := range 8 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			for range 10 {
				if got := s.PushBlob(t, "app", content); got.Digest != want.Digest {
					t.Errorf("%s, want %s", got.Digest, want.Digest)
				}
			}
		})
	}
}

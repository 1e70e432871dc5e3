package deploy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/settings"
)

// A zip file that is too large for a request is changed in place all the same:
// Lambda takes it from the bucket.
func TestLargeZipInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.managed(settings.Settings{}, nil))
	large := make([]byte, 50<<20+1)
	w.run(w.managed(settings.Settings{}, func(m *deploy.Mode) {
		m.CodeOnly = true
		m.Functions = func(architecture, name string) ([]byte, error) {
			if name == "indexgen" {
				return large, nil
			}
			return w.function(architecture, name)
		}
	}))
	sum := sha256.Sum256(large)
	if is := w.sums()[generator]; is != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("the generator's code is %s", is)
	}
	changed := 0
	for _, r := range w.server.Requests() {
		if r.Operation != "PUT /2015-03-31/functions/"+w.functions()[generator]+"/code" ||
			strings.Contains(string(r.Body), `"DryRun":true`) {
			continue
		}
		changed++
		if body := string(r.Body); !strings.Contains(body, `"S3Bucket":"`+managedName+`"`) ||
			strings.Contains(body, "ZipFile") {
			t.Errorf("the request has %.300s", body)
		}
	}
	if changed != 1 {
		t.Errorf("changed %d times", changed)
	}
}

package deploy_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
)

// throttles are the answers of the services that ask for patience.
var throttles = map[string]*awstest.Error{
	"s3":     {Status: http.StatusServiceUnavailable, Code: "SlowDown", Message: "Please reduce your request rate."},
	"lambda": {Status: http.StatusTooManyRequests, Code: "TooManyRequestsException", Message: "Rate exceeded"},
	"cloudformation": {Status: http.StatusBadRequest, Code: "Throttling",
		Message: "Rate exceeded"},
}

// throttle has the first requests for each operation of AWS, and of each kind for
// the registry, refused, times of them. It returns a function that has those of AWS
// refused again.
func (w *imageWorld) throttle(times int) (again func()) {
	var mu sync.Mutex
	asked, pushed := map[string]int{}, map[string]int{}
	refuses := func(of map[string]int, what string) bool {
		mu.Lock()
		defer mu.Unlock()
		of[what]++
		return of[what] <= times
	}
	w.server.Refuse(func(r awstest.Request) *awstest.Error {
		service, operation := r.Call()
		if !refuses(asked, service+" "+operation) {
			return nil
		}
		if e := throttles[r.Service]; e != nil {
			return e
		}
		return awstest.Throttled
	})
	w.registry.Add(registrytest.Rule{Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		kind := "manifests"
		if strings.Contains(r.URL.Path, "/blobs/") {
			kind = "blobs"
		}
		if refuses(pushed, r.Method+" "+kind) {
			registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded", "Retry-After", "0")(rw,
				r, next)
			return
		}
		next.ServeHTTP(rw, r)
	}})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		clear(asked)
	}
}

// Each call is throttled twice before it is answered: that only delays, and no more
// than it must.
func TestEachCallThrottled(t *testing.T) {
	t.Parallel()
	for _, zip := range []bool{true, false} {
		w := newImageWorld(t)
		w.config = w.server.RetryingConfig(3)
		again := w.throttle(2)
		for i, step := range []struct {
			name string
			do   func(*imageWorld) (*screen, error)
		}{
			{"create", inMode(zip, settings.Settings{}, nil)},
			{"update", inMode(zip, another, nil)},
			{"code only", inMode(zip, settings.Settings{}, codeOnly)},
			{"rollback", func(w *imageWorld) (*screen, error) { return w.try(w.back(nil)) }},
			{"destroy", (*imageWorld).destroyed},
		} {
			w.version = string(rune('a' + i))
			again()
			began := time.Now()
			s, err := step.do(w)
			if err != nil {
				t.Errorf("zip %t, %s: %v, said %q", zip, step.name, err, s.said)
			}
			t.Logf("zip %t, %s: %v, %d requests", zip, step.name, time.Since(began), len(w.server.Requests()))
			for _, line := range []string{"could not be", "cannot be read", "no old code is deleted", "is not known"} {
				if s.has(line) {
					t.Errorf("zip %t, %s: said %q", zip, step.name, s.said)
				}
			}
		}
		if is := w.status(); is != "absent" {
			t.Errorf("the stack is %s", is)
		}
	}
}

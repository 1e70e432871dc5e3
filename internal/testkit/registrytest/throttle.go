package registrytest

import (
	"net/http"
	"time"
)

// Throttle sends every answer latency late and its body at no more than
// bytesPerSecond, as a registry does that limits each connection; 0 is no
// limit.
func Throttle(bytesPerSecond int64, latency time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !pass(r, latency) {
			return
		}
		if bytesPerSecond <= 0 {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		var sent int64
		step := int(max(bytesPerSecond/200, 1)) // 5 ms
		next.ServeHTTP(&spoiler{ResponseWriter: w, write: func(p []byte) (int, error) {
			written := 0
			for written < len(p) {
				n, err := w.Write(p[written:min(written+step, len(p))])
				written += n
				sent += int64(n)
				if err != nil {
					return written, err
				}
				due := time.Duration(float64(sent) / float64(bytesPerSecond) * float64(time.Second))
				if !pass(r, due-time.Since(start)) {
					return written, r.Context().Err()
				}
			}
			return written, nil
		}}, r)
	}
}

// pass waits for d; it is false when the client left.
func pass(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

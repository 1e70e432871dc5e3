package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Auth guards a registry with one user and password.
type Auth struct {
	user, password string

	mu     sync.Mutex
	ended  Fault // answers a token that is not good any more; nil for 401
	tokens map[string]bool
	issued int
}

// NewAuth accepts only that user.
func NewAuth(user, password string) *Auth {
	return &Auth{user: user, password: password, tokens: make(map[string]bool)}
}

func (a *Auth) ok(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == a.user && password == a.password
}

// Basic wants the user and password with every request.
func (a *Auth) Basic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.ok(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registrytest"`)
			unauthorized(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Bearer wants a token, which GET /token returns to the user with the password.
func (a *Auth) Bearer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if !a.ok(r) {
				unauthorized(w)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": a.issue()})
			return
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ended := a.endedBy(); token != "" && !a.valid(token) && ended != nil {
			ended(w, r, next)
			return
		}
		if !a.valid(token) {
			w.Header().Set("WWW-Authenticate",
				fmt.Sprintf(`Bearer realm="http://%s/token",service="registrytest"`, r.Host))
			unauthorized(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Ended answers, in place of 401, tokens that are not good any more.
func (a *Auth) Ended(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = f
}

func (a *Auth) endedBy() Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// Revoke makes all tokens so far invalid.
func (a *Auth) Revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}

// Issued returns the number of tokens so far.
func (a *Auth) Issued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued
}

func (a *Auth) issue() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued++
	token := fmt.Sprintf("token-%d", a.issued)
	a.tokens[token] = true
	return token
}

func (a *Auth) valid(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens[token]
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"errors": []map[string]string{{"code": "UNAUTHORIZED", "message": "authentication required"}},
	})
}

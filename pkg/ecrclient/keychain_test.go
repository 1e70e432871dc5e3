package ecrclient_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// logins is a world without credentials, in which a test puts some.
type logins struct {
	*registrytest.Server
	home string
}

func newLogins(t *testing.T, wrap ...func(http.Handler) http.Handler) *logins {
	l := &logins{Server: registrytest.Start(t, wrap...), home: t.TempDir()}
	l.PushImage(t, repository, "v1", registrytest.Image{})
	t.Setenv("HOME", l.home)
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	return l
}

// file writes a file below the home directory.
func (l *logins) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(l.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, strings.ReplaceAll(content, "HOST", l.Host()), 0o600)
	return path
}

func entry(key, password string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// Where credentials can stand, and which of them decides.
func TestLogins(t *testing.T) {
	right, wrong := entry("HOST", password), entry("HOST", "wrong")
	for _, row := range []struct {
		name  string
		files map[string]string
		env   map[string]string // of files, below the home directory
		ok    bool
	}{
		{"nothing", nil, nil, false},
		{"Docker's", map[string]string{".docker/config.json": right}, nil, true},
		{"REGISTRY_AUTH_FILE", map[string]string{"a/b.json": right},
			map[string]string{"REGISTRY_AUTH_FILE": "a/b.json"},
			true},
		{"REGISTRY_AUTH_FILE before Docker's", map[string]string{"a/b.json": right, ".docker/config.json": wrong},
			map[string]string{"REGISTRY_AUTH_FILE": "a/b.json"}, true},
		{"REGISTRY_AUTH_FILE of another host",
			map[string]string{"a/b.json": entry("other.example", "wrong"), ".docker/config.json": right},
			map[string]string{"REGISTRY_AUTH_FILE": "a/b.json"}, true},
		{"podman's", map[string]string{"run/containers/auth.json": right}, map[string]string{"XDG_RUNTIME_DIR": "run"},
			true},
		{"podman's, kept", map[string]string{".config/containers/auth.json": right}, nil, true},
		{"podman's, kept elsewhere", map[string]string{"conf/containers/auth.json": right},
			map[string]string{"XDG_CONFIG_HOME": "conf"}, true},
		{"Docker's before podman's", map[string]string{".docker/config.json": right, "run/containers/auth.json": wrong},
			map[string]string{"XDG_RUNTIME_DIR": "run"}, true},
		{"of the repository", map[string]string{"run/containers/auth.json": entry("HOST/"+repository, password)},
			map[string]string{"XDG_RUNTIME_DIR": "run"}, true},
		{"of a path to it, before that of the host",
			map[string]string{"run/containers/auth.json": strings.Replace(entry("HOST/team", password), "}}}",
				`},"HOST":{"auth":"`+base64.StdEncoding.EncodeToString([]byte(user+":wrong"))+`"}}}`, 1)},
			map[string]string{"XDG_RUNTIME_DIR": "run"}, true},
		{"wrong", map[string]string{".docker/config.json": wrong}, nil, false},
		{"an empty file", map[string]string{"a/b.json": ""}, map[string]string{"REGISTRY_AUTH_FILE": "a/b.json"},
			false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLogins(t, registrytest.NewAuth(user, password).Bearer)
			for name, content := range row.files {
				l.file(t, name, content)
			}
			for name, path := range row.env {
				t.Setenv(name, filepath.Join(l.home, path))
			}
			_, err := openParallel(t, l.Server).Resolve(t.Context(), "v1")
			if row.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkError(t, err, ecrclient.ErrDenied, 401)
			if want := `log in with "docker login ` + l.Host() + `"`; strings.Count(err.Error(), want) != 1 ||
				!strings.Contains(err.Error(), "REGISTRY_AUTH_FILE") {
				t.Errorf("%q does not say once %s", err, want)
			}
		})
	}
	t.Run("REGISTRY_AUTH_FILE that is not there", func(t *testing.T) {
		l := newLogins(t, registrytest.NewAuth(user, password).Basic)
		l.file(t, ".docker/config.json", right)
		t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(l.home, "none.json"))
		_, err := openParallel(t, l.Server).Resolve(t.Context(), "v1")
		if err == nil || !strings.Contains(err.Error(), "REGISTRY_AUTH_FILE") ||
			!strings.Contains(err.Error(), "none.json") {
			t.Errorf("got %v", err)
		}
	})
}

// A credential helper that is not installed matters only where the registry
// wants credentials, and none stand elsewhere.
func TestCredentialHelperMissing(t *testing.T) {
	const config = `{"credsStore":"soci-none","credHelpers":{"HOST":"soci-none"}}`
	auth := registrytest.NewAuth(user, password)
	for _, row := range []struct {
		name   string
		wrap   []func(http.Handler) http.Handler
		podman bool
		ok     bool
	}{
		{"anonymous", nil, false, true},
		{"Basic", []func(http.Handler) http.Handler{auth.Basic}, false, false},
		{"Bearer", []func(http.Handler) http.Handler{auth.Bearer}, false, false},
		{"logged in elsewhere", []func(http.Handler) http.Handler{auth.Basic}, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLogins(t, row.wrap...)
			path := l.file(t, ".docker/config.json", config)
			if row.podman {
				l.file(t, ".config/containers/auth.json", entry("HOST", password))
			}
			_, err := openParallel(t, l.Server).Resolve(t.Context(), "v1")
			if row.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkError(t, err, ecrclient.ErrDenied, 401)
			for _, want := range []string{"docker-credential-soci-none", path, l.Host(), "not installed"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
		})
	}
}

// Pulling may be free to everybody, and pushing not.
func TestUploadWithoutLogin(t *testing.T) {
	l := newLogins(t)
	l.Add(registrytest.Rule{Method: http.MethodPost,
		Fault: registrytest.Status(401, "UNAUTHORIZED", "authentication required")})
	content := noise(50, 1000)
	err := openParallel(t, l.Server).Push(t.Context(), describe("application/octet-stream", content),
		bytes.NewReader(content))
	checkError(t, err, ecrclient.ErrDenied, 401)
	if !strings.Contains(err.Error(), `docker login `+l.Host()) {
		t.Errorf("got %v", err)
	}
}

// A token that ends on the way is renewed, however the registry says so: of
// every request, and between the two of an upload.
func TestTokenEnds(t *testing.T) {
	for _, row := range []struct {
		name  string
		ended registrytest.Fault
		ok    bool
	}{
		{"401", nil, true},
		{"400, text", registrytest.Text(400, "Your authorization token has expired. Reauthenticate and try again."),
			true},
		{"400, JSON", registrytest.Status(400, "DENIED", "Your Authorization Token is invalid."), true},
		{"400, expired token", registrytest.Text(400, "expired token"), true},
		{"400 of another reason", registrytest.Text(400, "no token of appreciation. The request is invalid"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			auth := registrytest.NewAuth(user, password)
			auth.Ended(row.ended)
			f := &fixture{Server: registrytest.Start(t, auth.Bearer), layer: noise(3, 50_000)}
			f.img = f.PushImage(t, repository, "v1",
				registrytest.Image{Layers: []registrytest.Layer{{Content: f.layer}}})
			dockerConfig(t, f.Host())
			r := openParallel(t, f.Server)
			for _, c := range calls {
				if c.name == "push blob, PUT" {
					f.Add(registrytest.Rule{Method: http.MethodPost, Path: "/uploads/",
						Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
							next.ServeHTTP(w, r)
							auth.Revoke()
						}})
					content := noise(41, 5000)
					desc := describe("application/octet-stream", content)
					if err := r.Push(t.Context(), desc, bytes.NewReader(content)); (err == nil) != row.ok {
						t.Errorf("%s: %v", c.name, err)
					} else if row.ok && !bytes.Equal(f.Blob(t, repository, desc.Digest), content) {
						t.Error("something else was pushed")
					}
					f.Clear()
					continue
				}
				if err := c.run(t.Context(), r, f); err != nil && row.ok {
					t.Fatalf("%s: %v", c.name, err)
				}
				auth.Revoke()
				issued := auth.Issued()
				err := c.run(t.Context(), r, f)
				if row.ok && (err != nil || auth.Issued() == issued) {
					t.Errorf("%s with a token that has ended: %v", c.name, err)
				}
				if !row.ok && auth.Issued() != issued {
					t.Errorf("%s: a new token was asked for", c.name)
				}
			}
		})
	}
}

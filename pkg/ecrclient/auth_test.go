package ecrclient_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

const user, password = "robot", "hunter2-hunter2"

// dockerConfig makes the Docker configuration know one registry.
func dockerConfig(t *testing.T, host string) {
	t.Helper()
	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600)
	t.Setenv("DOCKER_CONFIG", dir)
}

func writeFile(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// All operations, on registries with each kind of authentication.
func TestAuthentication(t *testing.T) {
	given := func(_ context.Context, host string) (string, string, error) { return user, password, nil }
	for _, row := range []struct {
		name   string
		bearer bool
		opts   []ecrclient.Option
		docker bool
	}{
		{"Basic, Docker configuration", false, nil, true},
		{"Bearer, Docker configuration", true, nil, true},
		{"Basic, given", false, []ecrclient.Option{ecrclient.WithCredentials(given)}, false},
		{"Bearer, given", true, []ecrclient.Option{ecrclient.WithCredentials(given)}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			auth := registrytest.NewAuth(user, password)
			wrap := auth.Basic
			if row.bearer {
				wrap = auth.Bearer
			}
			f := &fixture{Server: registrytest.Start(t, wrap), layer: noise(3, 50_000)}
			f.img = f.PushImage(t, repository, "v1",
				registrytest.Image{Layers: []registrytest.Layer{{Content: f.layer}}})
			if row.docker {
				dockerConfig(t, f.Host())
			} else {
				t.Setenv("DOCKER_CONFIG", t.TempDir())
			}
			for _, c := range calls {
				if err := c.run(t.Context(), openParallel(t, f.Server, row.opts...), f); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			// One Repository keeps its token, until that is not valid any more.
			r := openParallel(t, f.Server, row.opts...)
			issued := auth.Issued()
			for range 3 {
				if _, err := r.Resolve(t.Context(), "v1"); err != nil {
					t.Fatal(err)
				}
			}
			if row.bearer && auth.Issued() != issued+1 {
				t.Errorf("%d tokens for one Repository", auth.Issued()-issued)
			}
			auth.Revoke()
			if _, err := r.Resolve(t.Context(), "v1"); err != nil {
				t.Errorf("with a revoked token: %v", err)
			}
		})
	}
}

func TestAuthenticationRefused(t *testing.T) {
	wrong := func(context.Context, string) (string, string, error) { return user, "wrong-wrong", nil }
	noHome := func(t *testing.T) { t.Setenv("DOCKER_CONFIG", ""); t.Setenv("HOME", "") }
	for _, row := range []struct {
		name  string
		opts  []ecrclient.Option
		setup func(*testing.T)
	}{
		{"wrong password", []ecrclient.Option{ecrclient.WithCredentials(wrong)}, nil},
		{"anonymous", nil, func(t *testing.T) { t.Setenv("DOCKER_CONFIG", t.TempDir()) }},
		{"anonymous, no home", nil, noHome},
	} {
		for _, bearer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bearer %t", row.name, bearer), func(t *testing.T) {
				if row.setup != nil {
					row.setup(t)
				}
				auth := registrytest.NewAuth(user, password)
				wrap := auth.Basic
				if bearer {
					wrap = auth.Bearer
				}
				s := registrytest.Start(t, wrap)
				s.PushImage(t, repository, "v1", registrytest.Image{})
				_, err := openParallel(t, s, row.opts...).Resolve(t.Context(), "v1")
				checkError(t, err, ecrclient.ErrDenied, 401)
				if strings.Contains(err.Error(), "wrong-wrong") || strings.Contains(err.Error(), "scope=") {
					t.Errorf("%q tells too much", err)
				}
			})
		}
	}
	t.Run("failing credentials", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
		broken := errors.New("vault is sealed")
		r := open(t, s, ecrclient.WithCredentials(func(context.Context, string) (string, string, error) {
			return "", "",
				broken
		}))
		if _, err := r.Resolve(t.Context(), "v1"); !errors.Is(err, broken) || s.Count("", "") != 1 {
			t.Errorf("got %v after %d requests", err, s.Count("", ""))
		}
	})
	t.Run("malformed Docker configuration", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "config.json"), "{", 0o600)
		t.Setenv("DOCKER_CONFIG", dir)
		if _, err := openParallel(t, s).Resolve(t.Context(), "v1"); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCredentialHelper(t *testing.T) {
	s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
	s.PushImage(t, repository, "v1", registrytest.Image{})
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"credHelpers":{%q:"soci-test"}}`, s.Host()), 0o600)
	writeFile(t, filepath.Join(dir, "docker-credential-soci-test"),
		fmt.Sprintf("#!/bin/sh\necho '{\"Username\":%q,\"Secret\":%q}'\n", user, password), 0o700)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := openParallel(t, s).Resolve(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

// Blobs are elsewhere, behind signed URLs: nobody there is shown the
// registry's credentials, and nobody here the signature.
func TestSignedURLs(t *testing.T) {
	content := noise(30, 50_000)
	start := func(t *testing.T) (*registrytest.Server, *registrytest.SignedURLs, *ecrclient.Repository, *bytes.Buffer) {
		s := registrytest.Start(t, registrytest.NewAuth(user, password).Basic)
		signed := registrytest.StartSignedURLs(t, s)
		s.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
			Fault: signed.RedirectBasic()})
		dockerConfig(t, s.Host())
		log := new(bytes.Buffer)
		r := openParallel(t, s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: attempts}),
			ecrclient.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		return s, signed, r, log
	}
	check := func(t *testing.T, signed *registrytest.SignedURLs, log *bytes.Buffer, err error) {
		t.Helper()
		if leaked := signed.Leaked(); len(leaked) > 0 {
			t.Errorf("the signed URLs' server was shown %+v", leaked)
		}
		if signed.Issued() == 0 || log.Len() == 0 {
			t.Error("nothing was redirected, or nothing logged")
		}
		for what, text := range map[string]string{"log": log.String(),
			"error": fmt.Sprintf("%v %+v %#v", err, err, err)} {
			for _, secret := range []string{registrytest.Signature, password,
				base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
				if strings.Contains(text, secret) {
					t.Errorf("the %s holds %q: %s", what, secret, text)
				}
			}
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), registrytest.Signature) {
				t.Errorf("within the error: %v", e)
			}
		}
	}

	t.Run("resumed with fresh URLs", func(t *testing.T) {
		s, signed, r, log := start(t)
		desc := s.PushBlob(t, repository, content)
		signed.Add(registrytest.Rule{Times: 3, Fault: registrytest.Truncate(10_000)})
		got, err := fetchAll(t.Context(), r, desc)
		if err != nil || !bytes.Equal(got, content) || signed.Issued() != 4 {
			t.Errorf("%d bytes with %d URLs: %v", len(got), signed.Issued(), err)
		}
		check(t, signed, log, err)
	})
	t.Run("a URL that expired on the way", func(t *testing.T) {
		s, signed, r, log := start(t)
		desc := s.PushBlob(t, repository, content)
		signed.Add(registrytest.Rule{Times: 2, Fault: registrytest.Status(403, "AccessDenied", "")})
		rc, err := r.FetchRange(t.Context(), desc, 5, 100)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readAll(t, rc), content[5:105]) || signed.Issued() != 3 {
			t.Errorf("%d URLs", signed.Issued())
		}
		check(t, signed, log, err)
	})
	for _, row := range []struct {
		name   string
		fault  registrytest.Fault
		class  error
		status int
	}{
		{"403", registrytest.Status(403, "AccessDenied",
			"see https://x.invalid/a?X-Amz-Signature="+registrytest.Signature),
			ecrclient.ErrDenied, 403},
		{"404", registrytest.Status(404, "NoSuchKey", ""), ecrclient.ErrNotFound, 404},
		{"503", registrytest.Status(503, "SlowDown", ""), ecrclient.ErrUnavailable, 503},
		{"reset", registrytest.Reset(), ecrclient.ErrUnavailable, 0},
		{"cut", registrytest.Truncate(0), ecrclient.ErrUnavailable, 0},
		{"wrong length", registrytest.Lengthen([]byte("+"), true), ecrclient.ErrDigestMismatch, 0},
		{"on to a bad URL", redirectTo("http://[::1/%zz?X-Amz-Signature=" + registrytest.Signature), nil, 0},
		{"on to a bad path", redirectTo("/a%zz?X-Amz-Signature=" + registrytest.Signature), nil, 0},
		{"on to another scheme", redirectTo("ftp://127.0.0.1/a?X-Amz-Signature=" + registrytest.Signature), nil, 0},
		{"round and round", redirectTo("/v2/again?X-Amz-Signature=" + registrytest.Signature), nil, 0},
		{"to a closed port", redirectTo("http://127.0.0.1:1/a?X-Amz-Signature=" + registrytest.Signature),
			ecrclient.ErrUnavailable, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, signed, r, log := start(t)
			desc := s.PushBlob(t, repository, content)
			signed.Add(registrytest.Rule{Fault: row.fault})
			_, err := fetchAll(t.Context(), r, desc)
			checkError(t, err, row.class, row.status)
			check(t, signed, log, err)
		})
	}
}

// The errors of oras-go and net/http do not contain a URL's query either,
// whatever it looks like.
func TestRedactOddQueries(t *testing.T) {
	for _, query := range []string{registrytest.Signature, "a=" + registrytest.Signature,
		"a=\"" + registrytest.Signature,
		"a='x'" + registrytest.Signature} {
		for name, answer := range map[string]registrytest.Fault{
			"no descriptor": registrytest.Both(registrytest.Header("Content-Type", "/"),
				registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))),
			"no answer": registrytest.Reset(), // net/http's
		} {
			t.Run(name+" "+query, func(t *testing.T) {
				s := registrytest.Start(t)
				s.PushImage(t, repository, "v1", registrytest.Image{})
				target := "/v2/" + repository + "/manifests/other"
				s.PushImage(t, repository, "other", registrytest.Image{})
				s.Add(
					registrytest.Rule{Path: "/manifests/v1", Fault: redirectTo(target + "?" + query)},
					registrytest.Rule{Path: "/manifests/other", Fault: answer},
				)
				_, err := open(t, s).Resolve(t.Context(), "v1")
				if err == nil || s.Count("", "/manifests/other") == 0 {
					t.Fatalf("got %v", err)
				}
				if strings.Contains(err.Error(), registrytest.Signature) {
					t.Errorf("got %v", err)
				}
				if e, ok := errors.AsType[*url.Error](err); ok && strings.Contains(e.Error(), registrytest.Signature) {
					t.Errorf("within it: %v", e)
				}
			})
		}
	}
}

func redirectTo(location string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// A registry that was reached over TLS cannot send its client to plain HTTP.
func TestRedirectToPlainHTTP(t *testing.T) {
	s := registrytest.Start(t)
	desc := s.PushBlob(t, repository, []byte("content"))
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL()+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r, err := ecrclient.New("registry.example/"+repository,
		ecrclient.WithEndpoint(front.URL), ecrclient.WithTransport(front.Client().Transport))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context(), desc); err == nil || s.Count("", "") != 0 {
		t.Errorf("got %v after %d plain requests", err, s.Count("", ""))
	}
}

// A registry elsewhere cannot have this machine ask itself, or the address where
// clouds hand out credentials.
func TestRedirectToThisMachine(t *testing.T) {
	for host, refused := range map[string]bool{
		"127.0.0.1": true, "127.1.2.3": true, "localhost": true, "LOCALHOST.": true, "a.localhost": true,
		"0.0.0.0": true,
		"[::1]":   true, "[::]": true, "[::ffff:127.0.0.1]": true, "[fe80::1%25eth0]": true, "169.254.169.254": true,
		"169.254.170.2": true, "[::ffff:169.254.169.254]": true, "[fd00:ec2::254]": true, "224.0.0.1": true,
		"[64:ff9b::127.0.0.1]": true, "[64:ff9b::a9fe:a9fe]": true, "[64:ff9b::203.0.113.1]": false,
		"10.0.0.1": false, "203.0.113.1": false, "[fd00::1]": false, "localhost.example": false,
	} {
		f := newFakeAWS(t)
		desc := f.PushBlob(t, repository, []byte("content"))
		f.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/",
			Fault: redirectTo("http://" + host + ":9/latest/meta-data/")})
		var asked []string
		transport := dialing(f.Host())
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":9") {
				asked = append(asked, address)
				return nil, errors.New("not in a test")
			}
			return dial(ctx, network, address)
		}
		r := f.open(t, ecrHost, ecrclient.WithOwnTokens(), ecrclient.WithTransport(transport),
			ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
		_, err := r.Fetch(t.Context(), desc)
		if err == nil || strings.Contains(err.Error(), "refused a redirect to") != refused ||
			(len(asked) == 0) != refused {
			t.Errorf("to %s: %v, with connections to %v", host, err, asked)
		}
	}
}

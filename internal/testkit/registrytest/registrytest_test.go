package registrytest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/registrytest"
)

const content = "0123456789abcdef"

func TestFaults(t *testing.T) {
	s := registrytest.Start(t)
	path := "/v2/app/blobs/" + s.PushBlob(t, "app", []byte(content)).Digest.String()
	for _, row := range []struct {
		name   string
		fault  registrytest.Fault
		status int
		body   string
		err    error // of reading the body
	}{
		{"none", nil, 200, content, nil},
		{"status", registrytest.Status(429, "TOOMANYREQUESTS", "slow down"), 429,
			`{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}` + "\n", nil},
		{"truncate", registrytest.Truncate(5), 200, "01234", io.ErrUnexpectedEOF},
		{"truncate at once", registrytest.Truncate(0), 200, "", io.ErrUnexpectedEOF},
		{"short", registrytest.Short(5), 200, "01234", nil},
		{"corrupt", registrytest.Corrupt(1), 200, "0\xce23456789abcdef", nil},
		{"longer", registrytest.Lengthen([]byte("+"), false), 200, content + "+", nil},
		{"longer, announced", registrytest.Lengthen([]byte("+"), true), 200, content + "+", nil},
		{"both", registrytest.Both(registrytest.Header("X-Test", "1"), registrytest.Truncate(3)), 200, "012",
			io.ErrUnexpectedEOF},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.Clear()
			if row.fault != nil {
				s.Add(registrytest.Rule{Method: http.MethodGet, Path: `/blobs/`, Skip: 1, Times: 1, Fault: row.fault})
				if status, body, err := get(t, s.URL()+path); status != 200 || body != content || err != nil {
					t.Fatalf("the request that is to pass: %d %q %v", status, body, err)
				}
			}
			status, body, err := get(t, s.URL()+path)
			if status != row.status || body != row.body || !errors.Is(err, row.err) {
				t.Errorf("got %d %q %v, want %d %q %v", status, body, err, row.status, row.body, row.err)
			}
			if status, body, err := get(t, s.URL()+path); status != 200 || body != content || err != nil {
				t.Errorf("after the fault: %d %q %v", status, body, err)
			}
		})
	}
}

func get(t *testing.T, url string) (int, string, error) {
	t.Helper()
	resp, err := registrytest.Client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestReset(t *testing.T) {
	s := registrytest.Start(t)
	s.Add(registrytest.Rule{Fault: registrytest.Reset()})
	resp, err := registrytest.Client.Post(s.URL()+"/v2/", "text/plain", strings.NewReader("x"))
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a reset connection", err)
	}
}

func TestSignedURLs(t *testing.T) {
	s := registrytest.Start(t)
	signed := registrytest.StartSignedURLs(t, s)
	s.Add(registrytest.Rule{Path: `/blobs/`, Fault: signed.Redirect()})
	url := s.URL() + "/v2/app/blobs/" + s.PushBlob(t, "app", []byte(content)).Digest.String()

	if status, body, err := get(t, url); status != 200 || body != content || err != nil {
		t.Fatalf("through the redirect: %d %q %v", status, body, err)
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("user", "password") // net/http keeps it: same host name
	resp, err := registrytest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || len(signed.Leaked()) != 1 {
		t.Errorf("with Authorization: status %d, %d leaks; want 403 and 1", resp.StatusCode, len(signed.Leaked()))
	}
	if s.Requests()[1].Authorization == "" {
		t.Error("the record of the request has no Authorization")
	}
}

func TestPushImage(t *testing.T) {
	for _, docker := range []bool{false, true} {
		s := registrytest.Start(t)
		amd := s.PushImage(t, "team/app", "", registrytest.Image{
			Docker: docker, Layers: []registrytest.Layer{{Content: []byte("one")}, {Content: []byte("two")}},
		})
		arm := s.PushImage(t, "team/app", "", registrytest.Image{Docker: docker, Platform: "linux/arm64/v8"})
		attestation := s.PushAttestation(t, "team/app", amd.Manifest)
		index := s.PushIndex(t, "team/app", "latest", docker, amd.Manifest, arm.Manifest, attestation.Manifest)
		if got := s.Manifest(t, "team/app", "latest"); int64(len(got)) != index.Size ||
			!bytes.Contains(got, []byte(arm.Manifest.Digest)) {
			t.Errorf("image index %q", got)
		}
		if got := s.Blob(t, "team/app", amd.Layers[1].Digest); string(got) != "two" {
			t.Errorf("layer %q", got)
		}
		if arm.Manifest.Platform.Variant != "v8" {
			t.Errorf("platform %+v", arm.Manifest.Platform)
		}
		if s.Manifest(t, "team/app", "missing") != nil {
			t.Error("a manifest that nobody pushed")
		}
		referrer := s.PushReferrer(t, "team/app", amd.Manifest, "application/vnd.test", []byte("r"))
		if referrer.MediaType != ocispec.MediaTypeImageManifest {
			t.Errorf("referrer %+v", referrer)
		}
		if len(s.Requests()) != 0 {
			t.Errorf("the pushes are in the record: %+v", s.Requests())
		}
	}
}

// A blob can be asked for once it is there, and read once a manifest names it.
func TestUnnamedBlob(t *testing.T) {
	s := registrytest.Start(t)
	layer := []byte("a layer")
	d := digest.FromBytes(layer)
	ask := func(method, path string, body []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/v2/app/blobs/"+path,
			bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := registrytest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if status := ask(http.MethodPost, "uploads/?digest="+d.String(), layer); status != http.StatusCreated {
		t.Fatalf("pushing: %d", status)
	}
	head, get := ask(http.MethodHead, d.String(), nil), ask(http.MethodGet, d.String(), nil)
	if head != http.StatusOK || get != http.StatusNotFound {
		t.Errorf("before: HEAD %d, GET %d", head, get)
	}
	s.PushManifest(t, "app", "v1", ocispec.MediaTypeImageManifest, fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%[2]q,"digest":%[3]q,"size":7},`+
			`"layers":[{"mediaType":%[2]q,"digest":%[3]q,"size":7}]}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageLayer, d))
	if status := ask(http.MethodGet, d.String(), nil); status != http.StatusOK {
		t.Errorf("afterwards: GET %d", status)
	}
}

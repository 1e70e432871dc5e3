package lambdaimage

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

const (
	repository = "team/filter"
	uri        = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/" + repository
)

// program is the head of a static executable, and text to tell it from others.
func program(t *testing.T, machine elf.Machine, interpreted bool, text string) []byte {
	t.Helper()
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Ehsize: 64, Phoff: 64,
		Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = 1
	p := elf.Prog64{Type: uint32(elf.PT_LOAD)}
	if interpreted {
		p.Type = uint32(elf.PT_INTERP)
	}
	var b bytes.Buffer
	for _, part := range []any{h, p, []byte(text)} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func zipped(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func build(t *testing.T, architecture, repository, text string) *Image {
	t.Helper()
	machine := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[architecture]
	i, err := New(architecture, repository, zipped(t, "bootstrap", program(t, machine, false, text)))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestNew(t *testing.T) {
	i := build(t, "arm64", uri, "one")
	if err := Check(i.Descriptor, i.Fetch); err != nil {
		t.Error(err)
	}
	again := build(t, "arm64", uri, "one")
	if again.Descriptor.Digest != i.Descriptor.Digest || !bytes.Equal(again.layer.content, i.layer.content) {
		t.Error("the same input has two digests")
	}
	for _, other := range []*Image{build(t, "amd64", uri, "one"), build(t, "arm64", uri+"2", "one"),
		build(t, "arm64", uri, "two")} {
		if other.Descriptor.Digest == i.Descriptor.Digest {
			t.Error("other input has the same digest")
		}
	}
	var c ocispec.Image
	if err := json.Unmarshal(i.config.content, &c); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%x", sha256.Sum256(program(t, elf.EM_AARCH64, false, "one")))[:12]
	if i.BuildID != id || c.Config.Labels["soci-index-builder.ecr"] != uri+":"+id {
		t.Errorf("the labels are %q, the build id %s, want %s", c.Config.Labels, i.BuildID, id)
	}
	if c.Config.Labels["soci-index-builder.skip"] != "true" {
		t.Errorf("the labels are %q", c.Config.Labels)
	}
	if i.Tag() != i.Descriptor.Digest.Encoded() || i.URI(uri) != uri+"@"+i.Descriptor.Digest.String() {
		t.Errorf("tag %s, URI %s", i.Tag(), i.URI(uri))
	}
}

// Without roots no function would trust AWS.
func TestRoots(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots()) {
		t.Fatal("the roots are no PEM file")
	}
	amazon, n := 0, 0
	for rest := roots(); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(c.Subject.CommonName, "Amazon Root CA ") {
			amazon++
		}
	}
	if n < 80 || amazon != 4 {
		t.Errorf("%d roots, %d of them Amazon's", n, amazon)
	}
	i := build(t, "amd64", uri, "one")
	var c ocispec.Image
	if err := json.Unmarshal(i.config.content, &c); err != nil {
		t.Fatal(err)
	}
	fs := files{}
	if _, err := fs.add(i.layer.content, c.RootFS.DiffIDs[0], 1<<20); err != nil {
		t.Fatal(err)
	}
	if fs["/etc/ssl/certs/ca-certificates.crt"] == nil || fs["/var/task/bootstrap"] == nil || len(fs) != 3+1+2+1 {
		t.Errorf("the layer has %v", fs)
	}
	if !strings.Contains(strings.Join(c.Config.Env, " "), "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt") {
		t.Errorf("the environment is %q", c.Config.Env)
	}
}

func TestNewRefuses(t *testing.T) {
	good := zipped(t, "bootstrap", []byte("x"))
	for name, tt := range map[string]struct {
		architecture string
		code         []byte
		want         error
	}{
		"Lambda's name of the architecture": {"x86_64", good, embedded.ErrArchitecture},
		"not a zip file":                    {"arm64", []byte("#!/bin/sh"), ErrZip},
		"nothing":                           {"arm64", nil, ErrZip},
		"cut short":                         {"arm64", good[:len(good)-10], ErrZip},
		"no bootstrap":                      {"arm64", zipped(t, "main", []byte("x")), ErrZip},
		"empty bootstrap":                   {"arm64", zipped(t, "bootstrap", nil), ErrZip},
	} {
		if _, err := New(tt.architecture, uri, tt.code); !errors.Is(err, tt.want) {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
		}
	}
	if len(embedded.Architectures()) == 0 {
		if _, err := Build("arm64", "filter", uri); !errors.Is(err, embedded.ErrNoFunctions) {
			t.Errorf("the error is %v, want ErrNoFunctions", err)
		}
	}
}

func open(t *testing.T, s *registrytest.Server) *ecrclient.Repository {
	t.Helper()
	r, err := ecrclient.New(s.Host()+"/"+repository, ecrclient.WithRetry(ecrclient.RetryPolicy{MinWait: 1, MaxWait: 2}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stored reads what a registry has.
func stored(t *testing.T, r *ecrclient.Repository) func(ocispec.Descriptor) ([]byte, error) {
	return func(d ocispec.Descriptor) ([]byte, error) {
		if strings.Contains(d.MediaType, "manifest") {
			return r.FetchManifest(t.Context(), d)
		}
		rc, err := r.Fetch(t.Context(), d)
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		return io.ReadAll(rc)
	}
}

func TestPush(t *testing.T) {
	s := registrytest.Start(t)
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.ImmutableTags(400, "TAG_INVALID")})
	r := open(t, s)
	i := build(t, "arm64", uri, "one")
	name, sent, err := i.Push(t.Context(), r)
	if err != nil || !sent || name != s.Host()+"/"+repository+"@"+i.Descriptor.Digest.String() {
		t.Fatalf("Push: %s, %t, %v", name, sent, err)
	}
	d, err := r.Resolve(t.Context(), i.Tag())
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(d, stored(t, r)); err != nil {
		t.Error(err)
	}
	s.Clear()
	if _, sent, err := i.Push(t.Context(), r); err != nil || sent {
		t.Errorf("the second Push: %t, %v", sent, err)
	}
	if all := s.Requests(); len(all) != 1 || all[0].Method != http.MethodHead {
		t.Errorf("the second Push asks %v", all)
	}

	// Of another image with the same executable's architecture only what is new
	// goes: for another repository the layer is the same.
	s.Clear()
	other := build(t, "arm64", uri+"2", "one")
	if _, sent, err := other.Push(t.Context(), r); err != nil || !sent {
		t.Errorf("Push: %t, %v", sent, err)
	}
	if n := s.Count(http.MethodPost, "/blobs/uploads/"); n != 1 {
		t.Errorf("%d blobs were sent, want the config alone", n)
	}

	// The generator leaves it alone.
	d, err = r.Resolve(t.Context(), i.Tag())
	if err != nil {
		t.Fatal(err)
	}
	result, err := soci.IndexImage(t.Context(), r, r, d, soci.Options{Tag: i.Tag()})
	if err != nil || result.Outcome() != soci.OutcomeOptedOut {
		t.Errorf("the generator makes of it %+v, %v", result, err)
	}
}

// The registry fails at every request in turn, for as long as an attempt lasts;
// no tag is there before all is, and the next run finishes.
func TestPushFails(t *testing.T) {
	i := build(t, "arm64", uri, "one")
	for name, rule := range map[string]registrytest.Rule{
		"asking": {Method: http.MethodHead, Path: "/manifests/", Fault: registrytest.Status(503, "", "")},
		"asking for blobs": {Method: http.MethodHead, Path: "/blobs/",
			Fault: registrytest.Status(429, "TOOMANYREQUESTS", "slow down")},
		"opening an upload": {Method: http.MethodPost, Fault: registrytest.Status(500, "", "")},
		"second blob":       {Method: http.MethodPut, Path: "/blobs/uploads/", Skip: 1, Fault: registrytest.Reset()},
		"manifest":          {Method: http.MethodPut, Path: "/manifests/", Fault: registrytest.Status(503, "", "")},
		"manifest, no rights": {Method: http.MethodPut, Path: "/manifests/",
			Fault: registrytest.Status(403, "DENIED", "no")},
		"repository not there": {Method: http.MethodPost,
			Fault: registrytest.Status(404, "NAME_UNKNOWN", "The repository does not exist")},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t)
			r := open(t, s)
			s.Add(rule)
			if _, sent, err := i.Push(t.Context(), r); err == nil || sent {
				t.Errorf("Push: %t, %v", sent, err)
			} else if e, ok := errors.AsType[*ecrclient.Error](err); !ok ||
				!strings.Contains(e.Repository, repository) {
				t.Errorf("the error is %v", err)
			}
			s.Clear()
			if there, err := i.There(t.Context(), r); err != nil || there {
				t.Errorf("There: %t, %v", there, err)
			}
			if _, sent, err := i.Push(t.Context(), r); err != nil || !sent {
				t.Errorf("the next Push: %t, %v", sent, err)
			}
		})
	}
	// Passing faults are nothing.
	s := registrytest.Start(t)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut} {
		s.Add(registrytest.Rule{Method: method, Times: 2, Fault: registrytest.Status(429, "TOOMANYREQUESTS", "")})
	}
	if _, sent, err := i.Push(t.Context(), open(t, s)); err != nil || !sent {
		t.Errorf("Push: %t, %v", sent, err)
	}
	// The answer to the manifest was lost, and the tag is immutable.
	s = registrytest.Start(t)
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/", Times: 1,
		Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}})
	s.Add(registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
		Fault: registrytest.ImmutableTags(400, "TAG_INVALID")})
	if _, sent, err := i.Push(t.Context(), open(t, s)); err != nil || !sent {
		t.Errorf("Push: %t, %v", sent, err)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestPushForeignTag(t *testing.T) {
	s := registrytest.Start(t)
	i := build(t, "arm64", uri, "one")
	s.PushImage(t, repository, i.Tag(), registrytest.Image{})
	if _, _, err := i.Push(t.Context(), open(t, s)); !errors.Is(err, ErrTag) {
		t.Errorf("the error is %v, want ErrTag", err)
	}
}

func TestWriteLayout(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "images", "filter")
	first, i := build(t, "arm64", uri, "one"), build(t, "arm64", uri, "two")
	for _, image := range []*Image{first, i, i} {
		if err := image.WriteLayout(folder); err != nil {
			t.Fatal(err)
		}
	}
	var index ocispec.Index
	content, err := os.ReadFile(filepath.Join(folder, "index.json"))
	if err == nil {
		err = json.Unmarshal(content, &index)
	}
	if err != nil || len(index.Manifests) != 1 || index.Manifests[0].Annotations[ocispec.AnnotationRefName] != i.Tag() {
		t.Fatalf("the index is %s, %v", content, err)
	}
	blobs, err := os.ReadDir(filepath.Join(folder, "blobs", "sha256"))
	if err != nil || len(blobs) != 3 {
		t.Errorf("%d blobs, %v", len(blobs), err)
	}
	err = Check(index.Manifests[0], func(d ocispec.Descriptor) ([]byte, error) {
		return os.ReadFile(filepath.Join(folder, "blobs", "sha256", d.Digest.Encoded()))
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.WriteLayout(folder); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("the error is %v", err)
	}
}

func TestCheckRepository(t *testing.T) {
	const account, region = "123456789012", "eu-west-1"
	if err := CheckRepository(uri, account, region); err != nil {
		t.Error(err)
	}
	if err := CheckRepository("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/x", account, "cn-north-1"); err != nil {
		t.Error(err)
	}
	for bad, text := range map[string]string{
		"": "must be", "team/filter": "must be", "ghcr.io/team/filter": "must be 123456789012.dkr.ecr.eu-west-1",
		"999999999999.dkr.ecr.eu-west-1.amazonaws.com/x":      "in account 999999999999",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/x":      "it is in us-east-1",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/x": "123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.eu-west-1.on.aws/x":             "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		uri + ":latest": "tag", uri + "@" + string(digest.FromString("")): "digest",
	} {
		if err := CheckRepository(bad, account, region); !errors.Is(err, ErrRepository) ||
			!strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error is %v, want %s", bad, err, text)
		}
	}
}

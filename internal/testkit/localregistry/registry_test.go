package localregistry_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/testkit/localregistry"
)

func TestRegistry(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct {
		name string
		cfg  localregistry.Config
	}{
		{"memory", localregistry.Config{}},
		{"directory", localregistry.Config{Dir: dir}},
	} {
		t.Run(row.name, func(t *testing.T) {
			reg, err := localregistry.New(row.cfg)
			if err != nil {
				t.Fatal(err)
			}
			content := "content of a blob"
			d := digest.FromString(content)
			base := reg.URL() + "/v2/team/app/blobs/"
			resp, err := http.Post(base+"uploads/?digest="+d.String(), "application/octet-stream",
				strings.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("push: status %d", resp.StatusCode)
			}
			resp, err = http.Get(base + d.String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != content {
				t.Fatalf("pull: %q, %v", got, err)
			}
			if err := reg.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			if resp, err := http.Get(reg.URL() + "/v2/"); err == nil {
				resp.Body.Close()
				t.Error("the registry still answers after Close")
			}
			if row.cfg.Dir != "" {
				stored := filepath.Join(dir, "team/app/blobs/sha256", d.Encoded())
				if _, err := os.Stat(stored); err != nil {
					t.Errorf("the blob is not in the directory: %v", err)
				}
			}
		})
	}
}

func TestNewRefusesBadDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"missing": file + "-not-there", "a file": file} {
		t.Run(name, func(t *testing.T) {
			if reg, err := localregistry.New(localregistry.Config{Dir: dir}); err == nil {
				reg.Close()
				t.Error("no error")
			} else if !strings.Contains(err.Error(), dir) {
				t.Errorf("%v does not name %s", err, dir)
			}
		})
	}
}

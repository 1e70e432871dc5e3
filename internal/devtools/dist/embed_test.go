package dist

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Package embedded finds in it what was put there: its own test says so.
func TestEmbedded(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, arch := range Architectures {
		if err := os.Mkdir(filepath.Join(folder, arch), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, function := range Functions {
			write(t, filepath.Join(folder, arch, function+".zip"), function+" for "+arch)
		}
	}
	flags, err := withFunctions(root, folder, t.TempDir(), Architectures)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go",
		append(append([]string{"test"}, flags...), "soci-index-builder/internal/embedded")...)
	cmd.Env = append(os.Environ(), "SOCI_TEST_EMBEDDED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// No file of it is left in the sources.
	if _, err := os.Stat(filepath.Join(root, "internal", "embedded", "functions")); !os.IsNotExist(err) {
		t.Errorf("the functions' folder is in the sources: %v", err)
	}
}

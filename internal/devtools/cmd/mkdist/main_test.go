package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/embedded/version"
)

func TestRunRefuses(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown architecture", []string{"-arch", "arm64,riscv64"}, `"riscv64" is not one of arm64, amd64`},
		{"no architecture", []string{"-arch", ""}, `"" is not one of`},
		{"version of no release", []string{"-version", "1.2.3"}, "only with -release"},
		{"version that is no name of a file", []string{"-release", "-version", "1/2"}, `invalid version "1/2"`},
		{"version that the stack would not have", []string{"-release", "-version", "999.2.3"},
			`version "999.2.3": internal/embedded/version has "`},
		{"candidate of another version", []string{"-release", "-version", "999.2.3-rc.1"},
			"internal/embedded/version has"},
		{"version with a v in front", []string{"-release", "-version", "v" + version.Version},
			"internal/embedded/version has"},
		{"installing a release", []string{"-install"}, "-install: takes no other flag"},
		{"argument", []string{"filter"}, `argument "filter"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "dist")
			err := run(t.Context(), append([]string{"-o", folder}, tt.args...), io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q in it", err, tt.want)
			}
			if _, err := os.Stat(folder); !os.IsNotExist(err) {
				t.Errorf("the folder was made: %v", err)
			}
		})
	}
}

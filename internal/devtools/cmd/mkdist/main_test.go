package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

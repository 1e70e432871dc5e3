package soci_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The engine knows neither AWS nor HTTP: it is given a source and a
// destination.
func TestImports(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 20 {
		t.Fatalf("only %d dependencies: %s", len(deps), out)
	}
	for _, dep := range deps {
		for _, bad := range []string{"net/http", "github.com/aws/", "oras.land/", "soci-index-builder/pkg/ecrclient"} {
			if strings.HasPrefix(dep, bad) {
				t.Errorf("pkg/soci depends on %s", dep)
			}
		}
	}
}

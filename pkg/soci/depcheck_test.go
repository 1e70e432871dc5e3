package soci_test

import (
	"testing"

	"soci-index-builder/internal/testkit/deptest"
)

// The engine knows neither AWS nor HTTP: it is given a source and a
// destination.
func TestImports(t *testing.T) {
	const why = "the engine is given a source and a destination, it opens none"
	deptest.Check(t, deptest.Forbidden{
		"net/http":                               why,
		"github.com/aws":                         why,
		"oras.land":                              why,
		deptest.Module + "/pkg/ecrclient":        why,
		"github.com/olareg/olareg":               why,
		"github.com/google/go-containerregistry": why,
	}, ".")
}

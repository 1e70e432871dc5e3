package registrytest

import (
	"testing"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// Index builds and pushes the SOCI indexes of the image under a tag, as a user
// would: over HTTP, with the faults that are set.
func (s *Server) Index(t testing.TB, repository, tag string, o soci.Options) *soci.Result {
	t.Helper()
	repo, err := ecrclient.New(s.Host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	image, err := repo.Resolve(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	result, err := soci.IndexImage(t.Context(), repo, repo, image, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

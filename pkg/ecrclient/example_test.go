package ecrclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/pkg/ecrclient"
)

// A repository of any registry is named as docker names it.
// Everything that is read is verified by its digest.
func ExampleNew() {
	ctx := context.Background()
	registry, err := localregistry.New(localregistry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer registry.Close()
	repo, err := ecrclient.New(registry.Host() + "/team/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	content := []byte("a blob")
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(content),
		Size: int64(len(content))}
	if err := repo.Push(ctx, desc, bytes.NewReader(content)); err != nil {
		fmt.Println(err)
		return
	}
	body, err := repo.Fetch(ctx, desc)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	fmt.Printf("%s, %v\n", got, err)
	// Output:
	// a blob, <nil>
}

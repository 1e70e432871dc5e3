package main

import (
	"context"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// cleanupWorld is what scripts about cleanup need:
//
//	indexas TOOL NAME:TAG            index an image as another build tool does
//	tag NAME:TAG TAG                 give an image another tag
//	undeletable NAME:TAG CODE TEXT   ECR does not delete it
type cleanupWorld struct {
	*world
	ecr *awstest.ECR
}

func (w *cleanupWorld) indexAs(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[1])
	repo, err := ecrclient.New(w.server.Host() + "/" + m[1])
	ts.Check(err)
	ctx := context.Background()
	image, err := repo.Resolve(ctx, m[2])
	ts.Check(err)
	_, err = soci.IndexImage(ctx, repo, repo, image, soci.Options{
		BuildToolIdentifier: args[0], IndexVersion: soci.Both, Tag: m[2], MinLayerSize: 1,
	})
	ts.Check(err)
}

func (w *cleanupWorld) tag(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	repo, err := ecrclient.New(w.server.Host() + "/" + m[1])
	ts.Check(err)
	desc, err := repo.Resolve(context.Background(), m[2])
	ts.Check(err)
	w.server.PushManifest(w.t, m[1], args[1], desc.MediaType, w.server.Manifest(w.t, m[1], m[2]))
}

func (w *cleanupWorld) undeletable(_ *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	w.ecr.Undeletable(m[1], digest.FromBytes(w.server.Manifest(w.t, m[1], m[2])), args[1], args[2])
}

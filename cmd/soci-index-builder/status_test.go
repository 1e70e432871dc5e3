package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
)

// statusWorld is what scripts about status tell of the images in ECR:
//
//	pushedat NAME:TAG DATE      when an image was pushed
//	oldimages NAME NUMBER DATE  so many images are listed that were pushed then
//	deny NAME                   the registry refuses everything of a repository
type statusWorld struct {
	t        *testing.T
	ecr      *awstest.ECR
	registry *registrytest.Server
}

func (w *statusWorld) pushedAt(ts *testscript.TestScript, _ bool, args []string) {
	at, err := time.Parse(time.DateOnly, args[1])
	ts.Check(err)
	m := nameTag.FindStringSubmatch(args[0])
	w.ecr.PushedAt(m[1], digest.FromBytes(w.registry.Manifest(w.t, m[1], m[2])), at)
}

func (w *statusWorld) oldImages(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	at, err := time.Parse(time.DateOnly, args[2])
	ts.Check(err)
	for i := range n {
		w.ecr.Images(args[0], awstest.Image{Tags: []string{fmt.Sprintf("old-%04d", i)}, PushedAt: at})
	}
}

func (w *statusWorld) deny(_ *testscript.TestScript, _ bool, args []string) {
	w.registry.Add(registrytest.Rule{Path: "^/v2/" + regexp.QuoteMeta(args[0]) + "/", Fault: registrytest.Status(http.StatusForbidden, "DENIED", "not for you")})
}

package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/soci"
)

// However long a reason is, WHY has the commands that it ends with as they can be
// pasted.
func TestStatusCommands(t *testing.T) {
	const more = "; its failure waits in the failure queue: soci-index-builder redrive --stack s --image team/app:1"
	for host, want := range map[string]string{
		"": " --region eu-west-1 --profile work team/app",
		"210987654321.dkr.ecr.us-east-1.amazonaws.com": " --profile work " +
			"210987654321.dkr.ecr.us-east-1.amazonaws.com/team/app",
		"registry.example": " --plain-http=false registry.example/team/app",
	} {
		var b strings.Builder
		registry := &registryFlags{flag: &pflag.Flag{Changed: true}}
		s := newStatusText(&b, false, &awsFlags{region: "eu-west-1", profile: "work"}, registry)
		r := &inventory.Record{Image: inventory.Image{Repository: "team/app"}, Tag: "1",
			State: inventory.StateIncomplete, Reason: strings.Repeat("r", 1000), Surplus: 2}
		if err := s.record(host, nil, r, more); err != nil {
			t.Fatal(err)
		}
		if err := s.end(nil); err != nil {
			t.Fatal(err)
		}
		row := strings.Split(b.String(), "\n")[1]
		want = strings.Repeat("r", 300) + "..." + more + "; 2 surplus SOCI indexes v1, clients may choose any: " +
			"delete with: soci-index-builder cleanup --surplus --yes" + want
		if !strings.HasSuffix(row, " "+want) {
			t.Errorf("%q: the row is %q, want at its end %q", host, row, want)
		}
	}
}

// statusWorld is what scripts about status tell of the images in ECR:
//
//	pushedat NAME:TAG DATE      when an image was pushed
//	oldimages NAME NUMBER DATE  NUMBER images are listed that were pushed then
//	archived NAME TAG STATUS    an image in ECR's archive storage class is listed
//	deny NAME                   the registry refuses everything of a repository
//	ztocs NAME missing|damaged  the zTOCs of a repository are, until they are pushed again
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

func (w *statusWorld) archived(_ *testscript.TestScript, _ bool, args []string) {
	w.ecr.Images(args[0], awstest.Image{Tags: []string{args[1]}, PushedAt: time.Now(), Archived: true, Status: args[2]})
}

func (w *statusWorld) deny(_ *testscript.TestScript, _ bool, args []string) {
	w.registry.Add(registrytest.Rule{Path: "^/v2/" + regexp.QuoteMeta(args[0]) + "/",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "not for you")})
}

func (w *statusWorld) ztocs(ts *testscript.TestScript, _ bool, args []string) {
	method, fault := "", registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", "")
	if args[1] == "damaged" {
		method, fault = http.MethodGet, registrytest.Corrupt(100)
	}
	var pushed sync.Map
	w.registry.Add(registrytest.Rule{Method: http.MethodPut, Path: "^/v2/" + args[0] + "/blobs/uploads/",
		Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			pushed.Store(r.URL.Query().Get("digest"), true)
			next.ServeHTTP(rw, r)
		}})
	for _, stored := range w.registry.Stored() {
		b := w.registry.Manifest(w.t, stored.Repository, stored.Digest.String())
		m, err := soci.ParseIndex(b)
		if stored.Repository != args[0] || b == nil || err != nil {
			continue
		}
		for _, ztoc := range m.Layers {
			path := "^/v2/" + args[0] + "/blobs/" + ztoc.Digest.String() + "$"
			w.registry.Add(registrytest.Rule{Method: method, Path: path,
				Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if _, ok := pushed.Load(ztoc.Digest.String()); ok {
						next.ServeHTTP(rw, r)
						return
					}
					fault(rw, r, next)
				}})
		}
	}
}

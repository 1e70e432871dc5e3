package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/internal/testkit/testlayers"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func TestMain(m *testing.M) {
	os.Exit(withProgram(m))
}

// withProgram runs the tests with the program that they call in front of PATH. It
// is one of its own, since the test's executable links a registry that takes
// longer to start than most calls take.
func withProgram(m *testing.M) int {
	folder, err := os.MkdirTemp("", programName)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	build := exec.Command("go", "build", "-tags", "scripted", "-o", filepath.Join(folder, programName), ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	os.Setenv("PATH", folder+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return m.Run()
}

var updateScripts = flag.Bool("update", false, "write into the scripts what cmp finds different")

// Each script is a session at a terminal. It has a registry of its own, at
// $REGISTRY, and these commands beside those of testscript:
//
//	image REF [-platform P] LAYER...  push an image of layers of testlayers
//	imageindex REF REF...             push an image index of images
//	layer FILE LAYER [BYTES]          write a layer, or its first bytes, to a file
//	tamper REF WHAT                   give REF's image a SOCI index with WHAT wrong, or with a prefetch artifact
//	usage COMMAND...                  must end with exit code 2, and one line
//	failure COMMAND...                must end with exit code 1, and one line
//	exits CODE COMMAND...             must end with that exit code
//	capture NAME REGEXP               set $NAME to what the last output has in ( )
//
// $CLOSED is an address where nobody listens, $HTTPS one that takes only TLS. The commands of awsWorld,
// logsWorld, statusWorld, deployWorld, accountWorld and habitWorld, and those of imagefile_test.go,
// are there too.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	layers := storedLayers(t)
	rights := newRights(t, len(files))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			asked := &askedOfRegistry{}
			registry := registrytest.Start(t, asked.wrap)
			aws := newAWSWorld(awstest.Start(t), registry)
			logs := newLogsWorld(aws.server)
			queue := newQueueWorld(aws.server)
			functions := &functionsWorld{t: t, server: aws.server, registry: registry, ecr: aws.ecr, queue: queue,
				logs: logs.logs}
			deploy := &deployWorld{t: t, aws: aws}
			account := &accountWorld{t: t, aws: aws, s3: awstest.NewS3()}
			status := &statusWorld{t: t, ecr: aws.ecr, registry: registry}
			w := &world{t: t, server: registry, layers: layers, pushed: map[string]registrytest.Pushed{}}
			watch := &stopwatch{}
			remove := &cleanupWorld{world: w, ecr: aws.ecr}
			t.Cleanup(func() { rights.script(t, account.account != nil, aws.server.Requests(), asked) })
			testscript.Run(t, testscript.Params{
				Files:               []string{file},
				RequireExplicitExec: true,
				UpdateScripts:       *updateScripts,
				Setup: func(e *testscript.Env) error {
					e.Setenv("REGISTRY", w.server.Host())
					e.Setenv("CLOSED", closedAddress(t))
					e.Setenv("HTTPS", httpsAddress(t))
					e.Setenv("GOGC", "400") // a thousand short runs
					for name, value := range aws.server.Env() {
						e.Setenv(name, value)
					}
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"image": w.image, "imageindex": w.imageIndex, "layer": w.layer, "tamper": w.tamper,
					"capture": capture,
					"archive": archive, "dockersave": w.dockerSave,
					"usage": usage, "failure": failure, "exits": exits,
					"stack": aws.stack, "awsfail": aws.fail,
					"execution": aws.execution, "ended": aws.ended,
					"indexas": remove.indexAs, "tag": remove.tag, "undeletable": remove.undeletable,
					"pushedat": status.pushedAt, "oldimages": status.oldImages, "archived": status.archived,
					"deny":    status.deny,
					"ztocs":   status.ztocs,
					"message": queue.message, "queued": queue.queued, "invoked": queue.invoked, "await": queue.await,
					"refuse":    queue.refuse,
					"functions": functions.functions, "logged": functions.logged, "lose": functions.lose,
					"images": functions.images,
					"pushed": functions.pushed, "readonly": functions.readOnly, "repair": functions.repair,
					"deploy": deploy.deploy, "drift": deploy.drift, "waiting": deploy.waiting, "metric": deploy.metric,
					"account": account.open, "bucket": account.bucket, "ecrrepository": account.ecrRepository,
					"damage": account.damage, "signs": account.signs,
					"old": account.old, "spoil": account.spoil, "noaccountregional": account.noAccountRegional,
					"failresource": account.failResource,
					"logline":      account.logLine, "begin": account.begin, "hold": account.hold,
					"stackis":  account.stackIs,
					"uploaded": account.uploaded, "asked": account.asked, "cloudformation": account.cloudFormation,
					"review": account.review, "repository": account.repository, "imagesin": account.imagesIn,
					"protected": account.protected, "events": account.events, "throttle": account.throttle,
					"sleeps":    account.sleeps,
					"stopwatch": watch.start, "waited": watch.waited,
					"habit":     (&habitWorld{registry}).habit,
					"loggroups": logs.groups, "logrows": logs.rows, "logqueries": logs.queries,
					"loglines": logs.lines,
				},
			})
		})
	}
}

func storedLayers(t *testing.T) map[string][]byte {
	t.Helper()
	all, err := testlayers.Stored()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string][]byte{}
	for _, l := range all {
		byName[l.Name] = l.Blob()
	}
	for _, bad := range testlayers.UnsupportedLayers() {
		byName["unsupported/"+bad.Name] = bad.Blob
	}
	return byName
}

// closedAddress is one that was just given up.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// httpsAddress is of a server that has nothing.
func httpsAddress(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

type world struct {
	t      *testing.T
	server *registrytest.Server
	layers map[string][]byte
	pushed map[string]registrytest.Pushed // by NAME:TAG
}

// blob returns a stored layer, or the content of a file that begins with "./".
func (w *world) blob(ts *testscript.TestScript, name string) []byte {
	if strings.HasPrefix(name, "./") {
		return []byte(ts.ReadFile(name))
	}
	b, ok := w.layers[name]
	if !ok {
		ts.Fatalf("no stored layer %s", name)
	}
	return b
}

var nameTag = regexp.MustCompile(`^(.+):([^:/]+)$`)

func (w *world) image(ts *testscript.TestScript, _ bool, args []string) {
	ref := args[0]
	img := registrytest.Image{}
	args = args[1:]
	if args[0] == "-platform" {
		img.Platform, args = args[1], args[2:]
	}
	for _, name := range args {
		layer := registrytest.Layer{Content: w.blob(ts, name)}
		if strings.HasSuffix(name, "/zstd") {
			layer.MediaType = ocispec.MediaTypeImageLayerZstd
		}
		img.Layers = append(img.Layers, layer)
	}
	m := nameTag.FindStringSubmatch(ref)
	w.pushed[ref] = w.server.PushImage(w.t, m[1], m[2], img)
}

func (w *world) imageIndex(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	var all []registrytest.Pushed
	for _, ref := range args[1:] {
		all = append(all, w.pushed[ref])
	}
	all = append(all, w.server.PushAttestation(w.t, m[1], all[0].Manifest))
	manifests := make([]ocispec.Descriptor, len(all))
	for i, p := range all {
		manifests[i] = p.Manifest
	}
	w.server.PushIndex(w.t, m[1], m[2], false, manifests...)
}

func (w *world) layer(ts *testscript.TestScript, _ bool, args []string) {
	b := w.blob(ts, args[1])
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		b = b[:n]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// tamper indexes an image with one thing wrong in the first zTOC.
func (w *world) tamper(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	p := w.pushed[args[0]]
	repo, err := ecrclient.New(w.server.Host() + "/" + m[1])
	ts.Check(err)
	keep := &keeper{content: map[digest.Digest][]byte{}}
	result, err := soci.IndexImage(context.Background(), repo, keep, p.Manifest,
		soci.Options{SpanSize: 64 << 10, MinLayerSize: 1})
	ts.Check(err)
	old := result.Manifests[0].Layers[0].Ztoc
	z, err := soci.ParseZtoc(keep.content[old.Digest])
	ts.Check(err)
	switch args[1] {
	case "window":
		z.Checkpoints[1].Window[7] ^= 1
	case "digest":
		z.SpanDigests[1] = digest.FromString("another")
	case "size":
		for i := range z.Entries {
			if z.Entries[i].Type == "reg" && z.Entries[i].Size > 0 {
				z.Entries[i].Size--
				break
			}
		}
	case "lost", "prefetch": // below
	default:
		ts.Fatalf("nothing known about tampering with %s", args[1])
	}
	b, err := z.Marshal()
	ts.Check(err)
	index, err := soci.ParseIndex(keep.content[result.Manifests[0].Index.Digest])
	ts.Check(err)
	index.Layers[0].Digest, index.Layers[0].Size = digest.FromBytes(b), int64(len(b))
	others := index.Layers[1:]
	if args[1] == "prefetch" {
		prefetch := w.server.PushBlob(w.t, m[1],
			[]byte(`{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":1}]}`))
		prefetch.MediaType = soci.PrefetchMediaType
		prefetch.Annotations = map[string]string{soci.AnnotationLayerDigest: p.Layers[0].Digest.String()}
		index.Layers = append(index.Layers, prefetch)
	}
	raw, err := json.Marshal(index)
	ts.Check(err)
	w.server.PushBlob(w.t, m[1], []byte("{}"))
	w.server.PushBlob(w.t, m[1], b)
	if args[1] == "lost" {
		w.server.Add(registrytest.Rule{
			Path:  m[1] + "/blobs/" + index.Layers[0].Digest.String(),
			Fault: registrytest.Status(http.StatusNotFound, "BLOB_UNKNOWN", ""),
		})
	}
	for _, other := range others {
		w.server.PushBlob(w.t, m[1], keep.content[other.Digest])
	}
	w.server.PushManifest(w.t, m[1], "", index.MediaType, raw)
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("nothing matches %s in\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], m[1])
}

// exits runs a command that ends with an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if code, _ := strconv.Atoi(args[0]); !errors.As(err, &exit) || exit.ExitCode() != code {
		ts.Fatalf("%q ended with %v, want exit code %s", args[1:], err, args[0])
	}
}

// usage runs a command line that is wrong.
func usage(ts *testscript.TestScript, _ bool, args []string) { toldInOneLine(ts, exitUsage, args) }

// failure runs a command that cannot do what it is to do.
func failure(ts *testscript.TestScript, _ bool, args []string) { toldInOneLine(ts, exitFailure, args) }

// raw is what libraries say, and no person is to read.
var raw = regexp.MustCompile(
	`goroutine|panic|strconv\.|json: (cannot|unexpected|invalid)|invalid character|[uU]nmarshal|%!|dial tcp|<nil>|` +
		`archive/tar|Exception|Go struct|failed to decode`)

// toldInOneLine runs a command that must end with an exit code and one line, in plain
// words.
func toldInOneLine(ts *testscript.TestScript, code int, args []string) {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		ts.Fatalf("%v, want exit code %d", err, code)
	}
	if words := raw.FindString(ts.ReadFile("stderr")); words != "" {
		ts.Fatalf("%q is a library's word", words)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("the standard output has %q", out)
	}
	if text := ts.ReadFile("stderr"); strings.Count(text, "\n") != 1 ||
		!regexp.MustCompile(`^`+programName+`( [a-z]+)*:? `).MatchString(text) {
		ts.Fatalf("not one line: %q", text)
	}
}

// keeper is a destination that keeps what is pushed to it.
type keeper struct {
	mu      sync.Mutex
	content map[digest.Digest][]byte
}

func (*keeper) Exists(context.Context, ocispec.Descriptor) (bool, error) { return false, nil }

func (k *keeper) Push(_ context.Context, desc ocispec.Descriptor, content io.Reader) error {
	b, err := io.ReadAll(content)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.content[desc.Digest] = b
	return err
}

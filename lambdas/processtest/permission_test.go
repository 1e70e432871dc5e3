package processtest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/report"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/localregistry"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/lambdas/filter/eventfilter"
	"soci-index-builder/lambdas/indexgen/generator"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// guard is IAM: it lets a function do what its role may, and denies the rest.
// An unexpected denial fails the test.
type guard struct {
	t        *testing.T
	function string

	mu   sync.Mutex
	used map[string]bool // actions that were asked for
}

func newGuard(t *testing.T, function string) *guard {
	return &guard{t: t, function: function, used: map[string]bool{}}
}

func has(needs []permission.Need, action string) bool {
	return slices.ContainsFunc(needs, func(n permission.Need) bool { return n.Action == action })
}

// allow notes the actions of a request and tells whether the role has them.
func (g *guard) allow(request string, actions ...string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := true
	for _, action := range actions {
		g.used[action] = true
		if has(permission.Functions[g.function], action) {
			continue
		}
		all = false
		if !has(permission.Withheld[g.function], action) {
			g.t.Errorf("%s: %s needs %s, which is not on the list of the function's rights", g.function, request,
				action)
		}
	}
	return all
}

// registry stands before a registry.
func (g *guard) registry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := r.Method + " " + r.URL.Path
		actions, err := permission.OfRequest(r.Method, r.URL.Path)
		if err != nil {
			g.t.Error(err)
		}
		if err != nil || !g.allow(request, actions...) {
			registrytest.Status(http.StatusForbidden, "DENIED",
				"User is not authorized to perform: "+strings.Join(actions, ", "))(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// calls notes what was asked of AWS.
func (g *guard) calls(server *awstest.Server) {
	for _, r := range server.Requests() {
		action := permission.OfCall(r.Call())
		if action == "" {
			g.t.Errorf("%s: no action of IAM is known for %s %s", g.function, r.Service, r.Operation)
			continue
		}
		g.allow(r.Service+" "+r.Operation, action)
	}
}

// account is all that the generator talks to, behind its role.
type account struct {
	*registrytest.Server
	*guard
	aws     *awstest.Server
	queue   *awstest.SQS
	options soci.Options

	handOver bool // every image
}

func newAccount(t *testing.T, g *guard, cfg localregistry.Config) *account {
	a := &account{
		Server: registrytest.StartWith(t, cfg, g.registry), guard: g, aws: awstest.Start(t),
		queue:   awstest.NewSQS(time.Now),
		options: soci.Options{MinLayerSize: 64 << 10, SpanSize: 64 << 10, IndexVersion: soci.Both, TagUnindexed: true},
	}
	a.aws.Handle("ecr", awstest.NewECR(a.Server))
	a.aws.Handle("sqs", a.queue)
	a.aws.Handle("states", new(awstest.States))
	a.aws.Handle("events",
		awstest.JSON(map[string]func([]byte) (any, error){"PutEvents": func(body []byte) (any, error) {
			return map[string]any{"FailedEntryCount": 0, "Entries": []map[string]string{{"EventId": "1"}}}, nil
		}}))
	return a
}

// handle runs the generator on one event.
func (a *account) handle(t *testing.T, event []byte) *report.Image {
	t.Helper()
	cfg := a.aws.Config()
	// Every ECR host is the test's registry.
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.Contains(address, ".ecr.") {
			address = a.Host()
		}
		return new(net.Dialer).DialContext(ctx, network, strings.Replace(address, registrytest.Storage, "127.0.0.1", 1))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	h := &generator.Handler{
		Open: func(_ context.Context, e *ecrevent.Event) (generator.Repository, error) {
			host, err := ecrclient.RegistryHost(e.Account, e.Region)
			if err != nil {
				return nil, err
			}
			return ecrclient.New(host+"/"+e.Detail.RepositoryName, ecrclient.WithAWSConfig(cfg),
				ecrclient.WithPlainHTTP(true),
				ecrclient.WithTransport(transport), ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
		},
		Options: a.options,
		Logger:  slog.New(slog.DiscardHandler),
		Queue:   failurequeue.Open(cfg, a.queue.URL),
		Bus:     announce.Open(cfg, "default"),
	}
	if a.function == "steps" {
		return doSteps(t, &generator.Steps{Handler: h}, event)
	}
	if a.handOver {
		h.FanOut = &generator.FanOut{Starter: fanout.Open(cfg, awstest.StateMachineARN), From: 1}
	}
	r, err := h.Handle(t.Context(), event)
	if err != nil {
		t.Fatalf("under its rights the generator fails: %v", err)
	}
	return r
}

// doSteps does what the state machine has done.
func doSteps(t *testing.T, s *generator.Steps, event []byte) *report.Image {
	t.Helper()
	step := func(name string, more map[string]any) (any, error) {
		request := map[string]any{"step": name, "event": json.RawMessage(event)}
		maps.Copy(request, more)
		b, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		return s.Handle(t.Context(), b)
	}
	fail := func(err error) *report.Image {
		f := failure.Of(err)
		r, err := step("fail", map[string]any{"error": f.Reason, "cause": f.Error()})
		if err != nil {
			t.Fatalf("under its rights the steps fail: %v", err)
		}
		return r.(*report.Image)
	}
	answer, err := step("plan", nil)
	if err != nil {
		return fail(err)
	}
	b, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	items := decode[struct{ Items []fanout.Item }](t, b).Items
	results := []any{}
	for _, item := range items {
		r, err := step("layer", map[string]any{"layer": item})
		if err != nil {
			return fail(err)
		}
		results = append(results, r)
	}
	if answer, err = step("publish", map[string]any{"items": items, "results": results}); err != nil {
		return fail(err)
	}
	return answer.(*report.Image)
}

// eventOf is push in the account of awstest.
func eventOf(t *testing.T, d digest.Digest, tag, artifactType string) []byte {
	return bytes.ReplaceAll(push(t, d, tag, artifactType), []byte("us-west-2"), []byte(awstest.Region))
}

// The generator's role allows everything that the generator does, and nothing
// else.
func TestGeneratorPermissions(t *testing.T) {
	big := func(seed uint64) registrytest.Layer { return layer(t, seed, 200<<10) }
	small := layer(t, 99, 100)
	image := func(layers ...registrytest.Layer) registrytest.Image { return registrytest.Image{Layers: layers} }
	index := func(t *testing.T, a *account, docker bool, tag string) digest.Digest {
		one := image(big(1), small)
		one.Docker = docker
		p := a.PushImage(t, repository, "", one)
		manifests := []ocispec.Descriptor{p.Manifest,
			a.PushImage(t, repository, "",
				registrytest.Image{Platform: "linux/arm64", Layers: []registrytest.Layer{big(2)}}).Manifest}
		if !docker {
			manifests = append(manifests, a.PushAttestation(t, repository, p.Manifest).Manifest)
		}
		return a.PushIndex(t, repository, tag, docker, manifests...).Digest
	}
	flows := []struct {
		name string
		cfg  localregistry.Config
		run  func(t *testing.T, a *account) *report.Image
		want soci.Outcome
	}{
		{"both versions of a multi-platform image", localregistry.Config{},
			func(t *testing.T, a *account) *report.Image {
				return a.handle(t, eventOf(t, index(t, a, false, "v1"), "v1", ""))
			}, soci.OutcomeIndexed},
		{"handed over, twice", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			a.handOver = true
			event := eventOf(t, index(t, a, false, "v1"), "v1", "")
			a.handle(t, event)
			return a.handle(t,
				append([]byte(" "), event...)) // the same event with other bytes: the execution is looked at
		}, generator.OutcomeHandedOver},
		{"V1 alone", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			a.options.IndexVersion = soci.V1
			return a.handle(t, eventOf(t, index(t, a, false, "v1"), "v1", ""))
		}, soci.OutcomeIndexed},
		{"V2 alone, Docker's media types", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			a.options.IndexVersion = soci.V2
			return a.handle(t, eventOf(t, index(t, a, true, "v1"), "v1", ""))
		}, soci.OutcomeIndexed},
		{"without a tag", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			return a.handle(t, eventOf(t, index(t, a, false, ""), "", ""))
		}, soci.OutcomeIndexed},
		{"the same event twice", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			event := eventOf(t, index(t, a, false, "v1"), "v1", "")
			a.handle(t, event)
			return a.handle(t, event)
		}, soci.OutcomeIndexed},
		{"zTOCs of an earlier image", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", image(big(1), big(2))).Manifest.Digest, "v1", ""))
			r := a.handle(t,
				eventOf(t, a.PushImage(t, repository, "v2", image(big(1), big(3))).Manifest.Digest, "v2", ""))
			if a.aws.Count("ecr", "DescribeImages") == 0 {
				t.Error("no SOCI index was looked for")
			}
			return r
		}, soci.OutcomeIndexed},
		{"all layers anew", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			event := eventOf(t, a.PushImage(t, repository, "v1", image(big(1))).Manifest.Digest, "v1", "")
			a.handle(t, event)
			a.options.Force = true
			return a.handle(t, event)
		}, soci.OutcomeIndexed},
		{"layers behind signed URLs", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			redirect := registrytest.StartSignedURLs(t, a.Server).Elsewhere().Redirect()
			a.Add(registrytest.Rule{Method: http.MethodGet, Path: "/blobs/sha256:",
				Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					a.registry(
						http.HandlerFunc(func(w http.ResponseWriter,
							r *http.Request) {
							redirect(w, r, next)
						})).ServeHTTP(w, r)
				}})
			return a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", image(big(1))).Manifest.Digest, "v1", ""))
		}, soci.OutcomeIndexed},
		{"only small layers", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			return a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", image(small)).Manifest.Digest, "v1", ""))
		}, soci.OutcomeNoLayer},
		{"opted out", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			one := image(big(1))
			one.Config = []byte(`{"architecture":"amd64","os":"linux","config":{"Labels":{"` + soci.LabelSkip +
				`":"true"}},"rootfs":{"type":"layers","diff_ids":[]}}`)
			return a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", one).Manifest.Digest, "v1", ""))
		}, soci.OutcomeOptedOut},
		{"the tag names another image by now", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			a.options.IndexVersion = soci.V2
			first := a.PushImage(t, repository, "v1", image(big(1))).Manifest.Digest
			a.PushImage(t, repository, "v1", image(big(2)))
			return a.handle(t, eventOf(t, first, "v1", ""))
		}, soci.OutcomeSuperseded},
		{"deleted meanwhile", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			return a.handle(t, eventOf(t, digest.FromString("gone"), "v1", ""))
		}, generator.OutcomeImageGone},
		{"a SOCI index", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			return a.handle(t, eventOf(t, digest.FromString("x"), "", soci.ArtifactTypeV1))
		}, soci.OutcomeOwnArtifact},
		{"a SOCI-enabled image", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			r := a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", image(big(1))).Manifest.Digest, "v1", ""))
			return a.handle(t, eventOf(t, r.SociDigest, "", ""))
		}, soci.OutcomeOwnArtifact},
		{"a failure for good", localregistry.Config{}, func(t *testing.T, a *account) *report.Image {
			broken := big(1)
			broken.Content[len(broken.Content)/2] ^= 0xff
			r := a.handle(t, eventOf(t, a.PushImage(t, repository, "v1", image(broken)).Manifest.Digest, "v1", ""))
			if a.aws.Count("sqs", "SendMessage") != 1 || a.aws.Count("events", "PutEvents") != 1 {
				t.Errorf("calls %+v, want one message and one announcement", a.aws.Requests())
			}
			return r
		}, soci.OutcomeFailed},
		// ECR has the referrers API. Where it is missing, the old list of
		// referrers stays, and all else goes well.
		{"a registry without the referrers API", localregistry.Config{NoReferrers: true},
			func(t *testing.T, a *account) *report.Image {
				p := a.PushImage(t, repository, "v1", image(big(1)))
				a.handle(t, eventOf(t, p.Manifest.Digest, "v1", ""))
				a.options.SpanSize = 128 << 10 // another SOCI index
				a.options.Force = true
				return a.handle(t, eventOf(t, p.Manifest.Digest, "v1", ""))
			}, soci.OutcomeIndexed},
	}
	for _, function := range []string{"indexgen", "steps"} {
		used := map[string]bool{}
		for _, flow := range flows {
			if function == "steps" && flow.want == generator.OutcomeHandedOver {
				continue // it hands nothing over
			}
			t.Run(function+": "+flow.name, func(t *testing.T) {
				a := newAccount(t, newGuard(t, function), flow.cfg)
				if r := flow.run(t, a); r.Outcome != flow.want {
					t.Errorf("outcome %s, want %s", r.Outcome, flow.want)
				}
				a.calls(a.aws)
				maps.Copy(used, a.used)
			})
		}
		complete(t, function, used)
	}
}

// complete fails when the role of a function may do what it has not done, but
// for what services do under its role.
func complete(t *testing.T, function string, used map[string]bool) {
	t.Helper()
	for _, need := range slices.Concat(permission.Functions[function], permission.Withheld[function]) {
		if !need.On.ByServices() && !used[need.Action] {
			t.Errorf("%s never needs %s", function, need.Action)
		}
	}
}

func TestFilterPermissions(t *testing.T) {
	g := newGuard(t, "filter")
	server, queue, functions := awstest.Start(t), awstest.NewSQS(time.Now), awstest.NewLambda()
	functions.Function("generator", nil)
	server.Handle("lambda", functions)
	server.Handle("sqs", queue)
	chosen, err := filters.Parse("team/*:*,!*:*-debug")
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config()
	h := &eventfilter.Handler{
		Config: eventfilter.Config{Filters: chosen, GeneratorARN: awstest.FunctionARN("generator"),
			TagSuffix: "-soci"},
		Invoker: lambda.NewFromConfig(cfg),
		Logger:  slog.New(slog.DiscardHandler),
		Queue:   failurequeue.Open(cfg, queue.URL),
	}
	d := digest.FromString("x")
	for event, want := range map[string]eventfilter.Decision{
		string(eventOf(t, d, "v1", "")):                eventfilter.Matched,
		string(eventOf(t, d, "v1-debug", "")):          eventfilter.NotMatched,
		string(eventOf(t, d, "", "")):                  eventfilter.Untagged,
		string(eventOf(t, d, "", soci.ArtifactTypeV1)): eventfilter.OwnArtifact,
		`{"source":"aws.s3"}`:                          eventfilter.Failed,
	} {
		r, err := h.Handle(t.Context(), []byte(event))
		if err != nil || r.Decision != want {
			t.Errorf("%+v, %v, want %s", r, err, want)
		}
	}
	g.calls(server)
	complete(t, "filter", g.used)
}

// A function cannot call a service whose client it does not import. The SDK itself
// imports sts, sso, ssooidc and signin to find credentials, none of which Lambda
// needs; the filter imports ecr only to classify its errors.
func TestServicesOfFunctions(t *testing.T) {
	credentials := []string{"signin", "sso", "ssooidc", "sts"}
	for function, want := range map[string][]string{
		"filter":   append([]string{"ecr", "lambda", "sqs"}, credentials...),
		"indexgen": append([]string{"ecr", "eventbridge", "sfn", "sqs"}, credentials...),
		"reponame": nil,
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath", "-deps", "../"+function).Output()
		if err != nil {
			t.Fatal(err)
		}
		services := map[string]bool{}
		for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
			var p struct{ ImportPath string }
			if err := d.Decode(&p); err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(p.ImportPath, "github.com/aws/aws-sdk-go-v2/service/"); ok {
				if name, _, _ := strings.Cut(rest, "/"); name != "internal" {
					services[name] = true
				}
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(services)); !slices.Equal(got, want) {
			t.Errorf("%s can call %q, want %q", function, got, want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/lambdas/filter/eventfilter"
	"soci-index-builder/lambdas/indexgen/generator"
	"soci-index-builder/pkg/soci"
)

// functionsWorld makes the functions of the stack "soci-index-builder" real ones. These
// commands go with it:
//
//	functions FILTERS        have events go through the filter function with
//	                         these filters, and through the generator, which
//	                         indexes every layer
//	logged REGEXP            a line of their logs matches
//	pushed NAME:TAG          the event of a push of the image comes
//	lose NAME:TAG            a layer of the image is gone from the registry
//	readonly NAME            nothing can be pushed to a repository
//	repair                   the registry is sound again
//	images NAME N MIB DATE   push N images, tagged 1 to N, a day apart up to
//	                         DATE, each with a layer of MiB that all have, one
//	                         of half of that, and a small one; the descriptors
//	                         say so, and the layers are not read
type functionsWorld struct {
	t        *testing.T
	server   *awstest.Server
	registry *registrytest.Server
	ecr      *awstest.ECR
	queue    *queueWorld
	logs     *awstest.Logs

	mu  sync.Mutex
	log bytes.Buffer
}

// group is one of the log groups of the stack, by the output that names it.
type group struct {
	*functionsWorld
	name string
}

// Write takes one line.
func (g group) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.logs.AddLine(g.name, time.Now(), string(p))
	return g.log.Write(p)
}

// logger is that of a function which logs to a group.
func (w *functionsWorld) logger(output string) *slog.Logger {
	return lambdafn.NewLogger(group{w, awstest.NewStack("soci-index-builder").Outputs[output]}, slog.LevelInfo)
}

func (w *functionsWorld) functions(ts *testscript.TestScript, _ bool, args []string) {
	f, err := filters.Parse(args[0])
	ts.Check(err)
	failures := &failurequeue.Queue{Sender: sqs.NewFromConfig(w.server.Config()), URL: w.queue.sqs.URL, Now: time.Now}
	w.logs.Make(awstest.NewStack("soci-index-builder").Outputs[deployed.OutStepsLogGroup])
	filter := &eventfilter.Handler{
		Config: eventfilter.Config{Filters: f, GeneratorARN: awstest.FunctionARN("soci-index-builder-Generator"),
			TagSuffix: soci.DefaultTagSuffix},
		Invoker: lambda.NewFromConfig(w.server.Config()), Logger: w.logger(deployed.OutFilterLogGroup), Queue: failures,
	}
	config := generator.Config{IndexVersion: soci.Both, TagSuffix: soci.DefaultTagSuffix, TagUnindexed: true,
		SpanSizeMiB: 4, Endpoint: w.registry.URL()}
	gen := &generator.Handler{Open: config.Opener(slog.New(slog.DiscardHandler)), Options: config.Options(),
		Logger: w.logger(deployed.OutGeneratorLogGroup), Queue: failures}
	w.run("soci-index-builder-Filter",
		func(ctx context.Context, event []byte) error { _, err := filter.Handle(ctx, event); return err })
	w.run("soci-index-builder-Generator",
		func(ctx context.Context, event []byte) error { _, err := gen.Handle(ctx, event); return err })
}

// run has a function work as it is invoked, which Lambda would do later, and
// what it fails with put into the queue, as Lambda does after its attempts.
func (w *functionsWorld) run(name string, handle func(ctx context.Context, event []byte) error) {
	arn := awstest.FunctionARN(name)
	w.queue.lambda.Function(name, func(event []byte) error {
		ctx := lambdacontext.NewContext(context.Background(),
			&lambdacontext.LambdaContext{AwsRequestID: "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", InvokedFunctionArn: arn})
		err := handle(ctx, event)
		if err == nil {
			return nil
		}
		named, _ := err.(interface{ ErrorType() string })
		record, err := json.Marshal(map[string]any{
			"version": "1.0", "timestamp": "2026-01-02T03:04:05.000Z",
			"requestContext": map[string]any{"requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
				"functionArn": arn + ":$LATEST", "condition": "RetriesExhausted", "approximateInvokeCount": 3},
			"requestPayload":  json.RawMessage(event),
			"responsePayload": map[string]any{"errorMessage": err.Error(), "errorType": named.ErrorType()},
		})
		if err != nil {
			return err
		}
		w.queue.sqs.Put(string(record), nil)
		return nil
	})
}

func (w *functionsWorld) logged(ts *testscript.TestScript, _ bool, args []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !regexp.MustCompile(args[0]).Match(w.log.Bytes()) {
		ts.Fatalf("no line matches %s in\n%s", args[0], &w.log)
	}
}

func (w *functionsWorld) pushed(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	event, err := json.Marshal(ecrevent.Event{
		Version: "0", ID: "13cde686-328b-6117-af20-0e5566167482", DetailType: ecrevent.ImageAction, Source: "aws.ecr",
		Account: awstest.Account, Time: "2026-01-02T03:04:05Z", Region: awstest.Region, Resources: []string{},
		Detail: ecrevent.Detail{RepositoryName: m[1], ImageTag: m[2],
			ImageDigest: digest.FromBytes(w.registry.Manifest(w.t, m[1], m[2])).String(),
			Result:      "SUCCESS", ActionType: "PUSH"},
	})
	ts.Check(err)
	_, err = lambda.NewFromConfig(w.server.Config()).Invoke(w.t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("soci-index-builder-Filter"), InvocationType: types.InvocationTypeEvent,
		Payload: event})
	ts.Check(err)
}

func (w *functionsWorld) readOnly(_ *testscript.TestScript, _ bool, args []string) {
	w.registry.Add(registrytest.Rule{Method: http.MethodPut, Path: "^/v2/" + regexp.QuoteMeta(args[0]) + "/manifests/",
		Fault: registrytest.Status(http.StatusForbidden, "DENIED", "User is not authorized to perform ecr:PutImage")})
}

func (w *functionsWorld) repair(*testscript.TestScript, bool, []string) { w.registry.Clear() }

func (w *functionsWorld) lose(ts *testscript.TestScript, _ bool, args []string) {
	m := nameTag.FindStringSubmatch(args[0])
	var manifest ocispec.Manifest
	ts.Check(json.Unmarshal(w.registry.Manifest(w.t, m[1], m[2]), &manifest))
	lost := manifest.Layers[0].Digest
	if len(args) > 1 && args[1] == "config" {
		lost = manifest.Config.Digest
	}
	w.registry.Add(registrytest.Rule{Path: "^/v2/" + regexp.QuoteMeta(m[1]) + "/blobs/" + lost.String() + "$",
		Fault: registrytest.Status(404, "BLOB_UNKNOWN", "blob unknown to registry")})
}

func (w *functionsWorld) images(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	size, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	at, err := time.Parse(time.DateOnly, args[3])
	ts.Check(err)
	config := w.registry.PushBlob(w.t, name,
		[]byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	config.MediaType = ocispec.MediaTypeImageConfig
	layer := func(of string, share int64) ocispec.Descriptor {
		desc := w.registry.PushBlob(w.t, name, []byte(name+of))
		desc.MediaType, desc.Size = ocispec.MediaTypeImageLayerGzip, size<<20/share
		return desc
	}
	for i := 1; i <= n; i++ {
		b, err := json.Marshal(ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
			Layers: []ocispec.Descriptor{layer("base", 1), layer(fmt.Sprint("app", i), 2),
				layer(fmt.Sprint("config", i), 1000)},
		})
		ts.Check(err)
		desc := w.registry.PushManifest(w.t, name, strconv.Itoa(i), ocispec.MediaTypeImageManifest, b)
		w.ecr.PushedAt(name, desc.Digest, at.AddDate(0, 0, i-n))
	}
}

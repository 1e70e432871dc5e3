package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/report"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/internal/verify"
	"soci-index-builder/lambdas/filter/eventfilter"
	"soci-index-builder/lambdas/indexgen/generator"
)

// Values of the event, and of the environment of the functions.
const (
	account      = "123456789012"
	region       = "eu-west-1"
	generatorARN = "arn:aws:lambda:" + region + ":" + account + ":function:indexgen"
	filterList   = "demo/*:*"
)

// pushEvent is what EventBridge says of the push.
func pushEvent(image ocispec.Descriptor) ([]byte, error) {
	return json.Marshal(ecrevent.Event{
		Version: "0", ID: "00000000-0000-0000-0000-000000000000",
		DetailType: ecrevent.ImageAction, Source: "aws.ecr",
		Account: account, Region: region, Time: time.Now().UTC().Format(time.RFC3339), Resources: []string{},
		Detail: ecrevent.Detail{
			Result: "SUCCESS", ActionType: "PUSH",
			RepositoryName: repository, ImageDigest: image.Digest.String(), ImageTag: tag,
			ManifestMediaType: image.MediaType,
		},
	})
}

// handleEvent sends the event to the filter, which invokes the generator.
func (r *run) handleEvent(ctx context.Context, image ocispec.Descriptor) (*report.Image, error) {
	event, err := pushEvent(image)
	if err != nil {
		return nil, err
	}
	chosen, err := filters.Parse(filterList)
	if err != nil {
		return nil, err
	}
	config, err := generator.ReadConfig(func(name string) string {
		return map[string]string{"ECR_REGISTRY_ENDPOINT": "http://" + r.registry.host()}[name]
	})
	if err != nil {
		return nil, err
	}
	invoker := &generatorInvoker{handler: &generator.Handler{
		Open: config.Opener(r.logger), Options: config.Options(), Logger: r.logger,
	}}
	filter := &eventfilter.Handler{
		Config:  eventfilter.Config{Filters: chosen, GeneratorARN: generatorARN, TagSuffix: names.DefaultTagSuffix},
		Invoker: invoker,
		Logger:  r.logger,
	}
	r.step(2, "Send the filter the event that ECR sends: PUSH, %s:%s", repository, tag)
	decision, err := filter.Handle(ctx, event)
	if err != nil {
		return nil, err
	}
	if decision.Decision != eventfilter.Matched {
		return nil, fmt.Errorf("internal error: the filter decided %q", decision.Decision)
	}
	r.printf("   %s by the filter %s, the generator is invoked\n", decision.Decision, decision.Filter)
	r.step(3, "The generator builds the SOCI index, in versions 1 and 2")
	result := invoker.result
	rate := float64(result.BytesRead) / (1 << 20) / max(result.Seconds, 1e-9)
	r.printf("   %s%s: %s of layers read in %.1f s (%.0f MiB/s), %s pushed\n", r.screen.Mark(terminal.Good),
		result.Outcome.Text(), bytesize.Format(result.BytesRead), result.Seconds, rate,
		bytesize.Format(result.BytesPushed))
	return result, nil
}

// generatorInvoker runs the generator in the place of Lambda, and waits for it.
type generatorInvoker struct {
	handler *generator.Handler
	result  *report.Image
}

// Invoke implements eventfilter.Invoker.
func (g *generatorInvoker) Invoke(ctx context.Context, in *lambda.InvokeInput,
	_ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	result, err := g.handler.Handle(ctx, in.Payload)
	if err != nil {
		return nil, err
	}
	g.result = result
	const accepted = 202 // what Lambda answers to an asynchronous invocation
	return &lambda.InvokeOutput{StatusCode: accepted}, nil
}

// table shows the layers of each platform: size, and what became of them.
func (r *run) table(result *report.Image, checked *verify.Report) {
	verified := map[digest.Digest]*verify.LayerReport{}
	for _, l := range checked.Layers() {
		verified[l.Layer.Digest] = l
	}
	t := terminal.NewTable(r.w, "", false)
	t.Head("PLATFORM", "LAYER", "SIZE", "ARCHIVE", "ZTOC", "SPANS", "FILES", "SECONDS", "MiB/s")
	t.Optional("ARCHIVE")
	for _, m := range result.Manifests {
		for _, l := range m.Layers {
			if l.Skipped != "" {
				t.Row(m.Platform, names.ShortDigest(l.Digest.String()), bytesize.Format(l.Size),
					"not indexed: "+l.Skipped.Text())
				continue
			}
			v := verified[l.Digest]
			if v == nil {
				continue
			}
			t.Row(m.Platform, names.ShortDigest(l.Digest.String()), bytesize.Format(l.Size), bytesize.Format(v.Bytes),
				bytesize.Format(v.Ztoc.Size), fmt.Sprint(v.Spans), fmt.Sprint(v.Files), fmt.Sprintf("%.2f", l.Seconds),
				fmt.Sprintf("%.0f", float64(l.Size)/(1<<20)/max(l.Seconds, 1e-9)))
		}
	}
	r.asIs("\n")
	if r.err == nil {
		r.err = t.Flush()
	}
	if fix := result.Fix(); fix != "" {
		r.printf("zstd layers cannot be indexed: %s\n", fix)
	}
	r.asIs("\n")
}

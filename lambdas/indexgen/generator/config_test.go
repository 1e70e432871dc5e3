package generator

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/lambdafn"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

func TestReadConfig(t *testing.T) {
	defaults := Config{
		MinLayerSizeMiB: 10, SpanSizeMiB: 4, IndexVersion: soci.Both, TagSuffix: "-soci", TagUnindexed: true,
		Role: Generates, StackName: "soci-index-builder", Platforms: []string{"linux"},
	}
	inLambda := defaults
	inLambda.MemorySizeMiB, inLambda.MaxMemoryMiB = 2048, 1289
	tiny := defaults
	tiny.MemorySizeMiB, tiny.MaxMemoryMiB = 64, 16
	everyLayer := defaults
	everyLayer.MinLayerSizeMiB = 0
	tests := []struct {
		name string
		env  map[string]string
		want Config
		soci soci.Options
	}{
		{"defaults", nil, defaults,
			soci.Options{MinLayerSize: soci.DefaultMinLayerSize, SpanSize: soci.DefaultSpanSize,
				IndexVersion: soci.Both,
				TagSuffix:    "-soci", TagUnindexed: true, Choice: []string{"linux"}}},
		{"everything", map[string]string{
			"SOCI_MIN_LAYER_SIZE_MIB": "20", "SOCI_SPAN_SIZE_MIB": "1", "SOCI_CONCURRENCY": "3",
			"SOCI_MAX_MEMORY_MIB": "512",
			"SOCI_INDEX_VERSION":  "V2", "SOCI_TAG_SUFFIX": "_lazy", "SOCI_TAG_UNINDEXED_IMAGES": "false",
			"SOCI_PREFETCH":          "true",
			"SOCI_FAILURE_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/123456789012/failures",
			"SOCI_EVENT_BUS":         "default",
			"SOCI_STACK_NAME":        "soci",
			"ECR_REGISTRY_ENDPOINT":  "http://127.0.0.1:5000", "LOG_LEVEL": "DEBUG", "SOCI_HANDLER": "steps",
			"SOCI_STATE_MACHINE_ARN": "arn:aws:states:us-west-2:123456789012:stateMachine:index-1",
			"SOCI_FAN_OUT_FROM_GIB":  "7", "SOCI_STEPS_MEMORY_MIB": "5120", "SOCI_PLATFORMS": "linux/amd64,windows"},
			Config{MinLayerSizeMiB: 20, SpanSizeMiB: 1, Concurrency: 3, MaxMemoryMiB: 512, IndexVersion: soci.V2,
				TagSuffix:       "_lazy",
				FailureQueueURL: "https://sqs.us-west-2.amazonaws.com/123456789012/failures", EventBus: "default",
				Prefetch: true, StackName: "soci", Role: DoesSteps, FanOutFromGiB: 7,
				StepsMemoryMiB: 5120,
				Platforms:      []string{"linux/amd64", "windows"},
				StateMachine:   "arn:aws:states:us-west-2:123456789012:stateMachine:index-1",
				Endpoint:       "http://127.0.0.1:5000", LogLevel: slog.LevelDebug},
			soci.Options{MinLayerSize: 20 << 20, SpanSize: 1 << 20, Concurrency: 3, IndexVersion: soci.V2,
				TagSuffix:     "_lazy",
				PrefetchLabel: true, Choice: []string{"linux/amd64", "windows"},
				Limits: soci.Limits{MaxMemory: 512 << 20}}},
		{"every layer", map[string]string{"SOCI_MIN_LAYER_SIZE_MIB": "0"}, everyLayer,
			soci.Options{MinLayerSize: 1, SpanSize: soci.DefaultSpanSize, IndexVersion: soci.Both, TagSuffix: "-soci",
				TagUnindexed: true, Choice: []string{"linux"}}},
		{"the budget follows the function's memory", map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048"},
			inLambda,
			soci.Options{MinLayerSize: soci.DefaultMinLayerSize, SpanSize: soci.DefaultSpanSize,
				IndexVersion: soci.Both,
				TagSuffix:    "-soci", TagUnindexed: true, Choice: []string{"linux"},
				Limits: soci.Limits{MaxMemory: 1289 << 20}}},
		{"the least budget", map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "64"}, tiny,
			soci.Options{MinLayerSize: soci.DefaultMinLayerSize, SpanSize: soci.DefaultSpanSize,
				IndexVersion: soci.Both,
				TagSuffix:    "-soci", TagUnindexed: true, Choice: []string{"linux"},
				Limits: soci.Limits{MaxMemory: 16 << 20}}},
		{"the stack has the name of the function", map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "soci-index-builder"},
			defaults,
			soci.Options{MinLayerSize: soci.DefaultMinLayerSize, SpanSize: soci.DefaultSpanSize,
				IndexVersion: soci.Both,
				TagSuffix:    "-soci", TagUnindexed: true, Choice: []string{"linux"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ReadConfig(func(name string) string { return tt.env[name] })
			if err != nil || !reflect.DeepEqual(c, tt.want) {
				t.Errorf("ReadConfig = %+v, %v, want %+v", c, err, tt.want)
			}
			if o := c.Options(); !reflect.DeepEqual(o, tt.soci) {
				t.Errorf("Options = %+v, want %+v", o, tt.soci)
			}
		})
	}
}

func TestReadConfigRefuses(t *testing.T) {
	bad := map[string]string{
		"SOCI_MIN_LAYER_SIZE_MIB": "-1", "SOCI_SPAN_SIZE_MIB": "0", "SOCI_CONCURRENCY": "many",
		"SOCI_MAX_MEMORY_MIB": "99999",
		"SOCI_INDEX_VERSION":  "v3", "SOCI_TAG_SUFFIX": "+soci", "SOCI_TAG_UNINDEXED_IMAGES": "yes",
		"SOCI_PREFETCH":          "on",
		"SOCI_FAILURE_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/123456789012/failures.fifo",
		"SOCI_EVENT_BUS":         "a bus",
		"SOCI_STACK_NAME":        "my stack",
		"ECR_REGISTRY_ENDPOINT":  "localhost", "LOG_LEVEL": "loud", "SOCI_HANDLER": "all",
		"SOCI_STATE_MACHINE_ARN": "index", "SOCI_FAN_OUT_FROM_GIB": "-1",
		"SOCI_STEPS_MEMORY_MIB": "10241",
	}
	_, err := ReadConfig(func(name string) string { return bad[name] })
	if !errors.Is(err, lambdafn.ErrInvalidVariable) {
		t.Fatalf("the error is %v, want ErrInvalidVariable", err)
	}
	for name, value := range bad {
		if want := name + ` is "` + value + `"`; !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not have %s: %v", want, err)
		}
	}
}

func TestOpener(t *testing.T) {
	e := &ecrevent.Event{Account: "123456789012", Region: "cn-north-1",
		Detail: ecrevent.Detail{RepositoryName: "team/app"}}
	logger := slog.New(slog.DiscardHandler)
	for _, endpoint := range []string{"", "http://127.0.0.1:5000"} {
		r, err := Config{Endpoint: endpoint}.Opener(logger)(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		const want = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app"
		if name := r.(*ecrclient.Repository).Name(); name != want {
			t.Errorf("endpoint %q opens %s", endpoint, name)
		}
	}
}

// Images are handed over only with a state machine and a size.
func TestConfigFanOut(t *testing.T) {
	for _, tt := range []struct {
		machine string
		gib     int64
		from    int64 // 0: nothing is handed over
	}{{"", 0, 0}, {"", 3, 0}, {awstest.StateMachineARN, 0, 0}, {awstest.StateMachineARN, 3, 3 << 30}} {
		f := Config{StateMachine: tt.machine, FanOutFromGiB: tt.gib, StepsMemoryMiB: 5120}.FanOut(aws.Config{})
		if (f == nil) != (tt.from == 0) {
			t.Errorf("%q from %d GiB: %+v", tt.machine, tt.gib, f)
		}
		if f != nil {
			expect.Equal(t, expect.Facts{
				{"From", f.From, tt.from},
				{"Starter.ARN", f.Starter.ARN, tt.machine},
				{"StepsMemorySizeMiB", f.StepsMemorySizeMiB, int64(5120)},
			}, "%q from %d GiB", tt.machine, tt.gib)
		}
	}
}

package lambdafn

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	logger := NewLogger(&out, slog.LevelInfo).With("repository", "app")
	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: "id-1"})
	logger.DebugContext(ctx, "not written")
	logger.WarnContext(ctx, "it happened", "tag", "v1")

	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if line["timestamp"] == nil {
		t.Error("the line has no timestamp")
	}
	delete(line, "timestamp")
	want := map[string]string{"level": "WARN", "message": "it happened", "repository": "app", "tag": "v1",
		"requestId": "id-1"}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v, want %q", key, line[key], value)
		}
	}
	if len(line) != len(want) {
		t.Errorf("the line has other attributes too: %v", line)
	}

	out.Reset()
	NewLogger(&out, slog.LevelDebug).Debug("written")
	if !bytes.Contains(out.Bytes(), []byte(`"message":"written"`)) {
		t.Errorf("level DEBUG writes %q", out.String())
	}
}

package lambdafn

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/filters"
)

// read returns what a variable of one value is read as.
func read[T any](get func(*Env) T, value string) (T, error) {
	e := NewEnv(func(string) string { return value })
	v := get(e)
	return v, e.Err()
}

func TestEnvRefuses(t *testing.T) {
	const arn = "arn:aws:lambda:eu-west-1:123456789012:function:gen"
	tests := []struct {
		name  string
		get   func(*Env) any
		value string
	}{
		{"number: text", number, "four"},
		{"number: too small", number, "0"},
		{"number: too large", number, "65"},
		{"number: fraction", number, "1.5"},
		{"number: unit", number, "4MiB"},
		{"number: blank", number, " 4"},
		{"number: huge", number, "99999999999999999999"},
		{"level: unknown", func(e *Env) any { return e.LogLevel() }, "TRACE"},
		{"level: lower case", func(e *Env) any { return e.LogLevel() }, "debug"},
		{"ARN: not set", functionARNOf, ""},
		{"ARN: a name", functionARNOf, "gen"},
		{"ARN: other service", functionARNOf, strings.Replace(arn, "lambda", "sqs", 1)},
		{"ARN: account", functionARNOf, strings.Replace(arn, "123456789012", "123", 1)},
		{"ARN: text in front", functionARNOf, "x" + arn},
		{"ARN: text behind", functionARNOf, arn + "\n"},
		{"ARN: no region", functionARNOf, strings.Replace(arn, "eu-west-1", "", 1)},
		{"suffix: slash", func(e *Env) any { return e.TagSuffix() }, "/soci"},
		{"suffix: too long", func(e *Env) any { return e.TagSuffix() }, strings.Repeat("s", 128)},
		{"endpoint: no scheme", endpointOf, "127.0.0.1:5000"},
		{"endpoint: other scheme", endpointOf, "ftp://127.0.0.1"},
		{"endpoint: no host", endpointOf, "http://"},
		{"endpoint: path", endpointOf, "http://127.0.0.1:5000/v2"},
		{"endpoint: query", endpointOf, "http://127.0.0.1:5000?a=b"},
		{"endpoint: password", endpointOf, "http://u:secret@127.0.0.1:5000"},
		{"endpoint: password, no URL", endpointOf, "http://u:secret@127.0.0.1:port"},
		{"bool: number", boolean, "1"},
		{"bool: capital", boolean, "True"},
		{"word: other case", word, "v1"},
		{"word: unknown", word, "V3"},
		{"queue: name", queueOf, "failures"},
		{"queue: ARN", queueOf, "arn:aws:sqs:eu-west-1:123456789012:failures"},
		{"queue: FIFO", queueOf, "https://sqs.eu-west-1.amazonaws.com/123456789012/failures.fifo"},
		{"queue: query", queueOf, "https://sqs.eu-west-1.amazonaws.com/123456789012/failures?x=1"},
		{"bus: blank", busOf, "my bus"},
		{"bus: ARN of a rule", busOf, "arn:aws:events:eu-west-1:123456789012:rule/r"},
		{"stack: ARN", stackOf, "arn:aws:cloudformation:eu-west-1:123456789012:stack/s"},
		{"stack: too long", stackOf, strings.Repeat("s", 256)},
		{"filters", func(e *Env) any { return Parsed(e, "V", filters.Parse) }, "Bad:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.get, tt.value)
			if !errors.Is(err, ErrInvalidVariable) {
				t.Fatalf("the error is %v, want ErrInvalidVariable", err)
			}
			var one *VariableError
			if !errors.As(err, &one) || one.Name == "" || one.Err == nil {
				t.Errorf("the error does not name its variable: %#v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the message shows the password: %v", err)
			}
		})
	}
}

func number(e *Env) any        { return e.Int("V", "layers", 1, 64, 0) }
func functionARNOf(e *Env) any { return e.FunctionARN("V") }
func boolean(e *Env) any       { return e.Bool("V", true) }
func word(e *Env) any          { return OneOf(e, "V", "Both", "V1") }
func queueOf(e *Env) any       { return e.QueueURL("V") }
func busOf(e *Env) any         { return e.EventBus() }
func stackOf(e *Env) any       { return e.StackName() }
func endpointOf(e *Env) any    { return e.Endpoint("V") }

func TestEnvAccepts(t *testing.T) {
	tests := []struct {
		name  string
		get   func(*Env) any
		value string
		want  any
	}{
		{"number: not set", number, "", int64(0)},
		{"number: lowest", number, "1", int64(1)},
		{"number: highest", number, "64", int64(64)},
		{"level: not set", func(e *Env) any { return e.LogLevel() }, "", slog.LevelInfo},
		{"level", func(e *Env) any { return e.LogLevel() }, "DEBUG", slog.LevelDebug},
		{"ARN", functionARNOf, "arn:aws:lambda:eu-west-1:123456789012:function:gen", nil},
		{"ARN: alias", functionARNOf, "arn:aws:lambda:eu-west-1:123456789012:function:gen:live", nil},
		{"ARN: latest", functionARNOf, "arn:aws:lambda:eu-west-1:123456789012:function:gen:$LATEST", nil},
		{"ARN: other partitions", functionARNOf, "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:A_b-1",
			nil},
		{"bool: not set", boolean, "", true},
		{"bool: false", boolean, "false", false},
		{"bool: true", boolean, "true", true},
		{"word: not set", word, "", "Both"},
		{"word", word, "V1", "V1"},
		{"queue: not set", queueOf, "", ""},
		{"queue", queueOf, "https://sqs.eu-west-1.amazonaws.com/123456789012/failures-1", nil},
		{"queue: China", queueOf, "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/f", nil},
		{"queue: local", queueOf, "http://127.0.0.1:9324/000000000000/f", nil},
		{"bus: not set", busOf, "", ""},
		{"bus: name", busOf, "default", nil},
		{"bus: of a partner", busOf, "aws.partner/x.com/1", nil},
		{"bus: ARN", busOf, "arn:aws-cn:events:cn-north-1:123456789012:event-bus/b", nil},
		{"stack", stackOf, "My-stack-1", nil},
		{"suffix: not set", func(e *Env) any { return e.TagSuffix() }, "", "-soci"},
		{"suffix", func(e *Env) any { return e.TagSuffix() }, ".lazy_1", nil},
		{"endpoint: not set", endpointOf, "", ""},
		{"endpoint", endpointOf, "http://127.0.0.1:5000", nil},
		{"endpoint: slash behind", endpointOf, "https://registry.example/", "https://registry.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == nil {
				want = tt.value
			}
			if got, err := read(tt.get, tt.value); err != nil || got != want {
				t.Errorf("%q is read as %v, %v, want %v", tt.value, got, err, want)
			}
		})
	}
}

func TestStackNameByDefault(t *testing.T) {
	env := map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "f"}
	e := NewEnv(func(name string) string { return env[name] })
	if got := e.StackName(); got != "f" || e.Err() != nil {
		t.Errorf("StackName = %q, %v, want the function's name", got, e.Err())
	}
	env["SOCI_STACK_NAME"] = "s"
	if got := e.StackName(); got != "s" || e.Err() != nil {
		t.Errorf("StackName = %q, %v, want the stack's", got, e.Err())
	}
}

func TestLastMoments(t *testing.T) {
	tests := []struct {
		name    string
		left, d time.Duration // left of 0: no deadline
		want    time.Duration
	}{
		{"no deadline", 0, time.Minute, time.Minute},
		{"a long time left", time.Hour, time.Minute, time.Minute},
		{"little time left", 10 * time.Second, time.Minute, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outer := t.Context()
			if tt.left > 0 {
				var cancel context.CancelFunc
				outer, cancel = context.WithTimeout(outer, tt.left)
				defer cancel()
			}
			begin := time.Now()
			ctx, cancel := LastMoments(outer, tt.d)
			defer cancel()
			deadline, ok := ctx.Deadline()
			if got := deadline.Sub(begin); !ok || got > tt.want+time.Second || got < tt.want-time.Second {
				t.Errorf("it ends after %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEnvNamesEveryVariable(t *testing.T) {
	e := NewEnv(func(name string) string { return "?" + name })
	e.LogLevel()
	e.TagSuffix()
	e.FunctionARN("ARN")
	err := e.Err()
	for _, want := range []string{"LOG_LEVEL", "SOCI_TAG_SUFFIX", "ARN"} {
		if err == nil || !strings.Contains(err.Error(), `environment variable `+want+` is "?`+want+`"`) {
			t.Errorf("the message does not name %s and its value: %v", want, err)
		}
	}
}

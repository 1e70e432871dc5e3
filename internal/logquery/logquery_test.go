package logquery

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/names"
	"soci-index-builder/internal/testkit/insights"
)

// read returns what a query needs of the log lines.
func read(t *testing.T, text string) *insights.Query {
	t.Helper()
	q, err := insights.Read(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return q
}

func TestQueries(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	for _, q := range All() {
		t.Run(q.Name, func(t *testing.T) {
			if !name.MatchString(q.Name) || seen[q.Name] {
				t.Errorf("the name is not one, or is there twice")
			}
			seen[q.Name] = true
			if !strings.HasSuffix(q.Question, "?") || len(q.Groups) == 0 || len(q.Columns) == 0 {
				t.Errorf("question %q, log groups %q, columns %v", q.Question, q.Groups, q.Columns)
			}
			if len(q.Sample()) > 10000 {
				t.Errorf("%d characters, Logs Insights takes 10000", len(q.Sample()))
			}
			columns := read(t, q.Sample()).Columns
			var declared []string
			for _, c := range q.Columns {
				declared = append(declared, c.Name)
				if isTime := c.Name == "@timestamp" || strings.HasSuffix(c.Name, "Time"); isTime != (c.Kind == Time) {
					t.Errorf("column %s has kind %d", c.Name, c.Kind)
				}
			}
			slices.Sort(columns)
			slices.Sort(declared)
			if !slices.Equal(columns, declared) {
				t.Errorf("the query gives columns %q, declared are %q", columns, declared)
			}
			if found, err := Find(q.Name); err != nil || found.Question != q.Question {
				t.Errorf("Find = %v, %v", found, err)
			}
		})
	}
	if _, err := Find("wy"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "why, failures") {
		t.Errorf("the error is %v, want ErrUnknown and the names", err)
	}
}

// fromLambda are the fields of the line that Lambda writes at the end of each
// invocation, and those that Logs Insights adds.
// https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report
var fromLambda = []string{
	"type", "record.requestId", "record.status", "record.errorType", "record.metrics.durationMs",
	"record.metrics.billedDurationMs",
	"record.metrics.memorySizeMB", "record.metrics.maxMemoryUsedMB", "record.metrics.initDurationMs",
	"@timestamp", "@message", "@log",
}

// A query reads nothing that no line has.
func TestFieldsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "\n## Questions\n")
	_, metrics, also := strings.Cut(rest, "\n## Metrics\n")
	if !ok || !also {
		t.Fatal("docs/logs.md has not the sections it had")
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(before+metrics, -1) {
		documented[m[1]] = true
	}
	for _, q := range All() {
		for _, field := range read(t, q.Sample()).Fields {
			top, _, _ := strings.Cut(field, ".")
			if !slices.Contains(fromLambda, field) && !documented[top] {
				t.Errorf("query %s reads %s, which docs/logs.md does not have", q.Name, field)
			}
		}
	}
}

// A query compares messages, outcomes and reasons with what the functions
// write.
func TestValuesAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	outside, _, _ := strings.Cut(string(b), "\n## Questions\n")
	known := []string{"platform.report", "timeout", "failure", "error", "zstd", Example.Repository, Example.Tag}
	for _, q := range All() {
		for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(q.Sample(), -1) {
			if !slices.Contains(known, m[1]) && !strings.Contains(outside, "`"+m[1]+"`") &&
				!strings.Contains(outside, "| "+m[1]+" |") && !strings.Contains(outside, ", "+m[1]+" |") {
				t.Errorf("query %s looks for %q, which docs/logs.md does not have", q.Name, m[1])
			}
		}
	}
}

// Of one image only its lines are looked at, whatever else is in the logs.
func TestImage(t *testing.T) {
	const digest = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12345678"
	tests := []struct{ name, query, image, want string }{
		{"tag", "why", "team/app:v1", `filter repository = "team/app" and tag = "v1"`},
		{"digest", "why", "team/app@" + digest, `filter repository = "team/app" and digest = "` + digest + `"`},
		{"digest and tag: the digest decides", "why", "team/app:v9@" + digest,
			`filter repository = "team/app" and digest = "` + digest + `"`},
		{"metrics", "slowest", "team/app:v1", `filter Repository = "team/app" and Tag = "v1"`},
		{"metrics, digest", "slowest", "team/app@" + digest, `filter Repository = "team/app" and Digest = "` + digest +
			`"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Find(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			image, err := ParseImage(tt.image)
			if err != nil {
				t.Fatal(err)
			}
			text, err := q.Text(Params{Image: image})
			if err != nil {
				t.Fatal(err)
			}
			if first, _, _ := strings.Cut(text, "\n| "); first != tt.want {
				t.Errorf("the query begins with %s, want %s", first, tt.want)
			}
			if !strings.HasPrefix(text, tt.want+"\n| "+q.stages[0]) {
				t.Errorf("the image's filter does not come first:\n%s", text)
			}
		})
	}
}

func TestTextRefuses(t *testing.T) {
	image := Example
	tests := []struct {
		name, query string
		image       names.Image
		want        error
	}{
		{"needs an image", "why", names.Image{}, ErrNeedsImage},
		{"takes none", "cost", image, ErrTakesNoImage},
		{"quote in the repository", "why", names.Image{Repository: `a" or repository != "b`, Tag: "1"},
			names.ErrInvalid},
		{"line break in the tag", "why", names.Image{Repository: "ab", Tag: "1\n| limit 1"}, names.ErrInvalid},
		{"backslash in the tag", "why", names.Image{Repository: "ab", Tag: `1\`}, names.ErrInvalid},
		{"capital in the digest", "why", names.Image{Repository: "ab", Digest: "sha256:" + strings.Repeat("A", 64)},
			names.ErrInvalid},
		{"repository of one character", "failures", names.Image{Repository: "a", Tag: "1"}, names.ErrInvalid},
		{"tag within the repository", "failures", names.Image{Repository: "ab:1"}, names.ErrInvalid},
		{"repository alone", "failures", names.Image{Repository: "ab"}, names.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Find(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := q.Text(Params{Image: tt.image}); !errors.Is(err, tt.want) {
				t.Errorf("Text = %q, %v, want %v", text, err, tt.want)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	tests := []struct {
		query string
		limit int
		want  string
	}{
		{"slowest", 0, "| limit 20"},
		{"slowest", 7, "| limit 7"},
		{"failures", 7, "| limit 7"},
		{"failures", 0, "| sort times desc"},
	}
	for _, tt := range tests {
		q, err := Find(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		text, err := q.Text(Params{Limit: tt.limit})
		if err != nil || !strings.HasSuffix(text, tt.want) || strings.Count(text, "limit") > 1 {
			t.Errorf("query %s with limit %d is\n%s\n%v, want %q at its end", tt.query, tt.limit, text, err, tt.want)
		}
	}
}

// Whatever a string has in it, it stays one string with that value.
func TestQuote(t *testing.T) {
	for _, value := range []string{"", "v1", `"`, `\`, `\"`, `a" or 1 = 1 or b = "`, `trailing\`, `\\`, `'`, "`",
		"a|b # c", "ünï"} {
		staysOne(t, value)
	}
}

func FuzzQuote(f *testing.F) {
	f.Add(`a" or 1 = 1`)
	f.Add(`\`)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\n") {
			t.Skip("no name has one, and Logs Insights ends the string there")
		}
		staysOne(t, s)
	})
}

func staysOne(t *testing.T, value string) {
	t.Helper()
	q := read(t, "fields a | filter a = "+quote(value)+" | limit 5")
	if got := q.Values["a"]; !slices.Equal(got, []string{value}) || !slices.Equal(q.Fields, []string{"a"}) {
		t.Errorf("%q becomes %s, which reads %q, and compares with %q", value, quote(value), q.Fields, got)
	}
}

func TestParseImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	tests := []struct {
		name, in string
		want     names.Image // the zero value: names.ErrInvalid
	}{
		{"tag", "team/app:v1.2.3", names.Image{Repository: "team/app", Tag: "v1.2.3"}},
		{"digest", "app@" + digest, names.Image{Repository: "app", Digest: digest}},
		{"both", "app:1@" + digest, names.Image{Repository: "app", Tag: "1", Digest: digest}},
		{"host", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
			names.Image{Repository: "team/app", Tag: "1"}},
		{"host in China", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/app:1",
			names.Image{Repository: "app", Tag: "1"}},
		{"host, dual-stack", "123456789012.dkr-ecr.eu-west-1.on.aws/app:1", names.Image{Repository: "app", Tag: "1"}},
		{"host, FIPS", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/app:1",
			names.Image{Repository: "app", Tag: "1"}},
		{"capital in the tag", "app:RC_1", names.Image{Repository: "app", Tag: "RC_1"}},
		{"host of no region", "123456789012.dkr.ecr.amazonaws.com/app:1", names.Image{}},
		{"repository of one character", "a:1", names.Image{}},
		{"nothing", "", names.Image{}},
		{"repository alone", "team/app", names.Image{}},
		{"empty tag", "app:", names.Image{}},
		{"empty digest", "app@", names.Image{}},
		{"empty tag before a digest", "app:@" + digest, names.Image{}},
		{"short digest", "app@sha256:0a", names.Image{}},
		{"other algorithm", "app@sha512:" + strings.Repeat("0a", 64), names.Image{}},
		{"capital in the repository", "App:1", names.Image{}},
		{"other registry", "ghcr.io/a/b:1",
			names.Image{Repository: "ghcr.io/a/b", Tag: "1"}}, // as a pull-through prefix can be
		{"port", "localhost:5000/app:1", names.Image{}},
		{"quote", `app:1" or "a" = "a`, names.Image{}},
		{"asterisk", "app:*", names.Image{}},
		{"tag too long", "app:" + strings.Repeat("t", 129), names.Image{}},
		{"longest tag", "app:" + strings.Repeat("t", 128),
			names.Image{Repository: "app", Tag: strings.Repeat("t", 128)}},
		{"repository too long", strings.Repeat("r", 257) + ":1", names.Image{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseImage(tt.in)
			if got != tt.want || errors.Is(err, names.ErrInvalid) != (tt.want == names.Image{}) {
				t.Fatalf("ParseImage(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
			}
			if err == nil {
				if again, err := ParseImage(got.String()); err != nil || again != got {
					t.Errorf("%s is read as %+v, %v", got, again, err)
				}
			}
		})
	}
}

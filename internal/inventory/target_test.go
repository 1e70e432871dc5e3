package inventory_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"soci-index-builder/internal/inventory"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		in   string
		want inventory.Target
	}{
		{"app", inventory.Target{Repository: "app"}},
		{"app:1.4", inventory.Target{Repository: "app", Tag: "1.4"}},
		{"team/app", inventory.Target{Repository: "team/app"}},
		{"team/app:1.4", inventory.Target{Repository: "team/app", Tag: "1.4"}},
		{"localhost/app", inventory.Target{Host: "localhost", Repository: "app"}},
		{"127.0.0.1:5000/team/app:1", inventory.Target{Host: "127.0.0.1:5000", Repository: "team/app", Tag: "1"}},
		{"registry.example.com/app", inventory.Target{Host: "registry.example.com", Repository: "app"}},
		{"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
			inventory.Target{Host: "123456789012.dkr.ecr.eu-west-1.amazonaws.com", Repository: "team/app", Tag: "1"}},
	}
	for _, tt := range tests {
		if got, err := inventory.ParseTarget(tt.in); err != nil || got != tt.want {
			t.Errorf("%s is %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", ":", "App", "app:", "app:-x", "app@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		"team//app", "app.tar",
		"registry.example.com/", "http://registry.example.com/app", strings.Repeat("x", 5000) + "!",
	} {
		got, err := inventory.ParseTarget(in)
		if !errors.Is(err, inventory.ErrTarget) {
			t.Errorf("%.100q is %+v, %v", in, got, err)
			continue
		}
		if text := err.Error(); len(text) > 600 || strings.Contains(text, "invalid/") {
			t.Errorf("%.100q: %.700s", in, text)
		}
	}
}

// What is wrong with a name is said.
func TestParseTargetSaysWhy(t *testing.T) {
	for in, want := range map[string]string{
		"Team/App":      `"Team/App": its repository name "Team/App" must be 2 to 256 of `,
		"team/app:-x":   `its tag "-x" must be 1 to 128 of `,
		"localhost/App": `its repository name "App" must be 1 to 256 of `,
		"app.tar":       `"app.tar": this is a path; an image is named [HOST/]REPOSITORY[:TAG]`,
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com/app": `its host "12345678901.dkr.ecr.eu-west-1.amazonaws.com" ` +
			`must be <account>.dkr.ecr.<region>.amazonaws.com`,
	} {
		if _, err := inventory.ParseTarget(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	got := inventory.Places([]inventory.Target{
		{Repository: "b", Tag: "1"}, {Host: "h", Repository: "b"}, {Repository: "a"}, {Repository: "b", Tag: "2"},
		{Repository: "b", Tag: "1"},
		{Host: "h", Repository: "b", Tag: "3"}, {Repository: "a", Tag: "3"},
	})
	want := []inventory.Place{
		{Repositories: []string{"b", "a"}, Tags: map[string][]string{"b": {"1", "2"}}},
		{Host: "h", Repositories: []string{"b"}, Tags: map[string][]string{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

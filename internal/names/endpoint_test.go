package names_test

import (
	"strings"
	"testing"

	"soci-index-builder/internal/names"
)

func TestParseEndpoint(t *testing.T) {
	for _, row := range []struct {
		text, host string
		plain      bool
		wrong      string // in the error
	}{
		{text: "http://127.0.0.1:5000", host: "127.0.0.1:5000", plain: true},
		{text: "https://registry.example/", host: "registry.example"},
		{text: "HTTP://127.0.0.1:5000", host: "127.0.0.1:5000", plain: true},
		{text: "http://[::1]:5000", host: "[::1]:5000", plain: true},
		{text: "", wrong: "no scheme"},
		{text: "nonsense", wrong: "no scheme"},
		{text: "localhost:5000", wrong: "no scheme"},
		{text: "ftp://registry.example", wrong: `scheme is "ftp"`},
		{text: "http://", wrong: "no host"},
		{text: "http://:5000", wrong: "host is none"},
		{text: "http://u:secret@127.0.0.1:5000", wrong: "a user"},
		{text: "http://u:secret@127.0.0.1:port", wrong: "a user"},
		{text: "http://127.0.0.1:port", wrong: "host is none"},
		{text: "http://127.0.0.1:5000/v2", wrong: "a path"},
		{text: "http://127.0.0.1:5000?a=b", wrong: "a query"},
		{text: "http://127.0.0.1:5000#a", wrong: "a fragment"},
	} {
		host, plain, err := names.ParseEndpoint(row.text)
		if row.wrong == "" {
			if err != nil || host != row.host || plain != row.plain {
				t.Errorf("%q: %q, %t, %v", row.text, host, plain, err)
			}
			continue
		}
		if err == nil {
			t.Fatalf("%q: %v; want %q and what is allowed", row.text, err, row.wrong)
		}
		if !strings.Contains(err.Error(), row.wrong) || !strings.Contains(err.Error(), names.EndpointAllowed) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v; want %q and what is allowed", row.text, err, row.wrong)
		}
	}
}

package names

import (
	"errors"
	"fmt"
	"strings"
)

// EndpointAllowed says what ParseEndpoint takes.
const EndpointAllowed = "allowed is http:// or https:// and a host, such as http://127.0.0.1:5000"

// ParseEndpoint takes the URL of a registry apart: its host, with the port, and
// whether it is plain HTTP. The error says what is wrong, without the URL, which
// may hold a password.
func ParseEndpoint(s string) (host string, plain bool, err error) {
	scheme, rest, hasScheme := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	beforeFragment, _, hasFragment := strings.Cut(rest, "#")
	beforeQuery, _, hasQuery := strings.Cut(beforeFragment, "?")
	host, path, _ := strings.Cut(beforeQuery, "/")
	wrong := ""
	switch {
	case !hasScheme:
		wrong = "it has no scheme"
	case scheme != "http" && scheme != "https":
		wrong = fmt.Sprintf("its scheme is %q", scheme)
	case strings.Contains(host, "@"):
		wrong = "it has a user"
	case host == "":
		wrong = "it has no host"
	case !IsHost(host):
		wrong = "its host is none"
	case strings.Trim(path, "/") != "":
		wrong = "it has a path"
	case hasQuery:
		wrong = "it has a query"
	case hasFragment:
		wrong = "it has a fragment"
	default:
		return host, scheme == "http", nil
	}
	return "", false, errors.New(wrong + "; " + EndpointAllowed)
}

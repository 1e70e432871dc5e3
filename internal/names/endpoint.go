package names

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// EndpointAllowed says what ParseEndpoint takes.
const EndpointAllowed = "allowed is http:// or https:// and a host, such as http://127.0.0.1:5000"

// ParseEndpoint takes the URL of a registry apart: its host, with the port, and
// whether it is plain HTTP. The error says what is wrong, without the URL, which
// may hold a password.
func ParseEndpoint(s string) (host string, plain bool, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", false, errors.New("it is not a URL; " + EndpointAllowed)
	}
	wrong := ""
	switch {
	case u.Scheme == "":
		wrong = "it has no scheme"
	case u.Scheme != "http" && u.Scheme != "https":
		wrong = fmt.Sprintf("its scheme is %q", u.Scheme)
	case u.User != nil:
		wrong = "it has a user"
	case u.Hostname() == "":
		wrong = "it has no host"
	case strings.Trim(u.Path, "/") != "":
		wrong = "it has a path"
	case u.RawQuery != "":
		wrong = "it has a query"
	case u.Fragment != "":
		wrong = "it has a fragment"
	default:
		return u.Host, u.Scheme == "http", nil
	}
	return "", false, errors.New(wrong + "; " + EndpointAllowed)
}

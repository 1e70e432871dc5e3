package netfailure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// ProxyError is the answer of a proxy that does not connect to a host.
type ProxyError struct {
	Proxy  string // HOST[:PORT]
	Status int
}

func (e *ProxyError) Error() string {
	text := fmt.Sprintf("the proxy %s answers %d %s", e.Proxy, e.Status, http.StatusText(e.Status))
	if e.Status == http.StatusProxyAuthRequired {
		return text + ": put USER:PASSWORD@ before the host in HTTPS_PROXY"
	}
	return text + ": check HTTPS_PROXY, and NO_PROXY for hosts that are reached without it"
}

// passes reports whether another attempt may be answered otherwise.
func (e *ProxyError) passes() bool {
	return e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests ||
		e.Status == http.StatusRequestTimeout
}

// Connected is for http.Transport's OnProxyConnectResponse: net/http reports what
// a proxy answered without its status and its name.
func Connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{proxy.Host, answer.StatusCode}
}

// OfProxy reports whether an error is about the proxy itself, in its variable or
// by its word: no other attempt goes better.
func OfProxy(err error) bool {
	refused, ok := errors.AsType[*ProxyError](err)
	return ok && !refused.passes() || wrongProxy(err) != ""
}

// wrongProxy says which variable names no proxy, if that is what an error of
// net/http is about. The value is not shown: it may have a password.
func wrongProxy(err error) string {
	if !strings.Contains(err.Error(), "invalid proxy address ") && !misread(err) {
		return ""
	}
	name := "HTTPS_PROXY or HTTP_PROXY"
	for _, variable := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if value := os.Getenv(variable); value != "" && !isProxy(value) {
			name = variable
			break
		}
	}
	return name + " is no proxy's address: it must be such as http://proxy.example:3128"
}

// misread reports whether net/http looked for a proxy that nobody means: of an
// address that it cannot read it takes the scheme for a host, or none.
func misread(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "proxyconnect" {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](op.Err); ok {
		return dns.Name == "http" || dns.Name == "https"
	}
	dial, ok := errors.AsType[*net.OpError](op.Err)
	return ok && dial.Addr != nil && strings.HasPrefix(dial.Addr.String(), ":")
}

// isProxy reports whether a proxy's address has a host, and a port if it has one.
func isProxy(value string) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	return err == nil && u.Hostname() != ""
}

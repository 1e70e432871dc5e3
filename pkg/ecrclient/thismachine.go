package ecrclient

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
)

// What a registry elsewhere says (a redirect, where blobs are stored, a token
// server) must not make a request to this machine, or to an address that only its
// own network has. checkRedirect refuses hosts that are such addresses;
// outwardTransport refuses to connect to them, whatever name led there.

// origin is what is known of where a registry is.
type origin struct {
	host string // without the port

	// What connections to the registry led to. One that ever answered from elsewhere
	// is elsewhere: its name may resolve to anything in between.
	here, elsewhere atomic.Bool
}

// isHere reports whether the registry is on this machine, so that it may lead to
// other servers there.
func (o *origin) isHere() bool {
	return isThisMachine(o.host) || o.here.Load() && !o.elsewhere.Load()
}

// is reports whether a request is for the registry itself.
func (o *origin) is(req *http.Request) bool { return strings.EqualFold(req.URL.Hostname(), o.host) }

// watch notes which host a request to the registry reaches.
func (o *origin) watch(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			host, _, err := net.SplitHostPort(info.Conn.RemoteAddr().String())
			if err == nil && isThisMachine(host) {
				o.here.Store(true)
			} else {
				o.elsewhere.Store(true)
			}
		},
	}))
}

// outward returns a dialer that does not connect to this machine.
func outward(dialer net.Dialer) *net.Dialer {
	dialer.Control = func(_, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		if isThisMachine(host) {
			return &thisMachineError{host}
		}
		return nil
	}
	return &dialer
}

// proxied reports whether a transport sends a request to a proxy, which then
// resolves the host's name.
func proxied(via http.RoundTripper, req *http.Request) bool {
	t, ok := via.(*http.Transport)
	if !ok || t.Proxy == nil {
		return false
	}
	proxy, err := t.Proxy(req)
	return proxy != nil || err != nil
}

// thisMachineError is why there is no connection to an address.
type thisMachineError struct{ address string }

func (e *thisMachineError) Error() string {
	return fmt.Sprintf("%s is an address of this machine or of its network alone", e.address)
}

// refusal says what the registry wanted.
func (e *thisMachineError) refusal(host string) string {
	to := host
	if !strings.Contains(host, e.address) {
		to += " (" + e.address + ")"
	}
	return fmt.Sprintf("refused a request to %s, where the registry leads: an address of this machine or of its "+
		"network alone, and the registry is elsewhere", to)
}

// isThisMachine reports whether a host is this machine, or an address that only
// its own network has, as the one where clouds hand out credentials.
func isThisMachine(host string) bool {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	ip = ip.Unmap()
	if nat64.Contains(ip.WithZone("")) {
		b := ip.As16()
		ip, _ = netip.AddrFromSlice(b[12:])
	}
	return err == nil && (ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() ||
		ip.IsLinkLocalMulticast() ||
		ip.WithZone("") == awsMetadataIPv6)
}

// nat64 are the addresses by which hosts that have only IPv6 reach those of IPv4,
// which are their last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// awsMetadataIPv6 is where EC2 hands out credentials over IPv6. Over IPv4 it is a
// link-local address.
var awsMetadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

// Package netfailure says in plain words why a server could not be reached: what
// net/http and the operating system say names system calls.
package netfailure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Text returns what happened between this machine and host, which is
// HOST[:PORT]; without one the host is that of the URL that failed. It is empty
// for an error that it does not know. The system's own words stand in parentheses.
func Text(host string, err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok && host == "" {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			host = parsed.Host
		}
	}
	if text := wrongProxy(err); text != "" {
		return text
	}
	if refused, ok := errors.AsType[*ProxyError](err); ok {
		return refused.Error()
	}
	op, ok := errors.AsType[*net.OpError](err)
	if host == "" && ok && op.Addr != nil {
		host = op.Addr.String()
	}
	if ok && op.Op == "proxyconnect" {
		proxy := "set by HTTPS_PROXY or HTTP_PROXY"
		if inner, ok := errors.AsType[*net.OpError](op.Err); ok && inner.Addr != nil {
			proxy = inner.Addr.String()
		}
		text := words("the proxy "+proxy, op.Err)
		if _, unknown := errors.AsType[*net.DNSError](op.Err); unknown {
			text += ", which HTTPS_PROXY or HTTP_PROXY names"
		}
		if text != "" {
			return text
		}
	}
	if host == "" {
		host = "the server"
	}
	return words(host, err)
}

func words(host string, err error) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		other     *tls.CertificateVerificationError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("there is no host %s (no such host)", dns.Name)
	case errors.As(err, &dns) && dns.IsTimeout: // whose text has addresses of this machine
		return fmt.Sprintf("the name of the host %s cannot be resolved now (timeout)", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("the name of the host %s cannot be resolved now (%s)", dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s (connection refused)", host)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s from here (no route)", host)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s broke off the connection (connection reset)", host)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Sprintf("%s broke off the connection (unexpected EOF)", host)
	case errors.As(err, &authority):
		return fmt.Sprintf("the certificate of %s is not trusted (unknown authority); %s", host, trusted())
	case errors.As(err, &hostname):
		if names := hostname.Certificate.DNSNames; len(names) > 0 {
			return fmt.Sprintf("the certificate of %s is for other names: %s", host, certificateNames(names))
		}
		return fmt.Sprintf("the certificate of %s is not for that name", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired, or is not valid yet", host)
	case errors.As(err, &other):
		return fmt.Sprintf("the certificate of %s is not trusted (%v)", host, other.Err)
	case hasDeadline(err):
		return fmt.Sprintf("the time that the caller allowed for the request to %s is up", host)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT),
		errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s does not answer (timeout)", host)
	}
	return ""
}

// trusted says what SSL_CERT_FILE has to do with a certificate that is not trusted.
func trusted() string {
	file := os.Getenv("SSL_CERT_FILE")
	if file == "" {
		return "SSL_CERT_FILE names a file of others to trust"
	}
	text, err := os.ReadFile(file)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	switch {
	case err != nil:
		return fmt.Sprintf("SSL_CERT_FILE %q cannot be read: %v", file, err)
	case !x509.NewCertPool().AppendCertsFromPEM(text):
		return fmt.Sprintf("SSL_CERT_FILE %q has no certificate in PEM's form", file)
	}
	return fmt.Sprintf("SSL_CERT_FILE %q does not have the authority that signed it", file)
}

// hasDeadline reports whether an error is that of a context, which is the caller's
// deadline: errors.Is takes every timeout of package net for one.
func hasDeadline(err error) bool {
	if err == context.DeadlineExceeded {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return hasDeadline(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), hasDeadline)
	}
	return false
}

// mostNames is how many names of a certificate are listed.
const mostNames = 5

// certificateNames lists names of a certificate, which may come from anyone: there
// can be thousands, of any length and any characters.
func certificateNames(names []string) string {
	var told []string
	for _, name := range names[:min(len(names), mostNames)] {
		quoted := fmt.Sprintf("%.100q", name)
		told = append(told, quoted[1:len(quoted)-1])
	}
	if more := len(names) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(told, ", ")
}

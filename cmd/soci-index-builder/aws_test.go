package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
)

// A host that has no address is named, with what to check; no resolver is asked.
func TestUnresolvedHost(t *testing.T) {
	const host = "no-such-host.invalid"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: host, Server: "192.0.2.1:53", IsNotFound: true},
			"there is no host no-such-host.invalid (no such host): check its name, and HTTPS_PROXY where hosts are " +
				"reached through a proxy"},
		{&net.DNSError{Err: "read udp 192.0.2.2:1->192.0.2.1:53: i/o timeout", Name: host, IsTimeout: true,
			IsTemporary: true}, "the name of the host no-such-host.invalid cannot be resolved now (timeout): " +
			"check the network, and the DNS server of this machine"},
		{&net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true},
			"the name of the host no-such-host.invalid cannot be resolved now (server misbehaving): " +
				"check the network, and the DNS server of this machine"},
	} {
		r, err := ecrclient.New(host+"/app:1", ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}),
			ecrclient.WithTransport(&http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: tt.err}
				}}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Resolve(t.Context(), "1")
		var b strings.Builder
		if code := exitCode(t.Context(), &b, explain(err)); code != exitFailure ||
			!strings.HasSuffix(b.String(), "resolve "+host+"/app:1: "+tt.want+"\n") || raw.MatchString(b.String()) {
			t.Errorf("%v is told with %d as %q, want %q", tt.err, code, b.String(), tt.want)
		}
	}
}

// Of many failures of one host only the first asks whether it speaks TLS, which
// takes time with one that does not answer.
func TestSchemeIsAskedOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var asked atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			conn.Close()
		}
	}()
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	var f registryFlags
	f.add(cmd)
	for _, name := range []string{"app", "lib", "app"} {
		failure := &ecrclient.Error{Op: "resolve", Repository: listener.Addr().String() + "/" + name, Err: io.EOF}
		if err := f.explain(cmd, failure); !errors.Is(err, failure) || strings.Contains(err.Error(), "speaks") {
			t.Errorf("%v is told as %v", failure, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times, want once", n)
	}
}

// awsWorld is the AWS account of a script, whose environment names it. These
// commands go with it:
//
//	stack NAME [KEY=VALUE...]  deploy a stack of this project with these
//	                           parameters, or outputs; STATUS=... for its status
//	execution NAME FILE        an execution of the state machine runs with this
//	                           input; $DIGEST in it is the environment's
//	awsfail SERVICE OPERATION TIMES STATUS CODE MESSAGE
//	                           have the next requests answered so; "*" is any
//	                           operation, the code PAGE is a web page
//
// ECR has what the script's registry has.
type awsWorld struct {
	server *awstest.Server
	stacks *awstest.CloudFormation
	ecr    *awstest.ECR
	states *awstest.States
}

func newAWSWorld(server *awstest.Server, registry *registrytest.Server) *awsWorld {
	a := &awsWorld{server: server, stacks: awstest.NewCloudFormation(), ecr: awstest.NewECR(registry),
		states: new(awstest.States)}
	server.Handle("states", a.states)
	server.Handle("cloudformation", a.stacks)
	server.Handle("ecr", a.ecr)
	return a
}

func (a *awsWorld) stack(ts *testscript.TestScript, _ bool, args []string) {
	s := awstest.NewStack(args[0])
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		_, parameter := s.Parameters[key]
		_, output := s.Outputs[key]
		switch {
		case ok && key == "STATUS":
			s.Status = value
		case ok && parameter:
			s.Parameters[key] = value
		case ok && output:
			s.Outputs[key] = value
		default:
			ts.Fatalf("a stack has no %s", arg)
		}
	}
	a.stacks.Add(s)
}

func (a *awsWorld) execution(ts *testscript.TestScript, _ bool, args []string) {
	a.states.Run(args[0], strings.ReplaceAll(ts.ReadFile(args[1]), "$DIGEST", ts.Getenv("DIGEST")))
}

func (a *awsWorld) ended(_ *testscript.TestScript, _ bool, args []string) {
	a.states.Close(args[0])
}

func (a *awsWorld) fail(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	status, err := strconv.Atoi(args[3])
	ts.Check(err)
	a.server.Fail(args[0], args[1], times, &awstest.Error{Status: status, Code: args[4], Message: args[5],
		Page: args[4] == "PAGE"})
}

package vpc_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"soci-index-builder/internal/doctor/vpc"
	"soci-index-builder/internal/testkit/awstest"
)

func TestTableOf(t *testing.T) {
	tables := []vpc.RouteTable{
		{ID: "main", Associations: []vpc.Association{{Main: true}}},
		{ID: "own", Associations: []vpc.Association{{Subnet: "subnet-1"}, {Subnet: "subnet-2"}}},
	}
	for subnet, want := range map[string]string{"subnet-1": "own", "subnet-2": "own", "subnet-3": "main"} {
		if got := vpc.TableOf(tables, subnet); got == nil || got.ID != want {
			t.Errorf("%s: %+v, want %s", subnet, got, want)
		}
	}
	if got := vpc.TableOf(tables[1:], "subnet-3"); got != nil {
		t.Errorf("without a main table: %+v", got)
	}
}

func TestPermission(t *testing.T) {
	for _, tt := range []struct {
		p      vpc.Permission
		https  bool
		public bool
	}{
		{vpc.Permission{Protocol: "-1", Blocks: []string{"0.0.0.0/0"}}, true, true},
		{vpc.Permission{Protocol: "tcp", From: 443, To: 443, Blocks: []string{"10.0.0.0/8"}}, true, false},
		{vpc.Permission{Protocol: "6", From: 1, To: 65535, Blocks: []string{"203.0.113.0/24"}}, true, true},
		{vpc.Permission{Protocol: "tcp", From: 444, To: 65535}, false, false},
		{vpc.Permission{Protocol: "tcp", From: 1, To: 442}, false, false},
		{vpc.Permission{Protocol: "17", From: 443, To: 443}, false, false},
		{vpc.Permission{Protocol: "tcp", From: 443, To: 443, Prefixes: []string{"pl-1"}}, true, true},
		{vpc.Permission{Protocol: "tcp", From: 443, To: 443, Blocks: []string{"of a new form"}}, true, true},
	} {
		if tt.p.HTTPS() != tt.https || tt.p.Public() != tt.public {
			t.Errorf("%+v: %t, %t", tt.p, tt.p.HTTPS(), tt.p.Public())
		}
	}
	p := vpc.Permission{Blocks: []string{"10.0.0.0/16"}, Groups: []string{"sg-1"}}
	for _, tt := range []struct {
		blocks, groups []string
		want           bool
	}{
		{[]string{"10.0.1.0/24"}, nil, true}, {[]string{"10.1.0.0/24", "10.0.0.0/8"}, nil, true},
		{[]string{"10.1.0.0/24"}, []string{"sg-2"}, false}, {nil, []string{"sg-2", "sg-1"}, true},
	} {
		if got := p.Concerns(tt.blocks, tt.groups); got != tt.want {
			t.Errorf("%v, %v: %t", tt.blocks, tt.groups, got)
		}
	}
}

// large answers with a sound document of that many bytes.
type large int

func (n large) Do(r *http.Request) (*http.Response, error) {
	text := "<DescribeSubnetsResponse><a>" + strings.Repeat("x", int(n)) + "</a></DescribeSubnetsResponse>"
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		Request: r}, nil
}

func TestLargeAnswer(t *testing.T) {
	cfg := awstest.Start(t).Config()
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	for n, refused := range map[int]bool{1 << 20: false, 32 << 20: true} {
		cfg.HTTPClient = large(n)
		if _, err := vpc.Open(cfg).Subnets(t.Context(), []string{"subnet-1"}); (err != nil) != refused ||
			err != nil && !strings.Contains(err.Error(), "more than 33554432 bytes") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

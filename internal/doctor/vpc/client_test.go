package vpc_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/doctor/vpc"
	"soci-index-builder/internal/testkit/awstest"
)

// start returns a network of two subnets, and a client that asks three times.
func start(t *testing.T) (*awstest.Server, *vpc.Client) {
	server := awstest.Start(t)
	server.Handle("ec2", awstest.NewEC2([]string{"subnet-1", "subnet-2"}, []string{"sg-1"}))
	cfg := server.Config()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = 3, time.Millisecond
		})
	}
	return server, vpc.Open(cfg)
}

// A list is read to its end, one page after the other.
func TestPages(t *testing.T) {
	server, c := start(t)
	subnets, err := c.Subnets(t.Context(), []string{"subnet-2", "subnet-1", "subnet-3"})
	want := []vpc.Subnet{{ID: "subnet-1", VPC: awstest.VPC, Block: "10.0.0.0/24"},
		{ID: "subnet-2", VPC: awstest.VPC, Block: "10.0.1.0/24"}}
	if err != nil || !slices.Equal(subnets, want) {
		t.Errorf("%+v, want %+v; %v", subnets, want, err)
	}
	if n := server.Count("ec2", "DescribeSubnets"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault *awstest.Error
		times int
		kind  error // nil: none, when it was tried again
	}{
		{"throttled", &awstest.Error{Status: 503, Code: "RequestLimitExceeded", Message: "slow down"}, 2, nil},
		{"too often throttled", &awstest.Error{Status: 503, Code: "RequestLimitExceeded", Message: "slow down"}, 3,
			awserror.ErrThrottled},
		{"unavailable", &awstest.Error{Status: 503, Code: "Unavailable", Message: "later"}, 1, nil},
		{"connection ends", &awstest.Error{}, 2, nil},
		{"no connection", &awstest.Error{}, 3, awserror.ErrUnreachable},
		{"denied", &awstest.Error{Status: 403, Code: "UnauthorizedOperation", Message: "no"}, 1, awserror.ErrDenied},
		{"expired", &awstest.Error{Status: 400, Code: "RequestExpired", Message: "no"}, 1, awserror.ErrCredentials},
		{"not accepted", &awstest.Error{Status: 401, Code: "AuthFailure", Message: "no"}, 1, awserror.ErrCredentials},
		{"a proxy's page", &awstest.Error{Status: 403, Page: true}, 1, awserror.ErrNotAWS},
		{"a proxy's page that looks well", &awstest.Error{Status: 200, Page: true}, 1, awserror.ErrNotAWS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, c := start(t)
			server.Fail("ec2", "DescribeSecurityGroups", tt.times, tt.fault)
			groups, err := c.Groups(t.Context(), []string{"sg-1"})
			if tt.kind == nil {
				if err != nil || len(groups) != 1 {
					t.Errorf("%+v %v", groups, err)
				}
				return
			}
			err = awserror.Explain(err)
			if !errors.Is(err, tt.kind) {
				t.Errorf("%v, want %v", err, tt.kind)
			}
			if e, ok := errors.AsType[*awserror.Error](err); !ok || e.Action != "ec2:DescribeSecurityGroups" {
				t.Errorf("of the action %+v", e)
			}
		})
	}
	_, c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Endpoints(ctx, awstest.VPC); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// asked remembers the hosts that were asked.
type asked []string

func (a *asked) Do(r *http.Request) (*http.Response, error) {
	*a = append(*a, r.URL.Scheme+"://"+r.URL.Host)
	return nil, errors.New("no network")
}

// EC2 is asked where the region's partition has it.
func TestEndpoint(t *testing.T) {
	server, _ := start(t)
	for region, want := range map[string]string{
		"eu-west-1": "https://ec2.eu-west-1.amazonaws.com", "cn-north-1": "https://ec2.cn-north-1.amazonaws.com.cn",
		"us-gov-west-1":  "https://ec2.us-gov-west-1.amazonaws.com",
		"eusc-de-east-1": "https://ec2.eusc-de-east-1.amazonaws.eu",
	} {
		var hosts asked
		cfg := server.Config()
		cfg.Region, cfg.BaseEndpoint, cfg.HTTPClient = region, nil, &hosts
		if _, err := vpc.Open(cfg).RouteTables(t.Context(), awstest.VPC); err == nil ||
			strings.Join(hosts, " ") != want {
			t.Errorf("%s: asked %v (%v), want %s", region, hosts, err, want)
		}
	}
}

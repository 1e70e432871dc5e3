package vpc_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/doctor/vpc"
	"soci-index-builder/internal/testkit/awstest"
)

// clock is an EC2 whose clock is ahead, and that refuses what was signed at another
// time.
type clock struct {
	ahead    time.Duration
	code     string
	header   http.Header // of the refusals
	always   bool        // everything is refused
	requests int
}

func (c *clock) Do(r *http.Request) (*http.Response, error) {
	c.requests++
	now := time.Now().Add(c.ahead).UTC()
	header := http.Header{"Date": {now.Format(http.TimeFormat)}}
	answer := func(status int, text string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)),
				Request: r},
			nil
	}
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, err
	}
	if c.always || signed.Sub(now).Abs() > 5*time.Minute {
		for name, values := range c.header {
			header[name] = values
		}
		return answer(http.StatusForbidden,
			"<Response><Errors><Error><Code>"+c.code+"</Code><Message>no</Message></Error>"+
				"</Errors></Response>")
	}
	return answer(http.StatusOK,
		"<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId></item></subnetSet>"+
			"</DescribeSubnetsResponse>")
}

// A wrong clock of this machine is put right by EC2's answer, once and for all.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ec2      clock
		requests int  // for three questions
		failed   bool // all of them
	}{
		{"right", clock{}, 3, false},
		{"a little wrong", clock{ahead: 2 * time.Minute}, 3, false},
		{"slow", clock{ahead: time.Hour, code: "RequestExpired"}, 4, false},
		{"fast", clock{ahead: -time.Hour, code: "AuthFailure"}, 4, false},
		{"by the signature", clock{ahead: 24 * time.Hour, code: "SignatureDoesNotMatch"}, 4, false},
		{"too skewed", clock{ahead: -24 * time.Hour, code: "RequestTimeTooSkewed"}, 4, false},
		{"in the future", clock{ahead: -time.Hour, code: "RequestInTheFuture"}, 4, false},
		{"another reason", clock{ahead: time.Hour, code: "UnauthorizedOperation"}, 3, true},
		{"wrong credentials", clock{always: true, code: "AuthFailure"}, 3, true},
		{"wrong clock and credentials", clock{ahead: time.Hour, always: true, code: "AuthFailure"}, 4, true},
		{"out of a cache", clock{ahead: time.Hour, code: "AuthFailure", header: http.Header{"Age": {"1"}}}, 3, true},
		{"no date", clock{ahead: time.Hour, code: "AuthFailure", header: http.Header{"Date": nil}}, 3, true},
		{"date that is none", clock{ahead: time.Hour, code: "AuthFailure", header: http.Header{"Date": {"now"}}}, 3,
			true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := awstest.Start(t).Config()
			cfg.HTTPClient = &tt.ec2
			c := vpc.Open(cfg)
			for range 3 {
				subnets, err := c.Subnets(t.Context(), []string{"subnet-1"})
				if (err != nil) != tt.failed || err == nil && len(subnets) != 1 {
					t.Fatalf("%v %v", subnets, err)
				}
				if kind := awserror.Explain(err); tt.failed && !errors.Is(kind, awserror.ErrCredentials) &&
					!errors.Is(kind, awserror.ErrDenied) {
					t.Errorf("%v", kind)
				}
			}
			if tt.ec2.requests != tt.requests {
				t.Errorf("%d requests, want %d", tt.ec2.requests, tt.requests)
			}
		})
	}
}

// pages answers with page after page, the same or none of them.
type pages struct {
	text string
	n    int
}

func (p *pages) Do(r *http.Request) (*http.Response, error) {
	p.n++
	next := "<nextToken>again</nextToken>"
	if p.text == "" && p.n == 3 { // the third has something
		p.text, next = "<item><natGatewayId>nat-1</natGatewayId></item>", ""
	}
	text := "<DescribeNatGatewaysResponse><natGatewaySet>" + p.text + "</natGatewaySet>" + next +
		"</DescribeNatGatewaysResponse>"
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		Request: r}, nil
}

// A page may be empty although another follows; a list without an end is refused.
func TestPagesWithoutEnd(t *testing.T) {
	cfg := awstest.Start(t).Config()
	p := &pages{}
	cfg.HTTPClient = p
	if got, err := vpc.Open(cfg).NATGateways(t.Context(), awstest.VPC); err != nil || len(got) != 1 ||
		got[0].ID != "nat-1" {
		t.Errorf("%+v %v", got, err)
	}
	p.text, p.n = "<item><natGatewayId>nat-1</natGatewayId></item>", 3
	if _, err := vpc.Open(cfg).NATGateways(t.Context(), awstest.VPC); err == nil || p.n != 103 ||
		!strings.Contains(err.Error(), "more than 100 pages") {
		t.Errorf("%d pages: %v", p.n, err)
	}
}

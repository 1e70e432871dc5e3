package doctor_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
)

var needed = []string{"ecr.api", "ecr.dkr", "s3", "lambda", "sqs", "events", "states"}

// isolate takes the way out of the network, and adds an endpoint for each of the
// services.
func isolate(n *awstest.EC2, services ...string) {
	n.Tables[0].Routes = n.Tables[0].Routes[:1]
	for _, s := range services {
		n.Endpoint(s)
	}
}

func endpoint(n *awstest.EC2, service string) *awstest.EC2Endpoint {
	for i, e := range n.Endpoints {
		if strings.HasSuffix(e.Service, "."+service) {
			return &n.Endpoints[i]
		}
	}
	panic("no endpoint of " + service)
}

func TestReach(t *testing.T) {
	const other = "vpc-other"
	all := awstest.EC2Permission{Protocol: "-1", Blocks: []awstest.EC2Block{{Block: "0.0.0.0/0"}}}
	within := awstest.EC2Permission{Protocol: "tcp", From: 443, To: 443,
		Blocks: []awstest.EC2Block{{Block: "10.0.0.0/16"}}}
	for _, tt := range []struct {
		name       string
		parameters map[string]string
		change     func(*awstest.EC2)
		want       []string // subject, text and hint of each problem, by "|"
		notes      []string // what cannot be told
		well       string   // in what is said of what can be reached; empty: nothing is
	}{
		{name: "NAT gateway", change: func(*awstest.EC2) {}, well: strings.Join(needed, ", ") + " can be reached"},
		{name: "endpoints", change: func(n *awstest.EC2) { isolate(n, needed...) }, well: "can be reached"},
		{name: "endpoints that are not needed", parameters: map[string]string{deployed.ParamEventBus: "",
			deployed.ParamFanOutFromGiB: "0"}, change: func(n *awstest.EC2) { isolate(n, needed[:5]...) },
			well: "lambda, sqs can be reached"},
		{name: "transit gateway", change: func(n *awstest.EC2) {
			isolate(n)
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block: "10.0.0.0/8", Transit: "tgw-1"})
		}, notes: []string{"whether " + strings.Join(needed, ", ") +
			" can be reached from subnet-01234567, subnet-01234568 " +
			"cannot be told: a route leads to tgw-1, and what is behind that was not looked at"}},
		{name: "nothing", change: func(n *awstest.EC2) { isolate(n) }, want: []string{
			"ecr.api|cannot be reached from subnet-01234567, subnet-01234568: there is neither|make an endpoint",
			"ecr.dkr|neither", "s3|neither", "lambda|neither", "sqs|neither", "events|neither", "states|neither"}},
		{name: "one endpoint is missing", change: func(n *awstest.EC2) { isolate(n, needed[1:]...) },
			want: []string{"ecr.api|cannot be reached"}},
		{name: "endpoints of another network", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			endpoint(n, "sqs").VPC = other
		}, want: []string{"sqs|neither"}},
		{name: "endpoint of another region", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			endpoint(n, "sqs").Service = "com.amazonaws.us-east-1.sqs"
		}, want: []string{"sqs|neither"}},
		{name: "internet gateway", change: func(n *awstest.EC2) {
			isolate(n, needed[1:]...)
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block: "0.0.0.0/0", Gateway: "igw-1"})
		}, want: []string{"ecr.api|the internet gateway igw-1 is of no use to functions"}},
		{name: "deleted NAT gateway", change: func(n *awstest.EC2) {
			n.Tables[0].Routes[1].State = "blackhole"
			for _, s := range needed[1:] {
				n.Endpoint(s)
			}
		}, want: []string{"ecr.api|neither"}},
		{name: "IPv6 alone", change: func(n *awstest.EC2) {
			isolate(n, needed[1:]...)
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block6: "::/0", Egress: "eigw-1"})
		}, want: []string{"ecr.api|neither an endpoint for it nor a route to a NAT gateway; the egress-only internet " +
			"gateway eigw-1 is of no use to functions, which use IPv4"}},
		{name: "one subnet has another route table", change: func(n *awstest.EC2) {
			n.Tables = append(n.Tables, awstest.EC2Table{ID: "rtb-2", VPC: awstest.VPC,
				Associations: []awstest.EC2Association{{Subnet: "subnet-01234568"}}})
			for _, s := range needed {
				n.Endpoint(s)
			}
		}, want: []string{"s3|cannot be reached from subnet-01234568: the endpoint vpce-s3 is not in the route table " +
			"rtb-2|modify-vpc-endpoint --vpc-endpoint-id vpce-s3 --add-route-table-ids rtb-2 --region eu-west-1"}},
		{name: "no private DNS", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			endpoint(n, "lambda").PrivateDNS = false
		}, want: []string{"lambda|vpce-lambda has no private DNS name|--vpc-endpoint-id vpce-lambda " +
			"--private-dns-enabled"}},
		{name: "no private DNS beside a NAT gateway",
			change: func(n *awstest.EC2) { n.Endpoint("lambda").PrivateDNS = false },
			well:   "can be reached"},
		{name: "pending", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			endpoint(n, "ecr.dkr").State = "pending"
		}, want: []string{"ecr.dkr|the endpoint vpce-ecr-dkr is pending|wait"}},
		{name: "endpoint's group", change: func(n *awstest.EC2) {
			n.Endpoint("sqs")
			n.Groups[1].In[0].Blocks[0].Block = "10.1.0.0/16"
		}, want: []string{"sqs|endpoint vpce-sqs, sg-endpoints, let no HTTPS (443) in|--group-id sg-endpoints " +
			"--protocol tcp --port 443 --source-group sg-01234567 --region eu-west-1"}},
		{name: "endpoint's group by port", change: func(n *awstest.EC2) {
			n.Endpoint("sqs")
			n.Groups[1].In[0].From, n.Groups[1].In[0].To = 80, 442
		}, want: []string{"sqs|let no HTTPS (443) in"}},
		{name: "endpoint's group by group", change: func(n *awstest.EC2) {
			n.Endpoint("sqs")
			n.Groups[1].In[0] = awstest.EC2Permission{Protocol: "-1", Members: []awstest.EC2ID{{ID: "sg-x"},
				{ID: "sg-01234567"}}}
		}, well: "can be reached"},
		{name: "nothing goes out", change: func(n *awstest.EC2) { n.Groups[0].Out = nil },
			want: []string{"sg-01234567|let no HTTPS (443) out|" +
				"authorize-security-group-egress --group-id sg-01234567"}},
		{name: "other ports go out", change: func(n *awstest.EC2) {
			n.Groups[0].Out = []awstest.EC2Permission{{Protocol: "tcp", From: 80, To: 80, Blocks: all.Blocks},
				{Protocol: "udp", From: 443, To: 443, Blocks: all.Blocks}}
		}, want: []string{"sg-01234567|let no HTTPS (443) out"}},
		{name: "S3 is public", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			n.Groups[0].Out[0] = within
		}, want: []string{"sg-01234567|to private addresses only"}},
		{name: "S3 by its list of prefixes", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			n.Groups[0].Out = append(n.Groups[0].Out[:0], within,
				awstest.EC2Permission{Protocol: "tcp", From: 443, To: 443,
					Prefixes: []awstest.EC2Prefix{{ID: "pl-1"}}})
		}, well: "can be reached"},
		{name: "S3 by an interface", change: func(n *awstest.EC2) {
			isolate(n, needed...)
			*endpoint(n, "s3") = awstest.EC2Endpoint{ID: "vpce-s3", Type: "Interface", VPC: awstest.VPC,
				State:   "available",
				Service: "com.amazonaws.eu-west-1.s3", PrivateDNS: true, Groups: []awstest.EC2ID{{ID: "sg-endpoints"}},
				Subnets: []string{"subnet-01234567"}}
			n.Groups[0].Out[0] = within
		}, well: "can be reached"},
		{name: "S3's policy", change: func(n *awstest.EC2) {
			n.Endpoint("s3").Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",` +
				`"Resource":["arn:aws:s3:::mine","arn:aws:s3:::mine/*"]}]}`
		}, want: []string{"s3|vpce-s3 does not allow s3:GetObject on " +
			"arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/*|" +
			"--policy-document"}},
		{name: "S3's policy for layers", change: func(n *awstest.EC2) {
			n.Endpoint("s3").Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",` +
				`"Resource":"arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/*"}]}`
		}, well: "can be reached"},
		{name: "S3's policy that denies", change: func(n *awstest.EC2) {
			n.Endpoint("s3").Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},` +
				`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}`
		}, want: []string{"s3|does not allow s3:GetObject"}},
		{name: "S3's policy that denies some", change: func(n *awstest.EC2) {
			n.Endpoint("s3").Policy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},` +
				`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"*",` +
				`"Condition":{"StringNotEquals":{"aws:PrincipalAccount":"123456789012"}}}]}`
		}, well: "can be reached"},
		{name: "S3's policy that allows nothing", change: func(n *awstest.EC2) {
			n.Endpoint("s3").Policy = `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*",` +
				`"Condition":{"StringNotEquals":{"aws:PrincipalAccount":"123456789012"}}}]}`
		}, want: []string{"s3|does not allow s3:GetObject"}},
		{name: "endpoint's group of another account", change: func(n *awstest.EC2) {
			n.Endpoint("sqs")
			endpoint(n, "sqs").Groups = []awstest.EC2ID{{ID: "sg-foreign"}}
		}, notes: []string{"whether sqs can be reached from subnet-01234567, subnet-01234568 cannot be told: the " +
			"security group sg-foreign of the endpoint vpce-sqs was not found"},
			well: "ecr.api, ecr.dkr, s3, lambda, events, states can be reached"},
		{name: "deleted subnet", change: func(n *awstest.EC2) { n.Subnets = n.Subnets[1:] },
			want: []string{"subnet-01234567|not there any more|--parameter SubnetIds="}},
		{name: "deleted group", change: func(n *awstest.EC2) { n.Groups = nil },
			want: []string{"sg-01234567|not there any more|SecurityGroupIds="}},
	} {
		t.Run(tt.name, func(t *testing.T) { testReach(t, tt.parameters, tt.change, tt.want, tt.notes, tt.well) })
	}
}

// testReach holds what is found of a network against what is wanted.
func testReach(t *testing.T, more map[string]string, change func(*awstest.EC2), want, notes []string, well string) {
	t.Helper()
	parameters := map[string]string{deployed.ParamSubnets: "subnet-01234567,subnet-01234568",
		deployed.ParamSecurityGroups: "sg-01234567"}
	maps.Copy(parameters, more)
	server, d := deployWith(t, parameters)
	change(d.Network)
	r := examine(t, server)
	by := map[doctor.Severity][]doctor.Finding{}
	for _, f := range only(r, doctor.CheckReach) {
		by[f.Severity] = append(by[f.Severity], f)
	}
	problems := by[doctor.Problem]
	if !expect.Equal(t, expect.Facts{
		{"number of problems of networks", len(problems), len(want)},
		{"number of problems", r.Count(doctor.Problem), len(want)},
		{"number of notes", len(by[doctor.Note]), len(notes)},
		{"number of warnings", len(by[doctor.Warning]), 0},
		{"all in order", len(by[doctor.OK]) == 1, well != ""},
	}, "%+v, want %q, %q, %q", by, want, notes, well) {
		t.FailNow()
	}
	for i, f := range problems {
		part := strings.Split(want[i]+"|", "|")
		if f.Subject != part[0] || !strings.Contains(f.Found, part[1]) {
			t.Errorf("%s: %q, want %q", f.Subject, f.Found, want[i])
		}
		if f.Hint == "" || !strings.Contains(f.Hint, part[2]) {
			t.Errorf("%s has the hint %q, want %q", f.Subject, f.Hint, want[i])
		}
	}
	for i, f := range by[doctor.Note] {
		if !strings.Contains(f.Found, notes[i]) {
			t.Errorf("%+v, want %q", f, notes[i])
		}
	}
	if well != "" && !strings.Contains(by[doctor.OK][0].Found, well) {
		t.Errorf("%+v, want %q", by[doctor.OK], well)
	}
}

// Without the permissions nothing is said of the network, but which one is
// missing. Without a private network EC2 is not asked.
func TestReachDenied(t *testing.T) {
	for _, operation := range []string{"DescribeSubnets", "DescribeRouteTables", "DescribeVpcEndpoints",
		"DescribeSecurityGroups", "DescribeNatGateways", "DescribeNetworkAcls"} {
		server, _ := deployWith(t, map[string]string{deployed.ParamSubnets: "subnet-01234567",
			deployed.ParamSecurityGroups: "sg-01234567"})
		server.Fail("ec2", operation, 1, &awstest.Error{Status: 403, Code: "UnauthorizedOperation",
			Message: "You are not authorized to perform this operation."})
		found := only(examine(t, server), doctor.CheckReach)
		if len(found) != 1 || found[0].Severity != doctor.Warning ||
			!strings.HasPrefix(found[0].Hint, fmt.Sprintf("allow ec2:%s to ", operation)) {
			t.Errorf("%s: %+v", operation, found)
		}
	}
	server, _ := deployWith(t, nil)
	if found := only(examine(t, server), doctor.CheckReach); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	for _, r := range server.Requests() {
		if r.Service == "ec2" {
			t.Errorf("EC2 is asked for %s without a private network", r.Operation)
		}
	}
}

package doctor_test

import (
	"fmt"
	"strings"
	"testing"

	"soci-index-builder/internal/testkit/awstest"
)

// A route leads to what can be looked at, or to what cannot.
func TestReachRoutes(t *testing.T) {
	both := "from subnet-01234567, subnet-01234568 cannot be told: "
	route := func(r awstest.EC2Route) func(*awstest.EC2) {
		return func(n *awstest.EC2) {
			isolate(n)
			n.Tables[0].Routes = append(n.Tables[0].Routes, r)
		}
	}
	all := strings.Join(needed, ", ")
	nothing := make([]string, len(needed))
	for i, s := range needed {
		nothing[i] = s + "|neither"
	}
	public := func(n *awstest.EC2) *awstest.EC2Table { return &n.Tables[1] }
	for _, tt := range []struct {
		name        string
		change      func(*awstest.EC2)
		want, notes []string
		well        string
	}{
		{"virtual private gateway", route(awstest.EC2Route{Block: "0.0.0.0/0", Gateway: "vgw-1"}), nil,
			[]string{both + "a route leads to vgw-1"}, ""},
		{"firewall's endpoint", route(awstest.EC2Route{Block: "0.0.0.0/0", Gateway: "vpce-firewall"}), nil,
			[]string{both + "a route leads to vpce-firewall"}, ""},
		{"network interface", route(awstest.EC2Route{Block: "0.0.0.0/0", Card: "eni-1"}), nil,
			[]string{both + "a route leads to eni-1"}, ""},
		{"NAT instance", route(awstest.EC2Route{Block: "0.0.0.0/0", Instance: "i-1", Card: "eni-1"}), nil,
			[]string{both + "a route leads to i-1"}, ""},
		{"peering", route(awstest.EC2Route{Block: "10.9.0.0/16", Peering: "pcx-1"}), nil,
			[]string{both + "a route leads to pcx-1"}, ""},
		{"list of prefixes", route(awstest.EC2Route{Prefixes: "pl-mine", Transit: "tgw-1"}), nil,
			[]string{both + "a route leads to tgw-1"}, ""},
		{"VPC Lattice", route(awstest.EC2Route{Prefixes: "pl-lattice", Gateway: "VpcLattice", State: "active"}),
			nothing, nil, ""},
		{"half of all addresses", route(awstest.EC2Route{Block: "128.0.0.0/1", NAT: awstest.NAT}), nil,
			[]string{both + "a route leads to " + awstest.NAT}, ""},
		{"deleted transit gateway", route(awstest.EC2Route{Block: "0.0.0.0/0", Transit: "tgw-1", State: "blackhole"}),
			nothing, nil, ""},
		{"route of the gateway endpoint", func(n *awstest.EC2) {
			isolate(n, "s3")
			n.Tables[0].Routes = append(n.Tables[0].Routes,
				awstest.EC2Route{Prefixes: "pl-s3", Gateway: "vpce-s3", State: "active"})
		}, append(append([]string(nil), nothing[:2]...), nothing[3:]...), nil, ""},
		{"a NAT gateway goes before a transit gateway", func(n *awstest.EC2) {
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block: "10.0.0.0/8", Transit: "tgw-1"})
		}, nil, nil, all + " can be reached"},
		{"endpoints beside a transit gateway", func(n *awstest.EC2) {
			isolate(n, needed[1:]...)
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block: "0.0.0.0/0", Transit: "tgw-1"})
		}, nil, []string{"whether ecr.api can be reached " + both}, strings.Join(needed[1:], ", ") + " can be reached"},
		{"failed NAT gateway", func(n *awstest.EC2) { n.NATs[0].State = "failed" },
			[]string{awstest.NAT + "|the NAT gateway is failed: " + all + " cannot be reached|make another"}, nil, ""},
		{"NAT gateway that is being made", func(n *awstest.EC2) { n.NATs[0].State = "pending" }, nil,
			[]string{"the NAT gateway " + awstest.NAT + " is still being made"}, ""},
		{"another account's NAT gateway", func(n *awstest.EC2) { n.NATs = nil }, nil,
			[]string{"the NAT gateway " + awstest.NAT + " was not found"}, ""},
		{"NAT gateway without the internet", func(n *awstest.EC2) { public(n).Routes = public(n).Routes[:1] },
			[]string{awstest.NAT +
				"|no route leads from the NAT gateway's subnet subnet-public to an internet gateway|" +
				"create-route --route-table-id rtb-public"}, nil, ""},
		{"NAT gateway with a deleted internet gateway",
			func(n *awstest.EC2) { public(n).Routes[1].State = "blackhole" },
			[]string{awstest.NAT + "|no route leads"}, nil, ""},
		{"NAT gateway in front of a firewall", func(n *awstest.EC2) { public(n).Routes[1].Gateway = "vpce-firewall" },
			nil, []string{"the route of the NAT gateway " + awstest.NAT + " leads to vpce-firewall"}, ""},
		{"NAT gateway with the internet in part", func(n *awstest.EC2) { public(n).Routes[1].Block = "0.0.0.0/1" }, nil,
			[]string{"igw-01234567 gets some packets"}, ""},
		{"private NAT gateway", func(n *awstest.EC2) { n.NATs[0].Connectivity = "private" },
			[]string{awstest.NAT + "|the NAT gateway is private, and no route leads on|make a public one"}, nil, ""},
		{"private NAT gateway to a transit gateway", func(n *awstest.EC2) {
			n.NATs[0].Connectivity = "private"
			public(n).Routes[1] = awstest.EC2Route{Block: "0.0.0.0/0", Transit: "tgw-1", State: "active"}
		}, nil, []string{"the route of the NAT gateway " + awstest.NAT + " leads to tgw-1"}, ""},
		{"regional NAT gateway", func(n *awstest.EC2) { n.NATs[0].Subnet = "" }, nil, nil, all + " can be reached"},
		{"NAT gateway in a subnet of an unknown table", func(n *awstest.EC2) {
			n.NATs[0].Subnet = "subnet-foreign"
			n.Tables = n.Tables[:1]
			n.Tables[0].Associations = []awstest.EC2Association{{Subnet: "subnet-01234567"},
				{Subnet: "subnet-01234568"}}
		}, nil, []string{"the route table of the NAT gateway " + awstest.NAT + " was not found",
			"the network ACL of subnet-foreign was not found"}, ""},
		{"subnet of IPv6 alone", func(n *awstest.EC2) { n.Subnets[1].Block = "" },
			[]string{"subnet-01234568|has IPv6 addresses alone|--parameter SubnetIds="}, nil, ""},
		{"endpoint in a subnet of IPv6 alone", func(n *awstest.EC2) {
			n.Endpoint("sqs").Subnets = []string{"subnet-six"}
			n.Subnets = append(n.Subnets, awstest.EC2Subnet{ID: "subnet-six", VPC: awstest.VPC, Block: "2001:db8::/64"})
			a := awstest.OpenACL("acl-six", "subnet-six")
			a.Entries = append(a.Entries, awstest.EC2Entry{Number: 1, Protocol: "-1", Action: "deny",
				Block: "2001:db8::/66"})
			n.ACLs = append(n.ACLs, a)
		}, nil, []string{"whether sqs can be reached from subnet-01234567 cannot be told: the network ACL acl-six " +
			"lets some, not all HTTPS (443) into subnet-six", "from subnet-01234568 cannot be told"},
			"ecr.api, ecr.dkr, s3, lambda, events, states can be reached"},
		{"endpoint of IPv6 alone", func(n *awstest.EC2) { n.Endpoint("sqs").Addresses = "ipv6" },
			[]string{"sqs|its endpoint vpce-sqs has IPv6 addresses alone|--vpc-endpoint-id vpce-sqs " +
				"--ip-address-type ipv4"},
			nil, ""},
		{"endpoints of both kinds of addresses", func(n *awstest.EC2) {
			isolate(n, needed...)
			for i := range n.Endpoints {
				n.Endpoints[i].Addresses = "dualstack"
			}
		}, nil, nil, all + " can be reached"},
		{"S3 by an interface for the outside", func(n *awstest.EC2) {
			isolate(n, needed...)
			s3 := endpoint(n, "s3")
			s3.Type, s3.PrivateDNS, s3.Inbound, s3.Subnets = "Interface", true, true, []string{"subnet-01234567"}
		}, []string{"s3|the private DNS name of the endpoint vpce-s3 is for " +
			"inbound|OnlyForInboundResolverEndpoint=false"},
			nil, ""},
		{"nothing goes out to endpoints", func(n *awstest.EC2) {
			n.Endpoint("sqs")
			n.Groups[0].Out = []awstest.EC2Permission{{Protocol: "tcp", From: 443, To: 443,
				Prefixes: []awstest.EC2Prefix{}, Blocks: []awstest.EC2Block{{Block: "203.0.113.0/24"}}}}
		}, []string{"sg-01234567|let no HTTPS (443) out to the endpoint vpce-sqs: sqs cannot be reached"}, nil, ""},
		{"many pages", func(n *awstest.EC2) {
			for i := range 40 {
				id := fmt.Sprintf("subnet-%d", i)
				n.Subnets = append(n.Subnets, awstest.EC2Subnet{ID: id, VPC: awstest.VPC, Block: "10.0.3.0/24"})
				n.Tables = append(n.Tables, awstest.EC2Table{ID: "rtb-" + id, VPC: awstest.VPC,
					Associations: []awstest.EC2Association{{Subnet: id}}})
				n.ACLs = append(n.ACLs, awstest.EC2ACL{ID: "acl-" + id, VPC: awstest.VPC})
				n.NATs = append(n.NATs, awstest.EC2NAT{ID: "nat-" + id, VPC: awstest.VPC, State: "available"})
			}
			for _, s := range needed { // of another network, which count no less
				n.Endpoints = append(n.Endpoints,
					awstest.EC2Endpoint{ID: "vpce-x-" + s, VPC: awstest.VPC, State: "failed",
						Service: "com.amazonaws.eu-west-1." + s})
			}
			isolate(n)
			n.Tables = append(n.Tables, awstest.EC2Table{ID: "rtb-last", VPC: awstest.VPC, Routes: []awstest.EC2Route{
				{Block: "0.0.0.0/0", NAT: "nat-last", State: "active"}}, Associations: []awstest.EC2Association{
				{Subnet: "subnet-01234567"}, {Subnet: "subnet-01234568"}}})
			n.NATs = append(n.NATs,
				awstest.EC2NAT{ID: "nat-last", VPC: awstest.VPC, State: "available", Subnet: "subnet-39"})
			n.Tables[len(n.Tables)-2].Routes = []awstest.EC2Route{{Block: "0.0.0.0/0", Gateway: "igw-1",
				State: "active"}}
			n.ACLs = append(n.ACLs, awstest.OpenACL("acl-last", "subnet-39"))
		}, nil, nil, all + " can be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) { testReach(t, nil, tt.change, tt.want, tt.notes, tt.well) })
	}
}

// A network ACL keeps requests or replies from passing, at the functions' subnets,
// the NAT gateway's or an endpoint's.
func TestReachACLs(t *testing.T) {
	const (
		ephemeral, functions = 1024, "subnet-01234567"
		create               = "aws ec2 create-network-acl-entry --network-acl-id "
	)
	all := strings.Join(needed, ", ")
	entry := func(number int, out bool, action, block string, from, to int) awstest.EC2Entry {
		return awstest.EC2Entry{Number: number, Protocol: "6", Action: action, Out: out, Block: block,
			Ports: &awstest.EC2Ports{From: from, To: to}}
	}
	// own has an ACL of its own for a subnet, which has just these entries in front
	// of the one that denies.
	own := func(n *awstest.EC2, subnet string, entries ...awstest.EC2Entry) {
		for i, s := range n.ACLs[0].Subnets {
			if s.Subnet == subnet {
				n.ACLs[0].Subnets = append(n.ACLs[0].Subnets[:i:i], n.ACLs[0].Subnets[i+1:]...)
				break
			}
		}
		a := awstest.OpenACL("acl-"+subnet, subnet)
		a.Entries = append([]awstest.EC2Entry{a.Entries[0], a.Entries[2]}, entries...)
		n.ACLs = append(n.ACLs, a)
	}
	out := entry(100, true, "allow", "0.0.0.0/0", 443, 443)
	in := entry(100, false, "allow", "0.0.0.0/0", ephemeral, 65535)
	serve := []awstest.EC2Entry{entry(110, false, "allow", "10.0.0.0/16", 443, 443),
		entry(110, true, "allow", "10.0.0.0/16", ephemeral, 65535)}
	inner := func(entries ...awstest.EC2Entry) func(*awstest.EC2) {
		return func(n *awstest.EC2) { own(n, functions, entries...) }
	}
	public := func(entries ...awstest.EC2Entry) func(*awstest.EC2) {
		return func(n *awstest.EC2) { own(n, awstest.PublicSubnet, entries...) }
	}
	// An endpoint in a subnet of its own, without which sqs could not be reached.
	apart := func(entries ...awstest.EC2Entry) func(*awstest.EC2) {
		return func(n *awstest.EC2) {
			isolate(n, needed...)
			for i := range n.Endpoints {
				if n.Endpoints[i].Type == "Interface" {
					n.Endpoints[i].Subnets = []string{functions, "subnet-01234568"}
				}
			}
			n.Subnets = append(n.Subnets, awstest.EC2Subnet{ID: "subnet-apart", VPC: awstest.VPC, Block: "10.0.9.0/24"})
			endpoint(n, "sqs").Subnets = []string{"subnet-apart"}
			own(n, "subnet-apart", entries...)
		}
	}
	for _, tt := range []struct {
		name        string
		change      func(*awstest.EC2)
		want, notes []string
		well        string
	}{
		{"as narrow as can be", inner(out, in), nil, nil, all + " can be reached"},
		{"no request goes out", inner(in), []string{"acl-" + functions + "|lets no HTTPS (443) out of " + functions +
			" to public addresses: " + all + " cannot be reached from " + functions + "|" + create + "acl-" +
			functions +
			" --egress --rule-number 100 --protocol tcp --port-range From=443,To=443 --cidr-block 0.0.0.0/0 " +
			"--rule-action allow --region eu-west-1"}, nil, ""},
		{"no reply comes in", inner(out, entry(100, false, "allow", "0.0.0.0/0", 443, 443)),
			[]string{"acl-" + functions +
				"|lets no replies (TCP 1024 to 65535) into " + functions +
				" from public addresses|--ingress --rule-number 99 " +
				"--protocol tcp --port-range From=1024,To=65535"}, nil, ""},
		{"the lower number decides", inner(out, in, entry(90, true, "deny", "0.0.0.0/0", 443, 443)), []string{"acl-" +
			functions + "|lets no HTTPS (443) out of|--rule-number 89"}, nil, ""},
		{"the higher number does not", inner(out, in, entry(101, true, "deny", "0.0.0.0/0", 443, 443)), nil, nil,
			all + " can be reached"},
		{"no number is free", inner(out, in, entry(1, true, "deny", "0.0.0.0/0", 0, 65535)),
			[]string{"acl-" + functions +
				"|lets no HTTPS (443) out of|renumber the entries"}, nil, ""},
		{"UDP alone", inner(in, awstest.EC2Entry{Number: 100, Protocol: "17", Action: "allow", Out: true,
			Block: "0.0.0.0/0"}),
			[]string{"acl-" + functions + "|lets no HTTPS (443) out of"}, nil, ""},
		{"IPv6 alone", inner(in,
			awstest.EC2Entry{Number: 100, Protocol: "-1", Action: "allow", Out: true, Block6: "::/0"}),
			[]string{"acl-" + functions + "|lets no HTTPS (443) out of"}, nil, ""},
		{"private addresses alone", inner(in, entry(100, true, "allow", "10.0.0.0/8", 443, 443)),
			[]string{"acl-" + functions + "|lets no HTTPS (443) out of"}, nil, ""},
		{"private addresses are denied", inner(out, in, entry(90, true, "deny", "10.0.0.0/8", 0, 65535)), nil, nil,
			all + " can be reached"},
		{"the addresses of S3 alone", inner(in, entry(100, true, "allow", "52.218.0.0/17", 443, 443)), nil,
			[]string{"the network ACL acl-" + functions + " lets some, not all HTTPS (443) out of " + functions}, ""},
		{"all addresses in two halves", inner(in, entry(100, true, "allow", "0.0.0.0/1", 443, 443),
			entry(101, true, "allow", "128.0.0.0/1", 443, 443)), nil, nil, all + " can be reached"},
		{"the ports of Linux alone", inner(out, entry(100, false, "allow", "0.0.0.0/0", 32768, 60999)), nil,
			[]string{"lets some, not all replies (TCP 1024 to 65535) into " + functions + " from public addresses"},
			""},
		{"all ports in two parts", inner(out, entry(100, false, "allow", "0.0.0.0/0", 0, 2000),
			entry(101, false, "allow", "0.0.0.0/0", 2001, 65535)), nil, nil, all + " can be reached"},
		{"one port is denied", inner(out, in, entry(90, false, "deny", "0.0.0.0/0", 3389, 3389)), nil,
			[]string{"lets some, not all replies"}, ""},
		{"no ACL", func(n *awstest.EC2) { n.ACLs[0].Subnets = n.ACLs[0].Subnets[1:] }, nil,
			[]string{"the network ACL of " + functions + " was not found"}, ""},
		{"NAT gateway's", public(append(serve, out, in)...), nil, nil, all + " can be reached"},
		{"no request comes to the NAT gateway", public(serve[1], out, in),
			[]string{"acl-subnet-public|lets no HTTPS (443) " +
				"into subnet-public from " + functions + "|--cidr-block 10.0.0.0/24",
				"acl-subnet-public|from subnet-01234568|" +
					"--cidr-block 10.0.1.0/24"}, nil, ""},
		{"no reply comes from the NAT gateway", public(serve[0], out, in),
			[]string{"acl-subnet-public|lets no replies (TCP " +
				"1024 to 65535) out of subnet-public to " + functions, "acl-subnet-public|subnet-01234568"}, nil, ""},
		{"no request goes out of the NAT gateway", public(append(serve, in)...),
			[]string{"acl-subnet-public|lets no HTTPS " +
				"(443) out of subnet-public to public addresses"}, nil, ""},
		{"no reply comes to the NAT gateway", public(append(serve, out)...),
			[]string{"acl-subnet-public|lets no replies (TCP " +
				"1024 to 65535) into subnet-public from public addresses"}, nil, ""},
		{"endpoint's", apart(serve...), nil, nil, all + " can be reached"},
		{"no request comes to the endpoint", apart(serve[1]), []string{"acl-subnet-apart|lets no HTTPS (443) into " +
			"subnet-apart from " + functions + ": sqs cannot be reached", "acl-subnet-apart|subnet-01234568"}, nil, ""},
		{"no reply comes from the endpoint", apart(serve[0]),
			[]string{"acl-subnet-apart|lets no replies (TCP 1024 to 65535) " +
				"out of subnet-apart to " + functions, "acl-subnet-apart|subnet-01234568"}, nil, ""},
		{"one of the endpoint's addresses", func(n *awstest.EC2) {
			apart()(n)
			endpoint(n, "sqs").Subnets = []string{"subnet-apart", functions}
		}, nil, []string{"of the addresses of the endpoint vpce-sqs some are not reached: the network ACL " +
			"acl-subnet-apart " +
			"lets no HTTPS (443) into subnet-apart from " + functions, "lets no replies", "from subnet-01234568",
			"lets no replies"}, "ecr.api, ecr.dkr, s3, lambda, events, states can be reached"},
		{"S3 by its gateway", func(n *awstest.EC2) {
			isolate(n, needed...)
			for i := range n.Endpoints {
				n.Endpoints[i].Subnets = []string{functions}
			}
			own(n, functions, entry(100, true, "allow", "10.0.0.0/16", 443, 443), in, serve[0], serve[1])
		}, []string{"acl-" + functions + "|out of " + functions + " to public addresses: s3 cannot be reached"}, nil,
			""},
		{"transit gateway, and nothing passes", func(n *awstest.EC2) {
			isolate(n)
			n.Tables[0].Routes = append(n.Tables[0].Routes, awstest.EC2Route{Block: "0.0.0.0/0", Transit: "tgw-1"})
			own(n, functions)
		}, []string{"acl-" + functions + "|lets no HTTPS (443) out of " + functions + " to anywhere",
			"acl-" + functions +
				"|lets no replies"}, []string{"a route leads to tgw-1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { testReach(t, nil, tt.change, tt.want, tt.notes, tt.well) })
	}
}

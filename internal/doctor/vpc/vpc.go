package vpc

import (
	"context"
	"net/netip"
	"slices"
)

// Subnet of a network.
type Subnet struct {
	ID    string `xml:"subnetId"`
	VPC   string `xml:"vpcId"`
	Block string `xml:"cidrBlock"` // IPv4 addresses, "10.0.1.0/24"; empty: it has IPv6 addresses alone
}

// Subnets returns those of the ids that are there.
func (c *Client) Subnets(ctx context.Context, ids []string) ([]Subnet, error) {
	return c.subnets(ctx, "subnet-id", ids)
}

// SubnetsOf returns those of a network.
func (c *Client) SubnetsOf(ctx context.Context, vpc string) ([]Subnet, error) {
	return c.subnets(ctx, "vpc-id", []string{vpc})
}

func (c *Client) subnets(ctx context.Context, filter string, values []string) ([]Subnet, error) {
	type page struct {
		Items []Subnet `xml:"subnetSet>item"`
		Next  string   `xml:"nextToken"`
	}
	var all []Subnet
	err := list(ctx, c, "DescribeSubnets", filter, values, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

// RouteTable says where the packets of subnets go.
type RouteTable struct {
	ID           string        `xml:"routeTableId"`
	Routes       []Route       `xml:"routeSet>item"`
	Associations []Association `xml:"associationSet>item"`
}

// Association is one of a route table with a subnet, or with all that have none.
type Association struct {
	Main   bool   `xml:"main"`
	Subnet string `xml:"subnetId"`
}

// Route of a table. One of the targets is set.
type Route struct {
	Block          string `xml:"destinationCidrBlock"` // empty: IPv6 addresses, or a list of prefixes
	Prefixes       string `xml:"destinationPrefixListId"`
	State          string `xml:"state"`     // "active", "blackhole"
	Gateway        string `xml:"gatewayId"` // "local", igw-, vgw-, vpce-
	NAT            string `xml:"natGatewayId"`
	Instance       string `xml:"instanceId"`
	Interface      string `xml:"networkInterfaceId"`
	TransitGateway string `xml:"transitGatewayId"`
	Peering        string `xml:"vpcPeeringConnectionId"`
	LocalGateway   string `xml:"localGatewayId"`
	Carrier        string `xml:"carrierGatewayId"`
	CoreNetwork    string `xml:"coreNetworkArn"`
	EgressOnly     string `xml:"egressOnlyInternetGatewayId"` // of IPv6 alone
}

// RouteTables returns those of a network.
func (c *Client) RouteTables(ctx context.Context, vpc string) ([]RouteTable, error) {
	type page struct {
		Items []RouteTable `xml:"routeTableSet>item"`
		Next  string       `xml:"nextToken"`
	}
	var all []RouteTable
	err := list(ctx, c, "DescribeRouteTables", "vpc-id", []string{vpc}, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

// TableOf returns the route table of a subnet, nil if there is none.
func TableOf(tables []RouteTable, subnet string) *RouteTable {
	var main *RouteTable
	for i := range tables {
		for _, a := range tables[i].Associations {
			if a.Subnet == subnet {
				return &tables[i]
			}
			if a.Main {
				main = &tables[i]
			}
		}
	}
	return main
}

// Endpoint of a network, by which a service is reached.
type Endpoint struct {
	ID         string   `xml:"vpcEndpointId"`
	Type       string   `xml:"vpcEndpointType"` // "Interface", "Gateway"
	Service    string   `xml:"serviceName"`     // "com.amazonaws.eu-west-1.ecr.api"
	State      string   `xml:"state"`           // "available"
	Policy     string   `xml:"policyDocument"`
	Tables     []string `xml:"routeTableIdSet>item"`
	Groups     []string `xml:"groupSet>item>groupId"`
	PrivateDNS bool     `xml:"privateDnsEnabled"`
	Subnets    []string `xml:"subnetIdSet>item"`
	Addresses  string   `xml:"ipAddressType"` // "ipv4", "dualstack", "ipv6"

	// InboundOnly: the private DNS name is for what asks from outside, by a
	// resolver's endpoint; in the network the name stays the public one. S3 has that.
	InboundOnly bool `xml:"dnsOptions>privateDnsOnlyForInboundResolverEndpoint"`
}

// Endpoints returns those of a network.
func (c *Client) Endpoints(ctx context.Context, vpc string) ([]Endpoint, error) {
	type page struct {
		Items []Endpoint `xml:"vpcEndpointSet>item"`
		Next  string     `xml:"nextToken"`
	}
	var all []Endpoint
	err := list(ctx, c, "DescribeVpcEndpoints", "vpc-id", []string{vpc}, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

// Group is a security group.
type Group struct {
	ID  string       `xml:"groupId"`
	In  []Permission `xml:"ipPermissions>item"`
	Out []Permission `xml:"ipPermissionsEgress>item"`
}

// Permission lets packets through.
type Permission struct {
	Protocol string   `xml:"ipProtocol"` // "tcp", "6", "-1" for all
	From     int      `xml:"fromPort"`
	To       int      `xml:"toPort"`
	Blocks   []string `xml:"ipRanges>item>cidrIp"` // IPv4
	Groups   []string `xml:"groups>item>groupId"`
	Prefixes []string `xml:"prefixListIds>item>prefixListId"`
}

// Groups returns those of the ids that are there.
func (c *Client) Groups(ctx context.Context, ids []string) ([]Group, error) {
	type page struct {
		Items []Group `xml:"securityGroupInfo>item"`
		Next  string  `xml:"nextToken"`
	}
	var all []Group
	err := list(ctx, c, "DescribeSecurityGroups", "group-id", ids, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

// https is the port of every service.
const https = 443

// HTTPS reports whether it is about HTTPS.
func (p *Permission) HTTPS() bool {
	return p.Protocol == "-1" || (p.Protocol == "tcp" || p.Protocol == "6") && p.From <= https && https <= p.To
}

// Public reports whether it may be about addresses outside of private networks:
// those of a list of prefixes are not looked at.
func (p *Permission) Public() bool {
	return len(p.Prefixes) > 0 || slices.ContainsFunc(p.Blocks, func(s string) bool {
		b, err := netip.ParsePrefix(s)
		return err != nil || b.Bits() == 0 || !b.Addr().IsPrivate()
	})
}

// Concerns reports whether it may be about an address of one of the blocks, or
// about a member of one of the groups.
func (p *Permission) Concerns(blocks, groups []string) bool {
	return len(p.Prefixes) > 0 ||
		slices.ContainsFunc(p.Groups, func(id string) bool { return slices.Contains(groups, id) }) ||
		slices.ContainsFunc(p.Blocks, func(s string) bool {
			return slices.ContainsFunc(blocks, func(other string) bool { return overlap(s, other) })
		})
}

// overlap reports whether two blocks have addresses in common; what is none may.
func overlap(a, b string) bool {
	p, err := netip.ParsePrefix(a)
	q, err2 := netip.ParsePrefix(b)
	return err != nil || err2 != nil || p.Overlaps(q)
}

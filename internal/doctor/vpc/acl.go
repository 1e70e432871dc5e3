package vpc

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
)

// ACL is a network ACL: what passes the borders of its subnets, each packet by
// itself.
type ACL struct {
	ID      string     `xml:"networkAclId"`
	Subnets []string   `xml:"associationSet>item>subnetId"`
	Entries []ACLEntry `xml:"entrySet>item"`
}

// ACLEntry lets packets through or not. The first that fits decides, by number.
type ACLEntry struct {
	Number   int    `xml:"ruleNumber"`
	Protocol string `xml:"protocol"`   // "6" for TCP, "-1" for all
	Action   string `xml:"ruleAction"` // "allow", "deny"
	Out      bool   `xml:"egress"`     // of the subnet
	Block    string `xml:"cidrBlock"`  // IPv4 addresses outside of the subnet; empty: IPv6
	From     int    `xml:"portRange>from"`
	To       int    `xml:"portRange>to"`
}

// ACLs returns the network ACLs of a network.
func (c *Client) ACLs(ctx context.Context, vpc string) ([]ACL, error) {
	type page struct {
		Items []ACL  `xml:"networkAclSet>item"`
		Next  string `xml:"nextToken"`
	}
	var all []ACL
	err := list(ctx, c, "DescribeNetworkAcls", "vpc-id", []string{vpc}, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

// Ports are a range of TCP ports, with both ends.
type Ports struct{ From, To int }

// The ports of HTTPS: of a service, and of its clients. Lambda and NAT gateways use any
// of the latter.
var (
	HTTPS   = Ports{https, https}
	Replies = Ports{1024, 65535}
)

// Passes says how many of the packets pass.
type Passes int

// None, some or all of the packets.
const (
	None Passes = iota
	Some
	All
)

// maxEntries is how many entries for one direction are looked at. AWS allows 40.
const maxEntries = 200

// Passes reports which packets of TCP pass the border of the ACL's subnets, out of
// them or in, with these addresses and ports on the side that is named: the other
// side's IPv4 addresses, and the destination's ports.
func (a *ACL) Passes(out bool, others []netip.Prefix, ports Ports) Passes {
	entries := slices.DeleteFunc(slices.Clone(a.Entries), func(e ACLEntry) bool {
		return e.Out != out || e.Block == "" || e.Protocol != "-1" && e.Protocol != "6"
	})
	six := func(p netip.Prefix) bool { return !p.Addr().Is4() }
	if len(entries) > maxEntries || slices.ContainsFunc(others, six) {
		return Some
	}
	slices.SortStableFunc(entries, func(x, y ACLEntry) int { return cmp.Compare(x.Number, y.Number) })
	allowed, denied := false, false
	for _, p := range pieces(entries, ports) {
		left := slices.Clone(others)
		for _, e := range entries {
			if !e.has(p) {
				continue
			}
			block, err := netip.ParsePrefix(e.Block)
			if err != nil || six(block) {
				return Some // of a form that is not known
			}
			rest := subtract(left, block)
			if !slices.Equal(rest, left) {
				allowed, denied = allowed || e.Action == "allow", denied || e.Action != "allow"
			}
			left = rest
		}
		denied = denied || len(left) > 0
	}
	switch {
	case allowed && denied:
		return Some
	case allowed:
		return All
	}
	return None
}

// has reports whether the entry is about all of the ports. One for all protocols
// is about all ports, whatever its range.
func (e *ACLEntry) has(p Ports) bool {
	return e.Protocol == "-1" || e.From <= p.From && p.To <= e.To
}

// pieces cuts the ports so that an entry is about all of a piece or about none.
func pieces(entries []ACLEntry, ports Ports) []Ports {
	begins := []int{ports.From}
	for _, e := range entries {
		for _, begin := range []int{e.From, e.To + 1} {
			if e.Protocol != "-1" && begin > ports.From && begin <= ports.To {
				begins = append(begins, begin)
			}
		}
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)
	var list []Ports
	for i, begin := range begins {
		end := ports.To
		if i+1 < len(begins) {
			end = begins[i+1] - 1
		}
		list = append(list, Ports{begin, end})
	}
	return list
}

// subtract returns what is left of blocks without one: at most 32 more for each.
func subtract(blocks []netip.Prefix, one netip.Prefix) []netip.Prefix {
	var left []netip.Prefix
	for _, b := range blocks {
		switch {
		case !b.Overlaps(one):
			left = append(left, b)
		case b.Bits() < one.Bits(): // it is within b
			low, high := halves(b)
			left = append(left, subtract([]netip.Prefix{low, high}, one)...)
		}
	}
	return left
}

func halves(b netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(b.Masked().Addr(), b.Bits()+1)
	a := low.Addr().As4()
	a[b.Bits()/8] |= 0x80 >> (b.Bits() % 8)
	return low, netip.PrefixFrom(netip.AddrFrom4(a), b.Bits()+1)
}

// anywhere is all addresses.
var anywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}

// Anywhere returns all IPv4 addresses.
func Anywhere() []netip.Prefix { return slices.Clone(anywhere) }

// PublicAddresses returns the IPv4 addresses at which AWS's services can be, apart
// from private networks.
func PublicAddresses() []netip.Prefix {
	list := anywhere
	for _, special := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"} {
		list = subtract(list, netip.MustParsePrefix(special))
	}
	return list
}

// NATGateway of a network.
type NATGateway struct {
	ID           string `xml:"natGatewayId"`
	State        string `xml:"state"`            // "available"
	Connectivity string `xml:"connectivityType"` // "public", "private"
	Subnet       string `xml:"subnetId"`         // empty: it is in no subnet, but in all zones
}

// NATGateways returns those of a network.
func (c *Client) NATGateways(ctx context.Context, vpc string) ([]NATGateway, error) {
	type page struct {
		Items []NATGateway `xml:"natGatewaySet>item"`
		Next  string       `xml:"nextToken"`
	}
	var all []NATGateway
	err := list(ctx, c, "DescribeNatGateways", "vpc-id", []string{vpc}, func(p *page) string {
		all = append(all, p.Items...)
		return p.Next
	})
	return all, err
}

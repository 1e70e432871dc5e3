package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"soci-index-builder/internal/doctor/vpc"
)

// publicBorder is border to public addresses.
func (x *examination) publicBorder(n *privateNetwork, subnet string) []trouble {
	return x.border(n, subnet, vpc.PublicAddresses(), "public addresses")
}

// border returns what the network ACL of a subnet keeps from services at addresses
// outside of it: requests, or replies to them.
func (x *examination) border(n *privateNetwork, subnet string, services []netip.Prefix, where string) []trouble {
	return slices.Concat(x.passes(n, crossing{subnet, true, services, vpc.HTTPS, where}),
		x.passes(n, crossing{subnet, false, services, vpc.Replies, where}))
}

// inBorder is border of a subnet that has what is asked, by the functions in
// another one.
func (x *examination) inBorder(n *privateNetwork, subnet string, from vpc.Subnet) []trouble {
	return slices.Concat(x.passes(n, crossing{subnet, false, prefixes(from), vpc.HTTPS, from.ID}),
		x.passes(n, crossing{subnet, true, prefixes(from), vpc.Replies, from.ID}))
}

// crossing is of packets that cross the border of a subnet.
type crossing struct {
	subnet string
	out    bool
	others []netip.Prefix // the addresses outside of it
	ports  vpc.Ports      // of the destination
	where  string         // the others, for people
}

// passes returns what the network ACL does not let pass.
func (x *examination) passes(n *privateNetwork, c crossing) []trouble {
	i := slices.IndexFunc(n.acls, func(a vpc.ACL) bool { return slices.Contains(a.Subnets, c.subnet) })
	if i < 0 {
		return []trouble{{severity: Note, why: fmt.Sprintf("the network ACL of %s was not found", c.subnet)}}
	}
	acl := n.acls[i]
	what, way, other := "HTTPS (443)", "into", "from"
	if c.ports == vpc.Replies {
		what = "replies (TCP 1024 to 65535)"
	}
	if c.out {
		way, other = "out of", "to"
	}
	switch acl.Passes(c.out, c.others, c.ports) {
	case vpc.All:
		return nil
	case vpc.Some:
		return []trouble{{Note, "",
			fmt.Sprintf("the network ACL %s lets some, not all %s %s %s %s %s", acl.ID, what, way,
				c.subnet, other, c.where), ""}}
	}
	return []trouble{{Problem, acl.ID, fmt.Sprintf("lets no %s %s %s %s %s", what, way, c.subnet, other, c.where),
		x.allowEntry(acl, c)}}
}

// allowEntry is the command that has the network ACL let the packets pass.
func (x *examination) allowEntry(acl vpc.ACL, c crossing) string {
	first := 101 // what decides now
	for _, e := range acl.Entries {
		if e.Out == c.out {
			first = min(first, e.Number)
		}
	}
	if first <= 1 {
		return "renumber the entries of " + acl.ID + ", and allow it in front of them"
	}
	block, direction := "0.0.0.0/0", "--ingress"
	if len(c.others) == 1 {
		block = c.others[0].String()
	}
	if c.out {
		direction = "--egress"
	}
	return fmt.Sprintf("aws ec2 create-network-acl-entry --network-acl-id %s %s --rule-number %d --protocol tcp "+
		"--port-range "+
		"From=%d,To=%d --cidr-block %s --rule-action allow%s", acl.ID, direction, first-1, c.ports.From, c.ports.To,
		block, x.region())
}

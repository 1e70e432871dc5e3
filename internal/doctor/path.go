package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/doctor/vpc"
)

// path returns what is in the way of requests from a subnet to a service; nothing
// if they get through.
func (x *examination) path(n *privateNetwork, service string, s vpc.Subnet) []trouble {
	var gateway *vpc.Endpoint
	why, hint := "", ""
	for _, e := range x.endpointsOf(n, service) {
		ok, no, helps := x.usable(n, e, s)
		switch {
		case !ok && why == "":
			why, hint = no, helps
		case ok && e.Type != "Gateway": // its name hides the public one
			return x.intoEndpoint(n, service, e, s)
		case ok && gateway == nil:
			gateway = &e
		}
	}
	if gateway != nil {
		return slices.Concat(x.policyLets(service, *gateway), x.groupsLetOut(n, nil), x.publicBorder(n, s.ID))
	}
	w := n.wayOut(s.ID)
	switch {
	case w.target != "" && !w.unseen:
		return slices.Concat(x.groupsLetOut(n, nil), x.throughNAT(n, s, w.target))
	case w.target != "":
		t := trouble{severity: Note, why: fmt.Sprintf("a route leads to %s, and what is behind that was not looked at",
			w.target)}
		return append(x.border(n, s.ID, vpc.Anywhere(), "anywhere"), t)
	}
	why = cmp.Or(why, "there is neither an endpoint for it nor a route to a NAT gateway")
	if w.public != "" {
		why += fmt.Sprintf("; the internet gateway %s is of no use to functions, which have no public address",
			w.public)
	}
	if w.six != "" {
		why += fmt.Sprintf("; the egress-only internet gateway %s is of no use to functions, which use IPv4", w.six)
	}
	return []trouble{{Problem, "", why,
		cmp.Or(hint, "make an endpoint for it in "+n.id+
			", or a route to a NAT gateway (docs/deploy.md, Private networks)")}}
}

// way is where a subnet's packets to public addresses go.
type way struct {
	target string // "nat-0123"; empty: nowhere
	unseen bool   // what is behind it is not known here
	public string // the internet gateway, which the functions cannot use
	partly string // an internet gateway for some addresses
	six    string // the gateway for IPv6 alone
}

// wayOut returns the best of a subnet's routes out of the network.
func (n *privateNetwork) wayOut(subnet string) way {
	var w way
	table := vpc.TableOf(n.tables, subnet)
	if table == nil {
		return w
	}
	nat := ""
	for _, r := range table.Routes {
		all := r.Block == "0.0.0.0/0"
		switch {
		case r.State == "blackhole" || r.Gateway == "local" ||
			r.Gateway == "VpcLattice": // none leads to AWS's services
		case r.EgressOnly != "":
			w.six = r.EgressOnly
		case r.Block == "" && (r.Prefixes == "" || n.isGatewayEndpoint(r.Gateway)): // to IPv6 addresses, or to S3
		case strings.HasPrefix(r.Gateway, "igw-") && all:
			w.public = r.Gateway
		case strings.HasPrefix(r.Gateway, "igw-"):
			w.partly = r.Gateway
		case all && r.NAT != "":
			nat = r.NAT
		default:
			target := cmp.Or(r.TransitGateway, r.Peering, r.Instance, r.Interface, r.Gateway, r.NAT, r.LocalGateway,
				r.Carrier, r.CoreNetwork)
			if target != "" {
				w.target, w.unseen = cmp.Or(w.target, target), true
			}
		}
	}
	if nat != "" {
		w.target, w.unseen = nat, false
	}
	return w
}

func (n *privateNetwork) isGatewayEndpoint(id string) bool {
	return slices.ContainsFunc(n.endpoints, func(e vpc.Endpoint) bool { return e.ID == id && e.Type == "Gateway" })
}

// usable reports whether the functions in a subnet ask the service by the endpoint,
// or why they do not and what helps.
func (x *examination) usable(n *privateNetwork, e vpc.Endpoint, s vpc.Subnet) (ok bool, why, hint string) {
	modify := "aws ec2 modify-vpc-endpoint --vpc-endpoint-id " + e.ID
	switch {
	case !strings.EqualFold(e.State, "available"):
		return false, fmt.Sprintf("the endpoint %s is %s", e.ID, strings.ToLower(cmp.Or(e.State, "not available"))),
			"wait until it is available, or make another one"
	case e.Type == "Gateway":
		table := vpc.TableOf(n.tables, s.ID)
		if table == nil || slices.Contains(e.Tables, table.ID) {
			return table != nil, "the subnet has no route table", byHand
		}
		return false, fmt.Sprintf("the endpoint %s is not in the route table %s", e.ID, table.ID),
			modify + " --add-route-table-ids " + table.ID + x.region()
	case !e.PrivateDNS:
		return false, fmt.Sprintf("the endpoint %s has no private DNS name", e.ID),
			modify + " --private-dns-enabled" + x.region()
	case e.InboundOnly:
		return false, fmt.Sprintf("the private DNS name of the endpoint %s is for inbound resolver endpoints alone",
				e.ID),
			modify + " --dns-options PrivateDnsOnlyForInboundResolverEndpoint=false" + x.region()
	}
	return true, "", ""
}

// intoEndpoint returns what is between a subnet and an interface endpoint.
func (x *examination) intoEndpoint(n *privateNetwork, service string, e vpc.Endpoint, s vpc.Subnet) []trouble {
	if e.Addresses == "ipv6" {
		return []trouble{{Problem, "",
			fmt.Sprintf("its endpoint %s has IPv6 addresses alone, and the functions use IPv4", e.ID),
			"aws ec2 modify-vpc-endpoint --vpc-endpoint-id " + e.ID + " --ip-address-type ipv4" + x.region()}}
	}
	all := slices.Concat(x.policyLets(service, e), x.groupsLetOut(n, &e), x.groupsLetIn(n, e, s))
	var between [][]trouble
	reached := false // by one of its addresses
	for _, id := range e.Subnets {
		its, seen := n.all[id]
		var one []trouble
		switch {
		case id == s.ID: // no ACL is between
		case !seen:
			one = []trouble{{severity: Note,
				why: fmt.Sprintf("the subnet %s of the endpoint %s was not found", id, e.ID)}}
		default:
			one = slices.Concat(x.border(n, s.ID, prefixes(its), its.ID), x.inBorder(n, its.ID, s))
		}
		between = append(between, one)
		reached = reached || !slices.ContainsFunc(one, func(t trouble) bool { return t.severity == Problem })
	}
	if len(e.Subnets) == 0 {
		between = [][]trouble{{{severity: Note,
			why: fmt.Sprintf("the endpoint %s is in no subnet that was found", e.ID)}}}
	}
	for _, t := range slices.Concat(between...) {
		if reached && t.severity == Problem {
			t = trouble{severity: Note,
				why: fmt.Sprintf("of the addresses of the endpoint %s some are not reached: the "+
					"network ACL %s %s", e.ID, t.subject, t.why)}
		}
		all = append(all, t)
	}
	return all
}

// groupsLetIn returns what the endpoint's security groups do not let in.
func (x *examination) groupsLetIn(n *privateNetwork, e vpc.Endpoint, s vpc.Subnet) []trouble {
	unread := ""
	for _, id := range e.Groups {
		g, read := n.groups[id]
		if !read {
			unread = id
		}
		if slices.ContainsFunc(g.In,
			func(p vpc.Permission) bool { return p.HTTPS() && p.Concerns([]string{s.Block}, n.own) }) {
			return nil
		}
	}
	switch {
	case len(e.Groups) == 0:
		return nil
	case unread != "":
		return []trouble{{severity: Note,
			why: fmt.Sprintf("the security group %s of the endpoint %s was not found", unread,
				e.ID)}}
	}
	return []trouble{{Problem, "",
		fmt.Sprintf("the security groups of its endpoint %s, %s, let no HTTPS (443) in from the "+
			"functions", e.ID, strings.Join(e.Groups, ", ")),
		fmt.Sprintf("aws ec2 authorize-security-group-ingress --group-id %s --protocol tcp --port 443 "+
			"--source-group %s%s",
			e.Groups[0], n.own[0], x.region())}}
}

// groupsLetOut returns what the functions' security groups do not let out: to an
// interface endpoint, or with nil to public addresses.
func (x *examination) groupsLetOut(n *privateNetwork, e *vpc.Endpoint) []trouble {
	var blocks []string
	if e != nil {
		for _, id := range e.Subnets {
			blocks = append(blocks, prefixes(n.all[id])[0].String()) // one that is not seen may be anywhere
		}
		if len(blocks) == 0 {
			blocks = []string{"0.0.0.0/0"}
		}
	}
	for _, id := range n.own {
		for _, p := range n.groups[id].Out {
			if p.HTTPS() && (e == nil && p.Public() || e != nil && p.Concerns(blocks, e.Groups)) {
				return nil
			}
		}
	}
	why := "let HTTPS (443) out to private addresses only, and the services' are public"
	if e != nil {
		why = "let no HTTPS (443) out to the endpoint " + e.ID
	}
	return []trouble{{Problem, strings.Join(n.own, ", "), why, x.allowOut(n)}}
}

// policyLets returns what the policy of an endpoint of S3 does not allow.
func (x *examination) policyLets(service string, e vpc.Endpoint) []trouble {
	if service != "s3" || e.Policy == "" {
		return nil
	}
	policy, err := iampolicy.Parse([]byte(e.Policy))
	if err != nil {
		return []trouble{{severity: Note, why: fmt.Sprintf("the policy of the endpoint %s: %v", e.ID, err)}}
	}
	layers := fmt.Sprintf("arn:%s:s3:::prod-%s-starport-layer-bucket/*", x.stack.Partition, x.stack.Region)
	if mayPermit(policy, "s3:GetObject", layers) {
		return nil
	}
	return []trouble{{Problem, "",
		fmt.Sprintf("the policy of its endpoint %s does not allow s3:GetObject on %s, where ECR "+
			"keeps layers", e.ID, layers),
		"allow it in the policy: aws ec2 modify-vpc-endpoint --vpc-endpoint-id " + e.ID +
			" --policy-document file://policy.json" + x.region()}}
}

// mayPermit reports whether a policy allows an action on a resource, if its
// conditions hold.
func mayPermit(p iampolicy.Policy, action, arn string) bool {
	allowed := false
	for _, s := range p.Statements {
		if !s.HasAction(action) || !s.HasResource(arn) {
			continue
		}
		if s.Deny && s.Condition == nil && s.NotPrincipals == nil {
			return false
		}
		allowed = allowed || !s.Deny
	}
	return allowed
}

// throughNAT returns what is between a subnet and public addresses by a NAT
// gateway.
func (x *examination) throughNAT(n *privateNetwork, s vpc.Subnet, id string) []trouble {
	note := func(format string, v ...any) trouble { return trouble{severity: Note, why: fmt.Sprintf(format, v...)} }
	all := x.publicBorder(n, s.ID)
	i := slices.IndexFunc(n.nats, func(g vpc.NATGateway) bool { return g.ID == id })
	if i < 0 {
		return append(all, note("the NAT gateway %s was not found; it may be another account's", id))
	}
	g := n.nats[i]
	switch {
	case g.State == "pending":
		all = append(all, note("the NAT gateway %s is still being made", id))
	case g.State != "available":
		return append(all, trouble{Problem, id, "the NAT gateway is " + cmp.Or(g.State, "not available"),
			"make another one, and have the route lead to it"})
	}
	private := g.Connectivity == "private"
	if g.Subnet == "" { // it is in all zones, with routes of its own
		if private {
			all = append(all, note("the NAT gateway %s is private, and what is behind it was not looked at", id))
		}
		return all
	}
	w := n.wayOut(g.Subnet)
	switch {
	case !private && w.public != "":
	case w.target != "":
		all = append(all, note("the route of the NAT gateway %s leads to %s, and what is behind that was not looked at",
			id, w.target))
	case !private && w.partly != "":
		all = append(all, note("the internet gateway %s gets some packets of the NAT gateway %s", w.partly, id))
	case vpc.TableOf(n.tables, g.Subnet) == nil:
		all = append(all, note("the route table of the NAT gateway %s was not found", id))
	case private:
		all = append(all, trouble{Problem, id,
			fmt.Sprintf("the NAT gateway is private, and no route leads on from its "+
				"subnet %s", g.Subnet), "make a public one, and have the route lead to it"})
	default:
		all = append(all, trouble{Problem, id,
			fmt.Sprintf("no route leads from the NAT gateway's subnet %s to an internet "+
				"gateway", g.Subnet),
			fmt.Sprintf("aws ec2 create-route --route-table-id %s --destination-cidr-block 0.0.0.0/0 "+
				"--gateway-id igw-...%s", vpc.TableOf(n.tables, g.Subnet).ID, x.region())})
	}
	return slices.Concat(all, x.inBorder(n, g.Subnet, s), x.publicBorder(n, g.Subnet))
}

// prefixes are a subnet's IPv4 addresses; those of one whose block is of another form
// may be any.
func prefixes(s vpc.Subnet) []netip.Prefix {
	p, err := netip.ParsePrefix(s.Block)
	if err != nil || !p.Addr().Is4() {
		return vpc.Anywhere()
	}
	return []netip.Prefix{p.Masked()}
}

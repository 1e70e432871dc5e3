package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/iampolicy"
	"soci-index-builder/internal/doctor/vpc"
)

// privateNetwork is the network of the functions' subnets, as configured.
type privateNetwork struct {
	id        string
	subnets   []vpc.Subnet
	own       []string // security groups of the functions
	tables    []vpc.RouteTable
	endpoints []vpc.Endpoint
	groups    map[string]vpc.Group // the functions' and the endpoints'
}

// reach looks whether the functions can reach the services that they call from
// the stack's subnets, as far as routes, endpoints and security groups tell. What
// is behind a transit gateway, a peering or an appliance is taken for reachable.
func (x *examination) reach(ctx context.Context) ([]Finding, error) {
	subnets := x.stack.Subnets()
	if len(subnets) == 0 {
		return nil, nil
	}
	n, found, err := x.readNetwork(ctx, subnets, x.stack.SecurityGroups())
	if err != nil || len(found) > 0 {
		return found, err
	}
	for _, service := range x.endpoints() {
		found = append(found, x.reachService(n, service)...)
	}
	found = append(found, x.reachOut(n)...)
	if len(found) > 0 {
		return found, nil
	}
	unseen := ""
	for _, s := range n.subnets {
		if w := n.wayOut(s); w.unseen && unseen == "" {
			unseen = fmt.Sprintf("; %s leads to %s, and what is behind that was not looked at", s.ID, w.target)
		}
	}
	return wellOr(nil, CheckReach,
		"%s can be reached from the subnets, as far as routes, endpoints and security groups "+
			"tell%s", strings.Join(x.endpoints(), ", "), unseen), nil
}

// readNetwork reads the network of subnets, and finds subnets and security groups
// that are not there.
func (x *examination) readNetwork(ctx context.Context, subnets, groups []string) (*privateNetwork, []Finding, error) {
	n := &privateNetwork{own: groups, groups: map[string]vpc.Group{}}
	var err error
	if n.subnets, err = x.vpc.Subnets(ctx, subnets); err != nil {
		return nil, nil, fmt.Errorf("reading the functions' subnets: %w", err)
	}
	var found []Finding
	missing := func(id string) {
		found = append(found, Finding{CheckReach, Problem, id, "is not there any more, and the functions need it",
			"name others: soci-index-builder deploy --stack " + x.stack.Name + x.region() + " --parameter " +
				deployed.ParamSubnets + "=... --parameter " + deployed.ParamSecurityGroups + "=..."})
	}
	for _, id := range subnets {
		if !slices.ContainsFunc(n.subnets, func(s vpc.Subnet) bool { return s.ID == id }) {
			missing(id)
		}
	}
	if len(found) > 0 {
		return nil, found, nil
	}
	n.id = n.subnets[0].VPC
	var errs []error
	if n.tables, err = x.vpc.RouteTables(ctx, n.id); err != nil {
		errs = append(errs, fmt.Errorf("reading the route tables of %s: %w", n.id, err))
	}
	if n.endpoints, err = x.vpc.Endpoints(ctx, n.id); err != nil {
		errs = append(errs, fmt.Errorf("reading the endpoints of %s: %w", n.id, err))
	}
	all := slices.Clone(groups)
	for _, service := range x.endpoints() {
		for _, e := range x.endpointsOf(n, service) {
			all = append(all, e.Groups...)
		}
	}
	read, err := x.vpc.Groups(ctx, slices.Compact(sorted(all)))
	if err != nil {
		return nil, nil, errors.Join(append(errs,
			fmt.Errorf("reading the security groups of the functions and endpoints: %w",
				err))...)
	}
	for _, g := range read {
		n.groups[g.ID] = g
	}
	for _, id := range groups {
		if _, there := n.groups[id]; !there {
			missing(id)
		}
	}
	return n, found, errors.Join(errs...)
}

// endpointsOf returns the network's endpoints of a service.
func (x *examination) endpointsOf(n *privateNetwork, service string) []vpc.Endpoint {
	var list []vpc.Endpoint
	for _, e := range n.endpoints {
		if strings.HasSuffix(e.Service, "."+x.stack.Region+"."+service) {
			list = append(list, e)
		}
	}
	return list
}

// way is where a subnet's packets to public addresses go.
type way struct {
	target string // "nat-0123"; empty: nowhere
	unseen bool   // it is in another network
	public string // the internet gateway, which the functions cannot use
}

// wayOut returns the best of a subnet's routes out of the network.
func (n *privateNetwork) wayOut(s vpc.Subnet) way {
	var w way
	table := vpc.TableOf(n.tables, s.ID)
	if table == nil {
		return w
	}
	for _, r := range table.Routes {
		all := r.Block == "0.0.0.0/0"
		switch {
		case r.State == "blackhole" || r.Gateway == "local":
		case r.Block == "": // to IPv6 addresses, or to a gateway endpoint
		case strings.HasPrefix(r.Gateway, "igw-"):
			if all {
				w.public = r.Gateway
			}
		case all && r.NAT != "":
			return way{target: r.NAT}
		default:
			target := cmp.Or(r.TransitGateway, r.Peering, r.Instance, r.Interface, r.Gateway, r.NAT, r.LocalGateway,
				r.Carrier,
				r.CoreNetwork)
			if target != "" {
				w.target, w.unseen = cmp.Or(w.target, target), true
			}
		}
	}
	return w
}

// usable reports whether the functions in a subnet reach the service by the
// endpoint, or why they do not and what helps.
func (x *examination) usable(n *privateNetwork, e vpc.Endpoint, s vpc.Subnet) (ok bool, why, cure string) {
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
	}
	return true, "", ""
}

// reachService looks whether a service can be reached from every subnet.
func (x *examination) reachService(n *privateNetwork, service string) []Finding {
	var (
		found             []Finding
		from              []string
		why, cure, public string
	)
	endpoints := x.endpointsOf(n, service)
	for _, s := range n.subnets {
		w := n.wayOut(s)
		if w.target != "" {
			continue
		}
		reached, no, yes := false, "", ""
		for _, e := range endpoints {
			ok, reason, helps := x.usable(n, e, s)
			if reached = reached || ok; no == "" {
				no, yes = reason, helps
			}
		}
		if !reached {
			from, why, cure, public = append(from, s.ID), cmp.Or(why, no), cmp.Or(cure, yes), cmp.Or(public, w.public)
		}
	}
	if len(from) > 0 {
		why = cmp.Or(why, "there is neither an endpoint for it nor a route to a NAT gateway")
		if public != "" {
			why += fmt.Sprintf("; the internet gateway %s is of no use to functions, which have no public address",
				public)
		}
		found = append(found, Finding{CheckReach, Problem, service,
			fmt.Sprintf("cannot be reached from %s: %s", strings.Join(from, ", "), why),
			cmp.Or(cure, "make an endpoint for it in "+n.id+
				", or a route to a NAT gateway (docs/deploy.md, Private networks)")})
	}
	for _, e := range endpoints {
		if used := n.usedBy(x, e); len(used) > 0 {
			found = append(found, x.endpointLets(n, service, e, used)...)
		}
	}
	return found
}

// usedBy returns the subnets from which requests go to the endpoint.
func (n *privateNetwork) usedBy(x *examination, e vpc.Endpoint) []vpc.Subnet {
	return slices.DeleteFunc(slices.Clone(n.subnets), func(s vpc.Subnet) bool {
		ok, _, _ := x.usable(n, e, s)
		return !ok
	})
}

// endpointLets looks whether an endpoint lets the functions' requests through.
func (x *examination) endpointLets(n *privateNetwork, service string, e vpc.Endpoint, from []vpc.Subnet) []Finding {
	var found []Finding
	var blocks []string
	for _, s := range from {
		blocks = append(blocks, s.Block)
	}
	lets := slices.ContainsFunc(e.Groups, func(id string) bool {
		g, read := n.groups[id]
		return !read || slices.ContainsFunc(g.In, func(p vpc.Permission) bool {
			return p.HTTPS() && p.Concerns(blocks, n.own)
		})
	})
	if e.Type != "Gateway" && len(e.Groups) > 0 && !lets {
		found = append(found, Finding{CheckReach, Problem, service,
			fmt.Sprintf("the security groups of its endpoint %s, %s, let no HTTPS (443) in from the functions", e.ID,
				strings.Join(e.Groups, ", ")),
			fmt.Sprintf("aws ec2 authorize-security-group-ingress --group-id %s --protocol tcp --port 443 "+
				"--source-group %s%s",
				e.Groups[0], n.own[0], x.region())})
	}
	if service == "s3" {
		layers := fmt.Sprintf("arn:%s:s3:::prod-%s-starport-layer-bucket/*", x.stack.Partition, x.stack.Region)
		if policy, err := iampolicy.Parse([]byte(e.Policy)); err == nil && !mayPermit(policy, "s3:GetObject", layers) {
			found = append(found, Finding{CheckReach, Problem, service,
				fmt.Sprintf("the policy of its endpoint %s does not allow s3:GetObject on %s, where ECR keeps layers",
					e.ID,
					layers),
				"allow it in the policy: aws ec2 modify-vpc-endpoint --vpc-endpoint-id " + e.ID +
					" --policy-document file://policy.json" + x.region()})
		}
	}
	return found
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

// reachOut looks whether the functions' security groups let requests out.
func (x *examination) reachOut(n *privateNetwork) []Finding {
	out, public := false, false
	for _, id := range n.own {
		for _, p := range n.groups[id].Out {
			if p.HTTPS() {
				out, public = true, public || p.Public()
			}
		}
	}
	allow := fmt.Sprintf("aws ec2 authorize-security-group-egress --group-id %s --protocol tcp --port 443 --cidr "+
		"0.0.0.0/0%s",
		n.own[0], x.region())
	switch {
	case !out:
		return []Finding{{CheckReach, Problem, strings.Join(n.own, ", "), "let no HTTPS (443) out", allow}}
	case !public && !slices.ContainsFunc(x.endpointsOf(n, "s3"), func(e vpc.Endpoint) bool {
		return e.Type != "Gateway" && len(n.usedBy(x, e)) > 0
	}):
		return []Finding{{CheckReach, Problem, strings.Join(n.own, ", "),
			"let HTTPS (443) out to private addresses only, and those of s3, where layers are, are public", allow}}
	}
	return nil
}

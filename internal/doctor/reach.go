package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/vpc"
)

// privateNetwork is the network of the functions' subnets, as configured.
type privateNetwork struct {
	id        string
	subnets   []vpc.Subnet          // the functions'
	all       map[string]vpc.Subnet // of the network, by ID, as far as the account sees them
	own       []string              // security groups of the functions
	tables    []vpc.RouteTable
	nats      []vpc.NATGateway
	acls      []vpc.ACL
	endpoints []vpc.Endpoint
	groups    map[string]vpc.Group // the functions' and the endpoints'
}

// reach checks whether the functions can reach the services that they call from
// the stack's subnets, by routes, NAT gateways, endpoints, network ACLs and
// security groups. What is behind a transit gateway, a peering or an appliance is
// unknown, which is neither in order nor a problem.
func (x *examination) reach(ctx context.Context) ([]Finding, error) {
	subnets := x.stack.Subnets()
	if len(subnets) == 0 {
		return nil, nil
	}
	n, found, err := x.readNetwork(ctx, subnets, x.stack.SecurityGroups())
	if err != nil || len(found) > 0 {
		return found, err
	}
	if found := x.nothingOut(n); found != nil {
		return found, nil
	}
	var all troubles
	certain := x.endpoints()
	for _, service := range x.endpoints() {
		for _, s := range n.subnets {
			for _, t := range x.path(n, service, s) {
				all.add(t, service, s.ID)
				certain = slices.DeleteFunc(certain, func(name string) bool { return name == service })
			}
		}
	}
	found = all.findings()
	if len(certain) > 0 && !slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == Problem }) {
		found = append(found, Finding{Check: CheckReach, Severity: OK,
			Found: strings.Join(certain, ", ") +
				" can be reached from the subnets, as far as routes, endpoints, network " +
				"ACLs and security groups tell"})
	}
	return found, nil
}

// trouble is why requests from a subnet do not reach a service, a Problem, or why that
// cannot be determined, a Note.
type trouble struct {
	severity Severity
	subject  string // what is at fault; empty: the service
	why      string
	hint     string // of a Problem
}

// troubles are those of all subnets and services, each once.
type troubles struct {
	list []*troubleOf
}

type troubleOf struct {
	trouble
	services, subnets []string
}

// add notes a trouble between a subnet and a service.
func (all *troubles) add(t trouble, service, subnet string) {
	i := slices.IndexFunc(all.list, func(o *troubleOf) bool {
		return o.severity == t.severity && o.subject == t.subject && o.why == t.why &&
			(o.subject != "" || o.severity == Note || o.services[0] == service)
	})
	if i < 0 {
		all.list, i = append(all.list, &troubleOf{trouble: t}), len(all.list)
	}
	o := all.list[i]
	if !slices.Contains(o.services, service) {
		o.services = append(o.services, service)
	}
	if !slices.Contains(o.subnets, subnet) {
		o.subnets = append(o.subnets, subnet)
	}
}

// findings are the problems, then the notes.
func (all *troubles) findings() []Finding {
	var problems, notes []Finding
	for _, o := range all.list {
		services, subnets := strings.Join(o.services, ", "), strings.Join(o.subnets, ", ")
		switch {
		case o.severity == Note:
			notes = append(notes, Finding{CheckReach, Note, o.subject,
				fmt.Sprintf("whether %s can be reached from %s cannot be told: %s", services, subnets, o.why), ""})
		case o.subject == "":
			problems = append(problems, Finding{CheckReach, Problem, services,
				fmt.Sprintf("cannot be reached from %s: %s", subnets, o.why), o.hint})
		default:
			problems = append(problems, Finding{CheckReach, Problem, o.subject,
				fmt.Sprintf("%s: %s cannot be reached from %s", o.why, services, subnets), o.hint})
		}
	}
	return append(problems, notes...)
}

// readNetwork reads the network of subnets, and finds subnets and security groups
// that are not there, or that functions cannot use.
func (x *examination) readNetwork(ctx context.Context, subnets, groups []string) (*privateNetwork, []Finding, error) {
	n := &privateNetwork{own: groups, groups: map[string]vpc.Group{}, all: map[string]vpc.Subnet{}}
	var err error
	if n.subnets, err = x.vpc.Subnets(ctx, subnets); err != nil {
		return nil, nil, fmt.Errorf("reading the functions' subnets: %w", err)
	}
	var found []Finding
	useless := func(id, why string) {
		found = append(found, Finding{CheckReach, Problem, id, why,
			"name others: soci-index-builder deploy --stack " + x.stack.Name + x.region() + " --parameter " +
				deployed.ParamSubnets + "=... --parameter " + deployed.ParamSecurityGroups + "=..."})
	}
	const missing = "is not there any more, and the functions need it"
	for _, id := range subnets {
		i := slices.IndexFunc(n.subnets, func(s vpc.Subnet) bool { return s.ID == id })
		switch {
		case i < 0:
			useless(id, missing)
		case n.subnets[i].Block == "":
			useless(id, "has IPv6 addresses alone, and the functions use IPv4")
		}
	}
	if len(found) > 0 {
		return nil, found, nil
	}
	n.id = n.subnets[0].VPC
	if err := x.readParts(ctx, n); err != nil {
		return nil, nil, err
	}
	all := slices.Clone(groups)
	for _, service := range x.endpoints() {
		for _, e := range x.endpointsOf(n, service) {
			all = append(all, e.Groups...)
		}
	}
	read, err := x.vpc.Groups(ctx, slices.Compact(sorted(all)))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the security groups of the functions and endpoints: %w", err)
	}
	for _, g := range read {
		n.groups[g.ID] = g
	}
	for _, id := range groups {
		if _, there := n.groups[id]; !there {
			useless(id, missing)
		}
	}
	return n, found, nil
}

// readParts reads the parts of a network that are listed by it.
func (x *examination) readParts(ctx context.Context, n *privateNetwork) error {
	var errs []error
	failed := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the %s of %s: %w", what, n.id, err))
		}
	}
	list, err := x.vpc.SubnetsOf(ctx, n.id)
	failed("subnets", err)
	for _, s := range list {
		n.all[s.ID] = s
	}
	n.tables, err = x.vpc.RouteTables(ctx, n.id)
	failed("route tables", err)
	n.nats, err = x.vpc.NATGateways(ctx, n.id)
	failed("NAT gateways", err)
	n.acls, err = x.vpc.ACLs(ctx, n.id)
	failed("network ACLs", err)
	n.endpoints, err = x.vpc.Endpoints(ctx, n.id)
	failed("endpoints", err)
	return errors.Join(errs...)
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

// nothingOut finds that the functions' security groups let no request out.
func (x *examination) nothingOut(n *privateNetwork) []Finding {
	for _, id := range n.own {
		for _, p := range n.groups[id].Out {
			if p.HTTPS() {
				return nil
			}
		}
	}
	return []Finding{{CheckReach, Problem, strings.Join(n.own, ", "), "let no HTTPS (443) out", x.allowOut(n)}}
}

// allowOut is the command that lets the functions' requests out.
func (x *examination) allowOut(n *privateNetwork) string {
	return fmt.Sprintf("aws ec2 authorize-security-group-egress --group-id %s --protocol tcp --port 443 "+
		"--cidr 0.0.0.0/0%s", n.own[0], x.region())
}

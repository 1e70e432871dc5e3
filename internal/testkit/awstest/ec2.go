package awstest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The VPC of every subnet of an EC2, its route table and its NAT gateway.
const (
	VPC        = "vpc-01234567"
	RouteTable = "rtb-01234567"
	NAT        = "nat-01234567"
	ACL        = "acl-01234567"

	PublicSubnet = "subnet-public" // of the NAT gateway
)

// EC2 describes a network. A test may change it between two requests, holding
// the lock.
type EC2 struct {
	sync.Mutex
	Subnets   []EC2Subnet
	Tables    []EC2Table
	Endpoints []EC2Endpoint
	Groups    []EC2Group
	NATs      []EC2NAT
	ACLs      []EC2ACL
}

// The things of a network, as EC2 answers them.
type (
	EC2Subnet struct {
		ID    string `xml:"subnetId"`
		VPC   string `xml:"vpcId"`
		Block string `xml:"cidrBlock,omitempty"`
	}

	EC2Table struct {
		ID           string           `xml:"routeTableId"`
		VPC          string           `xml:"vpcId"`
		Routes       []EC2Route       `xml:"routeSet>item"`
		Associations []EC2Association `xml:"associationSet>item"`
	}

	EC2Association struct {
		Main   bool   `xml:"main"`
		Subnet string `xml:"subnetId,omitempty"`
	}

	EC2Route struct {
		Block    string `xml:"destinationCidrBlock,omitempty"`
		Block6   string `xml:"destinationIpv6CidrBlock,omitempty"`
		Prefixes string `xml:"destinationPrefixListId,omitempty"`
		Gateway  string `xml:"gatewayId,omitempty"`
		NAT      string `xml:"natGatewayId,omitempty"`
		Transit  string `xml:"transitGatewayId,omitempty"`
		Peering  string `xml:"vpcPeeringConnectionId,omitempty"`
		Instance string `xml:"instanceId,omitempty"`
		Card     string `xml:"networkInterfaceId,omitempty"`
		Egress   string `xml:"egressOnlyInternetGatewayId,omitempty"`
		State    string `xml:"state"`
	}

	EC2Endpoint struct {
		ID         string   `xml:"vpcEndpointId"`
		Type       string   `xml:"vpcEndpointType"`
		VPC        string   `xml:"vpcId"`
		Service    string   `xml:"serviceName"`
		State      string   `xml:"state"`
		Policy     string   `xml:"policyDocument"`
		Tables     []string `xml:"routeTableIdSet>item"`
		Groups     []EC2ID  `xml:"groupSet>item"`
		PrivateDNS bool     `xml:"privateDnsEnabled"`
		Subnets    []string `xml:"subnetIdSet>item"`
		Addresses  string   `xml:"ipAddressType,omitempty"`
		Inbound    bool     `xml:"dnsOptions>privateDnsOnlyForInboundResolverEndpoint"`
	}

	EC2NAT struct {
		ID           string `xml:"natGatewayId"`
		VPC          string `xml:"vpcId"`
		State        string `xml:"state"`
		Connectivity string `xml:"connectivityType"`
		Subnet       string `xml:"subnetId,omitempty"`
	}

	EC2ACL struct {
		ID      string           `xml:"networkAclId"`
		VPC     string           `xml:"vpcId"`
		Subnets []EC2Association `xml:"associationSet>item"`
		Entries []EC2Entry       `xml:"entrySet>item"`
	}

	EC2Entry struct {
		Number   int       `xml:"ruleNumber"`
		Protocol string    `xml:"protocol"`
		Action   string    `xml:"ruleAction"`
		Out      bool      `xml:"egress"`
		Block    string    `xml:"cidrBlock,omitempty"`
		Block6   string    `xml:"ipv6CidrBlock,omitempty"`
		Ports    *EC2Ports `xml:"portRange"`
	}

	EC2Ports struct {
		From int `xml:"from"`
		To   int `xml:"to"`
	}

	EC2Group struct {
		ID  string          `xml:"groupId"`
		VPC string          `xml:"vpcId"`
		In  []EC2Permission `xml:"ipPermissions>item"`
		Out []EC2Permission `xml:"ipPermissionsEgress>item"`
	}

	EC2Permission struct {
		Protocol string      `xml:"ipProtocol"`
		From     int         `xml:"fromPort"`
		To       int         `xml:"toPort"`
		Members  []EC2ID     `xml:"groups>item"`
		Blocks   []EC2Block  `xml:"ipRanges>item"`
		Prefixes []EC2Prefix `xml:"prefixListIds>item"`
	}

	EC2ID struct {
		ID string `xml:"groupId"`
	}

	EC2Block struct {
		Block string `xml:"cidrIp"`
	}

	EC2Prefix struct {
		ID string `xml:"prefixListId"`
	}
)

// NewEC2 has subnets whose only route table leads to a NAT gateway in a public
// subnet, one network ACL that lets everything pass, and security groups that let
// everything out.
func NewEC2(subnets, groups []string) *EC2 {
	e := &EC2{Tables: []EC2Table{{ID: RouteTable, VPC: VPC, Associations: []EC2Association{{Main: true}},
		Routes: []EC2Route{{Block: "10.0.0.0/16", Gateway: "local", State: "active"},
			{Block: "0.0.0.0/0", NAT: NAT, State: "active"}}},
		{ID: "rtb-public", VPC: VPC, Associations: []EC2Association{{Subnet: PublicSubnet}},
			Routes: []EC2Route{{Block: "10.0.0.0/16", Gateway: "local", State: "active"},
				{Block: "0.0.0.0/0", Gateway: "igw-01234567", State: "active"}}}},
		NATs: []EC2NAT{{ID: NAT, VPC: VPC, State: "available", Connectivity: "public", Subnet: PublicSubnet}},
		ACLs: []EC2ACL{OpenACL(ACL)}}
	for i, id := range subnets {
		e.Subnets = append(e.Subnets, EC2Subnet{ID: id, VPC: VPC, Block: fmt.Sprintf("10.0.%d.0/24", i)})
	}
	e.Subnets = append(e.Subnets, EC2Subnet{ID: PublicSubnet, VPC: VPC, Block: "10.0.255.0/24"})
	for _, s := range e.Subnets {
		e.ACLs[0].Subnets = append(e.ACLs[0].Subnets, EC2Association{Subnet: s.ID})
	}
	for _, id := range groups {
		e.Groups = append(e.Groups, EC2Group{ID: id, VPC: VPC,
			Out: []EC2Permission{{Protocol: "-1", Blocks: []EC2Block{{"0.0.0.0/0"}}}}})
	}
	return e
}

// OpenACL is a network ACL as a new network has it, which lets everything pass.
func OpenACL(id string, subnets ...string) EC2ACL {
	a := EC2ACL{ID: id, VPC: VPC}
	for _, s := range subnets {
		a.Subnets = append(a.Subnets, EC2Association{Subnet: s})
	}
	for _, out := range []bool{true, false} {
		a.Entries = append(a.Entries,
			EC2Entry{Number: 32767, Protocol: "-1", Action: "deny", Out: out, Block: "0.0.0.0/0"},
			EC2Entry{Number: 100, Protocol: "-1", Action: "allow", Out: out, Block: "0.0.0.0/0"})
	}
	return a
}

// Endpoint adds an endpoint of a service, "ecr.api", that can be used by all that
// security groups of the functions can send.
func (e *EC2) Endpoint(service string) *EC2Endpoint {
	p := EC2Endpoint{ID: "vpce-" + strings.ReplaceAll(service, ".", "-"), Type: "Interface", VPC: VPC,
		State:   "available",
		Service: "com.amazonaws." + Region + "." + service, PrivateDNS: true, Groups: []EC2ID{{"sg-endpoints"}},
		Policy: `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`}
	if service == "s3" {
		p.Type, p.PrivateDNS, p.Groups, p.Tables = "Gateway", false, nil, []string{RouteTable}
	} else {
		p.Subnets = []string{e.Subnets[0].ID}
	}
	if !slices.ContainsFunc(e.Groups, func(g EC2Group) bool { return g.ID == "sg-endpoints" }) {
		e.Groups = append(e.Groups, EC2Group{ID: "sg-endpoints", VPC: VPC,
			In: []EC2Permission{{Protocol: "tcp", From: 443, To: 443, Blocks: []EC2Block{{"10.0.0.0/16"}}}}})
	}
	e.Endpoints = append(e.Endpoints, p)
	return &e.Endpoints[len(e.Endpoints)-1]
}

// ServeHTTP answers EC2's requests, one thing a page.
func (e *EC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.Lock()
	defer e.Unlock()
	body, _ := io.ReadAll(r.Body)
	form, err := url.ParseQuery(string(body))
	action := form.Get("Action")
	filter := form.Get("Filter.1.Name")
	var (
		set string
		all []any
	)
	add := func(id, vpc string, item any) {
		if filter == "vpc-id" {
			id = vpc
		}
		if chosen(form, id) {
			all = append(all, item)
		}
	}
	known := map[string]string{"DescribeSubnets": "subnet-id", "DescribeRouteTables": "vpc-id",
		"DescribeVpcEndpoints": "vpc-id", "DescribeSecurityGroups": "group-id", "DescribeNatGateways": "vpc-id",
		"DescribeNetworkAcls": "vpc-id"}[action]
	if action == "DescribeSubnets" && filter == "vpc-id" {
		known = filter
	}
	if err != nil || known == "" || known != filter || form.Get("Version") != "2016-11-15" {
		WriteError(w, r, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterValue", Message: string(body)})
		return
	}
	switch action {
	case "DescribeSubnets":
		set = "subnetSet"
		for _, s := range e.Subnets {
			add(s.ID, s.VPC, s)
		}
	case "DescribeRouteTables":
		set = "routeTableSet"
		for _, t := range e.Tables {
			add(t.ID, t.VPC, t)
		}
	case "DescribeVpcEndpoints":
		set = "vpcEndpointSet"
		for _, p := range e.Endpoints {
			add(p.ID, p.VPC, p)
		}
	case "DescribeNatGateways":
		set = "natGatewaySet"
		for _, g := range e.NATs {
			add(g.ID, g.VPC, g)
		}
	case "DescribeNetworkAcls":
		set = "networkAclSet"
		for _, a := range e.ACLs {
			add(a.ID, a.VPC, a)
		}
	case "DescribeSecurityGroups":
		set = "securityGroupInfo"
		for _, g := range e.Groups {
			add(g.ID, g.VPC, g)
		}
	}
	first, _ := strconv.Atoi(form.Get("NextToken"))
	next := ""
	if first+1 < len(all) {
		next = fmt.Sprintf("<nextToken>%d</nextToken>", first+1)
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	fmt.Fprintf(w, `<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><%s>`, action, set)
	if first < len(all) {
		_ = xml.NewEncoder(w).EncodeElement(all[first], xml.StartElement{Name: xml.Name{Local: "item"}})
	}
	fmt.Fprintf(w, `</%s>%s</%sResponse>`, set, next, action)
}

// chosen reports whether the filter of a request has a value.
func chosen(form url.Values, value string) bool {
	for i := 1; form.Has("Filter.1.Value." + strconv.Itoa(i)); i++ {
		if form.Get("Filter.1.Value."+strconv.Itoa(i)) == value {
			return true
		}
	}
	return false
}

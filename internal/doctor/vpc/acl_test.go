package vpc_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"soci-index-builder/internal/doctor/vpc"
)

// What is worked out with blocks and ranges is what each packet by itself meets.
func TestPasses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	base := netip.MustParseAddr("10.0.0.0").As4()
	addr := func(i int) netip.Addr { a := base; a[3] = byte(i); return netip.AddrFrom4(a) }
	block := func() netip.Prefix {
		p, _ := addr(r.IntN(32)).Prefix(26 + r.IntN(7))
		return p
	}
	met := map[vpc.Passes]int{}
	for range 3000 {
		var acl vpc.ACL
		for range r.IntN(7) {
			from := r.IntN(12)
			acl.Entries = append(acl.Entries, vpc.ACLEntry{Number: 1 + r.IntN(1000),
				Protocol: []string{"6", "6", "6", "-1", "17"}[r.IntN(5)], Action: []string{"allow", "deny"}[r.IntN(2)],
				Out: r.IntN(4) > 0, Block: block().String(), From: from, To: from + r.IntN(6)})
		}
		ports, others := vpc.Ports{From: r.IntN(8), To: 8 + r.IntN(4)}, block()
		allowed, denied := 0, 0
		for i := range 64 {
			for port := ports.From; others.Contains(addr(i)) && port <= ports.To; port++ {
				if first(acl.Entries, addr(i), port) == "allow" {
					allowed++
				} else {
					denied++
				}
			}
		}
		want := vpc.Some
		switch {
		case denied == 0:
			want = vpc.All
		case allowed == 0:
			want = vpc.None
		}
		met[want]++
		if got := acl.Passes(true, []netip.Prefix{others}, ports); got != want {
			t.Fatalf("%+v: %v to %v: %d, want %d", acl.Entries, ports, others, got, want)
		}
	}
	for _, p := range []vpc.Passes{vpc.None, vpc.Some, vpc.All} {
		if met[p] < 100 {
			t.Errorf("%d was met %d times", p, met[p])
		}
	}
}

// first is the action of the first entry for a packet that goes out.
func first(entries []vpc.ACLEntry, a netip.Addr, port int) string {
	number, action := 1<<20, "deny"
	for _, e := range entries {
		if e.Out && e.Number < number && netip.MustParsePrefix(e.Block).Contains(a) &&
			(e.Protocol == "-1" || e.Protocol == "6" && e.From <= port && port <= e.To) {
			number, action = e.Number, e.Action
		}
	}
	return action
}

// Blocks of IPv6 where IPv4 is expected decide nothing either.
func TestPassesIPv6(t *testing.T) {
	for _, row := range []struct {
		others, block string
		want          vpc.Passes
	}{
		{"2001:db8::/64", "2001:db8::/66", vpc.Some},
		{"10.0.0.0/24", "2001:db8::/66", vpc.Some},
		{"2001:db8::/64", "10.0.0.0/24", vpc.Some},
		{"::ffff:10.0.0.0/120", "10.0.0.0/26", vpc.Some},
		{"10.0.0.0/24", "10.0.0.0/26", vpc.Some}, // the rest is denied
		{"10.0.0.0/24", "10.0.0.0/8", vpc.All},
	} {
		acl := vpc.ACL{Entries: []vpc.ACLEntry{{Number: 1, Protocol: "-1", Action: "allow", Block: row.block}}}
		if got := acl.Passes(false, []netip.Prefix{netip.MustParsePrefix(row.others)}, vpc.HTTPS); got != row.want {
			t.Errorf("%s to %s: %d, want %d", row.block, row.others, got, row.want)
		}
	}
}

// Entries of a form that is not known, and more than there can be, decide nothing.
func TestPassesUnknown(t *testing.T) {
	entry := vpc.ACLEntry{Number: 1, Protocol: "-1", Action: "allow", Block: "all of them"}
	acl := vpc.ACL{Entries: []vpc.ACLEntry{entry}}
	if got := acl.Passes(false, vpc.Anywhere(), vpc.HTTPS); got != vpc.Some {
		t.Errorf("%d", got)
	}
	entry.Block = "0.0.0.0/0"
	acl.Entries = nil
	for range 201 {
		acl.Entries = append(acl.Entries, entry)
	}
	if got := acl.Passes(false, vpc.Anywhere(), vpc.HTTPS); got != vpc.Some {
		t.Errorf("%d", got)
	}
	acl.Entries = acl.Entries[:200]
	if got := acl.Passes(false, vpc.Anywhere(), vpc.HTTPS); got != vpc.All {
		t.Errorf("%d", got)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{"52.218.0.1": true, "3.5.0.0": true, "172.15.255.255": true,
		"172.32.0.0": true,
		"10.0.0.1":   false, "100.64.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "224.0.0.1": false,
		"255.255.255.255": false, "223.255.255.255": true, "127.0.0.1": false, "169.254.1.1": false} {
		got := false
		for _, p := range vpc.PublicAddresses() {
			got = got || p.Contains(netip.MustParseAddr(text))
		}
		if got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

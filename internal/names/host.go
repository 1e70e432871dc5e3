package names

import (
	"strconv"
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// ECRHost is what the text of the host of a private ECR registry says:
// <account>.dkr.ecr.<region>.<suffix>.
type ECRHost struct {
	Account   string // 12 digits
	Region    string
	FIPS      bool
	DualStack bool
	Suffix    string // "amazonaws.com"
}

var (
	ecrHost = lazyregexp.New(`^(` + Account + `)\.dkr([.-])ecr(-fips)?\.(` + Region +
		`)\.([a-z0-9-]+(?:\.[a-z0-9-]+)+)$`)

	// likeECRHost is what nobody but ECR has in a name.
	likeECRHost = lazyregexp.New(`^[^/]*\.dkr[.-]ecr(?:$|[^a-z0-9])`)

	// addressWithPort could be read as a repository with a tag, but is not meant so.
	addressWithPort = whole(`(?:localhost|[0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}/?`)

	host = whole(`(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?`)
)

// ParseECRHost takes the host of an ECR registry apart. It reads the text
// alone: whether the suffix is that of the region's partition is for
// ecrclient.ParseECRHost to tell, without which no credentials may be sent.
// A port makes it false.
func ParseECRHost(s string) (ECRHost, bool) {
	m := ecrHost.Compiled().FindStringSubmatch(s)
	if m == nil {
		return ECRHost{}, false
	}
	return ECRHost{Account: m[1], DualStack: m[2] == "-", FIPS: m[3] != "", Region: m[4], Suffix: m[5]}, true
}

// misspeltECRHost reports whether the host of a registry, maybe with a port, is
// meant to be ECR's, and cannot be: without that nobody would be told but by DNS.
// Hosts of VPC endpoints have another beginning than an account.
func misspeltECRHost(s string) bool {
	s, _, _ = strings.Cut(s, ":")
	_, ok := ParseECRHost(s)
	return !ok && likeECRHost.MatchString(s) && !strings.HasPrefix(s, "vpce-")
}

// IsHost reports whether s can be the host of a registry: a name or an address,
// and maybe a port.
func IsHost(s string) bool {
	return len(s) <= 255+len(":65535") && host.MatchString(s) && isPort(s[strings.LastIndexByte(s, ':')+1:], s)
}

// isPort reports whether a host's port, if it has one, is one of TCP.
func isPort(port, host string) bool {
	if port == host || strings.HasSuffix(port, "]") {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// hostByItsLook reports whether what stands before the first slash of an image's
// name is a host, as docker and its kin decide it: it has a dot or a colon, or
// is localhost.
func hostByItsLook(first string) bool {
	return strings.ContainsAny(first, ".:") || first == "localhost"
}

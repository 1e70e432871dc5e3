package ecrclient

import "errors"

// ECRHost is what the name of a private ECR registry says.
type ECRHost struct {
	Account   string // 12 digits
	Region    string
	FIPS      bool
	DualStack bool
}

// RegistryHost gives the ECR host of account in region.
func RegistryHost(account, region string) (string, error) {
	return "", errors.New("internal error: not built yet")
}

// ParseECRHost takes a registry's host name apart.
func ParseECRHost(host string) (ECRHost, bool) { return ECRHost{}, false }

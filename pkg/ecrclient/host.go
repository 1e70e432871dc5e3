package ecrclient

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"soci-index-builder/internal/names"
)

// ECRHost has the parts of the name of a private ECR registry.
type ECRHost struct {
	Account   string // 12 digits
	Region    string // "eu-central-1"
	FIPS      bool
	DualStack bool
}

// String returns the host name, "" for an invalid account or region.
func (h ECRHost) String() string {
	if !names.IsAccount(h.Account) || !names.IsRegion(h.Region) {
		return ""
	}
	// The SDK knows which DNS suffix a region's partition has; it is what is
	// left of the address of the ECR API.
	endpoint, err := ecr.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), ecr.EndpointParameters{
		Region:       aws.String(h.Region),
		UseFIPS:      aws.Bool(false),
		UseDualStack: aws.Bool(h.DualStack),
	})
	if err != nil {
		return ""
	}
	service := "ecr"
	if h.FIPS {
		service = "ecr-fips"
	}
	if h.DualStack {
		// The API is at api.<suffix>, registries are at on.<suffix>.
		suffix, ok := strings.CutPrefix(endpoint.URI.Host, "ecr."+h.Region+".api.")
		if !ok {
			return ""
		}
		return h.Account + ".dkr-" + service + "." + h.Region + ".on." + suffix
	}
	suffix, ok := strings.CutPrefix(endpoint.URI.Host, "api.ecr."+h.Region+".")
	if !ok {
		return ""
	}
	return h.Account + ".dkr." + service + "." + h.Region + "." + suffix
}

// RegistryHost returns the host of an account's private ECR registry in a
// region of any partition: the FIPS one when AWS_USE_FIPS_ENDPOINT is true,
// the dual-stack one when AWS_USE_DUALSTACK_ENDPOINT is true.
func RegistryHost(account, region string) (string, error) {
	if !names.IsAccount(account) {
		return "", fmt.Errorf("AWS account %q: must be 12 digits", account)
	}
	if !names.IsRegion(region) {
		return "", fmt.Errorf("AWS region %q: must look like us-east-1", region)
	}
	h := ECRHost{Account: account, Region: region}
	for name, set := range map[string]*bool{
		"AWS_USE_FIPS_ENDPOINT":      &h.FIPS,
		"AWS_USE_DUALSTACK_ENDPOINT": &h.DualStack,
	} {
		switch value := os.Getenv(name); strings.ToLower(value) {
		case "true":
			*set = true
		case "false", "":
		default:
			return "", fmt.Errorf("environment variable %s is %q: must be true or false", name, value)
		}
	}
	host := h.String()
	if host == "" {
		return "", fmt.Errorf("AWS region %q: the AWS SDK knows no ECR endpoint for it", region)
	}
	return host, nil
}

// ParseECRHost splits a registry's host name into its parts. It is false for
// every name that is not exactly that of a private ECR registry in a partition
// that the AWS SDK knows, so that no other host gets a token; a port makes it false
// too.
func ParseECRHost(host string) (ECRHost, bool) {
	text, ok := names.ParseECRHost(host)
	if !ok {
		return ECRHost{}, false
	}
	h := ECRHost{Account: text.Account, Region: text.Region, FIPS: text.FIPS, DualStack: text.DualStack}
	if h.String() != host {
		return ECRHost{}, false
	}
	return h, true
}

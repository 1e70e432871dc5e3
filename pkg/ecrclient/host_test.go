package ecrclient_test

import (
	"strings"
	"testing"

	"soci-index-builder/pkg/ecrclient"
)

const account = "123456789012"

func TestRegistryHost(t *testing.T) {
	for _, row := range []struct {
		region, fips, dual, want string
	}{
		{"us-east-1", "", "", "dkr.ecr.us-east-1.amazonaws.com"},
		{"ap-southeast-7", "false", "FALSE", "dkr.ecr.ap-southeast-7.amazonaws.com"},
		{"us-east-1", "true", "", "dkr.ecr-fips.us-east-1.amazonaws.com"},
		{"us-east-1", "", "true", "dkr-ecr.us-east-1.on.aws"},
		{"us-east-1", "TRUE", "true", "dkr-ecr-fips.us-east-1.on.aws"},
		{"us-gov-west-1", "", "", "dkr.ecr.us-gov-west-1.amazonaws.com"},
		{"us-gov-west-1", "true", "", "dkr.ecr-fips.us-gov-west-1.amazonaws.com"},
		{"us-gov-east-1", "true", "true", "dkr-ecr-fips.us-gov-east-1.on.aws"},
		{"cn-north-1", "", "", "dkr.ecr.cn-north-1.amazonaws.com.cn"},
		{"cn-northwest-1", "", "true", "dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn"},
		{"eusc-de-east-1", "", "", "dkr.ecr.eusc-de-east-1.amazonaws.eu"},
		{"us-iso-east-1", "", "", "dkr.ecr.us-iso-east-1.c2s.ic.gov"},
		{"us-isob-east-1", "", "", "dkr.ecr.us-isob-east-1.sc2s.sgov.gov"},
		{"eu-isoe-west-1", "", "", "dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
		{"us-isof-south-1", "", "", "dkr.ecr.us-isof-south-1.csp.hci.ic.gov"},
	} {
		t.Run(row.region+" "+row.fips+" "+row.dual, func(t *testing.T) {
			t.Setenv("AWS_USE_FIPS_ENDPOINT", row.fips)
			t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", row.dual)
			want := account + "." + row.want
			if got, err := ecrclient.RegistryHost(account, row.region); err != nil || got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			h, ok := ecrclient.ParseECRHost(want)
			wantHost := ecrclient.ECRHost{
				Account: account, Region: row.region,
				FIPS: strings.EqualFold(row.fips, "true"), DualStack: strings.EqualFold(row.dual, "true"),
			}
			if !ok || h != wantHost {
				t.Errorf("ParseECRHost: %+v, %t; want %+v", h, ok, wantHost)
			}
		})
	}
}

func TestRegistryHostRefuses(t *testing.T) {
	for _, row := range []struct {
		name, account, region, env, names string
	}{
		{"short account", "12345", "us-east-1", "", "12345"},
		{"letters in the account", "12345678901a", "us-east-1", "", "12345678901a"},
		{"account with a line end", account + "\n", "us-east-1", "", "12 digits"},
		{"no account", "", "us-east-1", "", "account"},
		{"no region", account, "", "", "region"},
		{"a host as region", account, "us-east-1.example.com", "", "us-east-1.example.com"},
		{"a zone", account, "us-east-1a", "", "us-east-1a"},
		{"capitals", account, "US-EAST-1", "", "US-EAST-1"},
		{"bad variable", account, "us-east-1", "yes", "AWS_USE_FIPS_ENDPOINT"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("AWS_USE_FIPS_ENDPOINT", row.env)
			host, err := ecrclient.RegistryHost(row.account, row.region)
			if err == nil {
				t.Fatalf("no error, but %q", host)
			}
			if !strings.Contains(err.Error(), row.names) {
				t.Errorf("%q does not name %q", err, row.names)
			}
		})
	}
}

// Nothing but ECR may be taken for ECR: it would get the account's token.
func TestParseECRHostRefuses(t *testing.T) {
	for _, host := range []string{
		"",
		"docker.io",
		"public.ecr.aws",
		account + ".dkr.ecr.us-east-1.amazonaws.com:443",
		account + ".dkr.ecr.us-east-1.amazonaws.com.example.com",
		account + ".dkr.ecr.us-east-1.example.com",
		account + ".dkr.ecr.us-east-1.amazonaws.com.cn", // another partition's suffix
		account + ".dkr.ecr.cn-north-1.amazonaws.com",
		account + ".dkr-ecr.us-east-1.amazonaws.com",
		account + ".dkr.ecr.us-east-1.on.aws",
		account + ".dkr.ecr-fips.us-east-1",
		"12345678901.dkr.ecr.us-east-1.amazonaws.com",
		"x" + account + ".dkr.ecr.us-east-1.amazonaws.com",
		"evil." + account + ".dkr.ecr.us-east-1.amazonaws.com",
		account + ".dkr.ecr.us-east-1.amazonaws.com\n",
		account + ".dkr.ecr.us-east.amazonaws.com",
		account + ".dkrxecr.us-east-1.amazonaws.com",
	} {
		t.Run(host, func(t *testing.T) {
			if h, ok := ecrclient.ParseECRHost(host); ok {
				t.Errorf("taken for %+v", h)
			}
		})
	}
}

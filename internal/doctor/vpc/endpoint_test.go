package vpc

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
)

// Requests go where those of a client of the SDK do.
func TestEndpoint(t *testing.T) {
	for _, row := range []struct {
		name, region, profile string
		env                   map[string]string
		want                  string
	}{
		{"region", "eu-west-1", "", nil, "https://ec2.eu-west-1.amazonaws.com"},
		{"China", "cn-north-1", "", nil, "https://ec2.cn-north-1.amazonaws.com.cn"},
		{"FIPS", "us-east-1", "use_fips_endpoint = true", nil, "https://ec2-fips.us-east-1.amazonaws.com"},
		{"dual stack", "eu-west-1", "", map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"},
			"https://ec2.eu-west-1.api.aws"},
		{"FIPS and dual stack", "us-east-1", "use_fips_endpoint = true\nuse_dualstack_endpoint = true", nil,
			"https://ec2-fips.us-east-1.api.aws"},
		{"of all services", "eu-west-1", "", map[string]string{"AWS_ENDPOINT_URL": "http://all"}, "http://all"},
		{"of EC2", "eu-west-1", "",
			map[string]string{"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_EC2": "http://ec2"},
			"http://ec2"},
		{"of the profile", "eu-west-1", "endpoint_url = http://profile", nil, "http://profile"},
		{"of the profile, for EC2", "eu-west-1",
			"endpoint_url = http://profile\nservices = mine\n[services mine]\nec2 =\n" +
				"  endpoint_url = http://ec2", nil, "http://ec2"},
		{"environment and profile", "eu-west-1", "services = mine\n[services mine]\nec2 =\n  endpoint_url = http://ec2",
			map[string]string{"AWS_ENDPOINT_URL": "http://all"}, "http://all"},
		{"ignored", "eu-west-1", "endpoint_url = http://profile\nservices = mine\n[services mine]\nec2 =\n" +
			"  endpoint_url = http://ec2", map[string]string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
			"https://ec2.eu-west-1.amazonaws.com"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_PROFILE"} {
				t.Setenv(name, "") // to have it back
				os.Unsetenv(name)
			}
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte("[default]\n"+row.profile+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", file)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file+".none")
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(row.region))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Open(cfg).endpoint(t.Context()); err != nil || got != row.want {
				t.Errorf("%s, %v, want %s", got, err, row.want)
			}
		})
	}
}

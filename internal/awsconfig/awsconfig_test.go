package awsconfig_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/testkit/awstest"
)

var errAsked = errors.New("asked")

func TestLoad(t *testing.T) {
	const mfa = "[profile mfa]\nregion = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/deployer\n" +
		"credential_source = Environment\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
	for _, tt := range []struct {
		name   string
		o      awsconfig.Options
		env    map[string]string
		config string
		want   []error // nil: there is a configuration
		text   string
		region string
	}{
		{name: "of the environment", region: awstest.Region},
		{name: "region given", o: awsconfig.Options{Region: "us-gov-east-1"}, region: "us-gov-east-1"},
		{name: "region of the profile", o: awsconfig.Options{Profile: "p"}, env: map[string]string{"AWS_REGION": ""},
			config: "[profile p]\nregion = cn-north-1\naws_access_key_id = a\naws_secret_access_key = b\n",
			region: "cn-north-1"},
		{name: "no region", env: map[string]string{"AWS_REGION": ""}, want: []error{awsconfig.ErrSetting},
			text: "no AWS region is set: give the region, or set AWS_REGION, or set a region in the profile"},
		{name: "no such region", o: awsconfig.Options{Region: "Ireland"}, want: []error{awsconfig.ErrSetting},
			text: `AWS region "Ireland", which the region says: must look like us-east-1`},
		{name: "no such region in the environment", env: map[string]string{"AWS_REGION": "Ireland"},
			want: []error{awsconfig.ErrSetting}, text: `AWS region "Ireland", which AWS_REGION says: must look like`},
		{name: "no such region in the profile", env: map[string]string{"AWS_REGION": ""},
			config: "[default]\nregion = Ireland\n", want: []error{awsconfig.ErrSetting},
			text: `AWS region "Ireland", which the profile says: must look like`},
		{name: "a file that is not there",
			env:  map[string]string{"AWS_REGION": "", "AWS_SHARED_CREDENTIALS_FILE": "/no/file"},
			want: []error{awsconfig.ErrSetting},
			text: "; AWS_SHARED_CREDENTIALS_FILE names /no/file, which is not there"},
		{name: "an endpoint with a password", env: map[string]string{"AWS_ENDPOINT_URL_ECR": "me:secret@proxy"},
			want: []error{awsconfig.ErrSetting}, text: `AWS_ENDPOINT_URL_ECR "proxy": must be http:// or https://`},
		{name: "a process that fails", o: awsconfig.Options{Profile: "p"},
			config: "[profile p]\ncredential_process = sh -c \"exit 7\"\n", want: []error{awserror.ErrCredentials},
			text: "the profile's credential_process failed: exit status 7: give profile, or set AWS_PROFILE"},
		{name: "a process that writes something else", o: awsconfig.Options{Profile: "p"},
			config: "[profile p]\ncredential_process = echo secret\n", want: []error{awserror.ErrCredentials},
			text: "credential_process failed: it does not write the JSON that it should: give profile"},
		{name: "no session of a single sign-on", o: awsconfig.Options{Profile: "p"},
			config: "[profile p]\nsso_region = eu-west-1\nsso_start_url = https://example.awsapps.com/start\n" +
				"sso_account_id = 123456789012\nsso_role_name = dev\n", want: []error{awserror.ErrCredentials},
			text: "the session of the single sign-on has ended, or was not begun: sign in again with: aws sso login"},
		{name: "no such profile", env: map[string]string{"AWS_PROFILE": "nobody"}, want: []error{awsconfig.ErrSetting},
			text: `no AWS profile "nobody": give another profile (or AWS_PROFILE), or make it with: aws configure --profile nobody`},
		{name: "no credentials", env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			want: []error{awserror.ErrCredentials},
			text: "give profile, or set AWS_PROFILE"},
		{name: "a quotation mark alone", config: "[default]\nregion = \"\n", want: []error{awsconfig.ErrSetting},
			text: "look there for a quotation mark without its partner"},
		{name: "nobody to ask for a code", o: awsconfig.Options{Profile: "mfa"}, config: mfa,
			want: []error{awserror.ErrCredentials, awsconfig.ErrCode}, text: awsconfig.ErrCode.Error()},
		{name: "somebody to ask for a code",
			o: awsconfig.Options{Profile: "mfa", Code: func() (string, error) { return "", errAsked }}, config: mfa,
			want: []error{awserror.ErrCredentials, errAsked}, text: errAsked.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"} {
				t.Setenv(name, "")
			}
			for name, value := range awstest.Start(t).Env() {
				t.Setenv(name, value)
			}
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", file)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			tt.o.ProfileFlag, tt.o.RegionFlag = "profile", "the region"
			cfg, err := awsconfig.Load(t.Context(), tt.o)
			if len(tt.want) == 0 {
				if err != nil || cfg.Region != tt.region {
					t.Errorf("region %q, error %v, want %q", cfg.Region, err, tt.region)
				}
				return
			}
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %s in one line", err, tt.text)
			}
		})
	}
}

func TestPrompt(t *testing.T) {
	for _, tt := range []struct {
		name, in, code string
		want           error
	}{
		{"a code", "123456\n", "123456", nil},
		{"a code at the end of the input", " 123456", "123456", nil},
		{"nothing", "\n", "", awsconfig.ErrCode},
		{"nobody", "", "", awsconfig.ErrCode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			code, err := awsconfig.Prompt(strings.NewReader(tt.in), &out)()
			if code != tt.code || !errors.Is(err, tt.want) || !strings.HasPrefix(out.String(), "MFA code: ") {
				t.Errorf("%q, %v, asked %q, want %q, %v", code, err, out.String(), tt.code, tt.want)
			}
		})
	}
	if _, err := awsconfig.Prompt(errReader{}, io.Discard)(); !errors.Is(err, errAsked) {
		t.Errorf("error %v, want that of the input", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errAsked }

// On EC2 the machine knows the region, which only counts where none is set.
func TestRegionOfMachine(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		switch r.URL.Path {
		case "/latest/api/token":
			_, _ = io.WriteString(w, "token")
		case "/latest/dynamic/instance-identity/document":
			_, _ = io.WriteString(w, `{"region":"eu-north-1"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL} {
		t.Setenv(name, value)
	}
	for _, tt := range []struct{ disabled, set, want string }{
		{"", "", "eu-north-1"}, {"", "eu-west-1", "eu-west-1"}, {"true", "", ""},
	} {
		t.Setenv("AWS_EC2_METADATA_DISABLED", tt.disabled)
		t.Setenv("AWS_REGION", tt.set)
		cfg, err := awsconfig.Load(t.Context(), awsconfig.Options{})
		if cfg.Region != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: region %q, %v", tt, cfg.Region, err)
		}
	}
}

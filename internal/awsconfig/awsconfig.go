// Package awsconfig finds region and credentials as the AWS CLI does, and
// reports in one line what is missing and how to set it. Start with [Load].
package awsconfig

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/names"
)

var (
	// ErrSetting: profile or region is missing or wrong.
	ErrSetting = errors.New("wrong AWS setting")

	// ErrCode: the profile's role needs an MFA code, and there is no terminal
	// to ask for it.
	ErrCode = errors.New("the profile asks for an MFA code")
)

// Options are what the user gives, and how. What is empty is the SDK's to
// find: the environment (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the
// like), the shared configuration, a role.
type Options struct {
	Profile, Region         string
	ProfileFlag, RegionFlag string // by which the user gives them, "--profile", for the errors; empty: there is none

	AppID string                        // in the requests' user agent, if any
	Debug func(format string, v ...any) // takes the SDK's remarks; nil: nobody does
	Code  func() (string, error)        // asks for an MFA code; nil: [ErrCode]
}

// Load returns the configuration, with a region and with credentials that could
// be had. Errors are [ErrSetting], or a [CredentialsError].
func Load(ctx context.Context, o Options) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			if o.Debug != nil {
				o.Debug(format, v...)
			}
		})),
		config.WithAssumeRoleCredentialOptions(func(a *stscreds.AssumeRoleOptions) {
			if a.TokenProvider = o.Code; o.Code == nil {
				a.TokenProvider = func() (string, error) { return "", ErrCode }
			}
		}),
	}
	if o.AppID != "" {
		options = append(options, config.WithAppID(o.AppID))
	}
	if o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	if err := checkEnvironment(os.Environ()); err != nil {
		return aws.Config{}, err
	}
	cfg, err := loadDefault(ctx, options)
	if unknown, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return cfg, settingf("no AWS profile %q: %s, or make it with: aws configure --profile %s%s", unknown.Profile,
			another(o.ProfileFlag), unknown.Profile, missingFiles())
	}
	if errors.Is(err, ErrSetting) {
		return cfg, err
	}
	if bundle := os.Getenv("AWS_CA_BUNDLE"); err != nil && bundle != "" {
		if text, rerr := os.ReadFile(bundle); rerr != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
			return cfg, settingf("AWS_CA_BUNDLE %q: must be a file of certificates in PEM's form", bundle)
		}
	}
	if err != nil {
		return cfg, settingf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = regionOfMachine(ctx, cfg)
	}
	if cfg.Region == "" {
		return cfg, settingf("no AWS region is set: %sset AWS_REGION, or set a region in the profile%s",
			give(o.RegionFlag), missingFiles())
	}
	if !names.IsRegion(cfg.Region) {
		return cfg, settingf("AWS region %.100q, which %s says: must look like us-east-1", cfg.Region, o.saysRegion())
	}
	cfg.HTTPClient = NewHTTPClient(cfg.HTTPClient)
	cfg.Credentials = &provider{cfg.Credentials, o.ProfileFlag}
	_, err = cfg.Credentials.Retrieve(ctx)
	return cfg, err
}

// saysRegion names what the region is from.
func (o *Options) saysRegion() string {
	switch {
	case o.Region != "":
		return cmp.Or(o.RegionFlag, "the caller")
	case os.Getenv("AWS_REGION") != "":
		return "AWS_REGION"
	case os.Getenv("AWS_DEFAULT_REGION") != "":
		return "AWS_DEFAULT_REGION"
	}
	return "the profile"
}

// missingFiles says which of the files that the environment names are not there: the
// SDK goes on without them. It is for errors of what they may have had.
func missingFiles() string {
	text := ""
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		if file := os.Getenv(name); file != "" {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				text += fmt.Sprintf("; %s names %s, which is not there", name, file)
			}
		}
	}
	return text
}

// checkEnvironment looks for mistakes in variables that the SDK reports in words
// of its own, or not until a request fails.
func checkEnvironment(environ []string) error {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case value == "":
		case name == "AWS_MAX_ATTEMPTS":
			if n, err := strconv.Atoi(value); err != nil || n < 0 {
				return settingf("AWS_MAX_ATTEMPTS %q: must be a whole number, such as 3", value)
			}
		case name == "AWS_CONFIG_FILE" || name == "AWS_SHARED_CREDENTIALS_FILE":
			if info, err := os.Stat(value); err == nil && info.IsDir() {
				return settingf("%s %q: must be a file, not a folder", name, value)
			}
		case name == "AWS_RETRY_MODE":
			if _, err := aws.ParseRetryMode(value); err != nil {
				return settingf("AWS_RETRY_MODE %q: must be standard or adaptive", value)
			}
		case name == "AWS_ENDPOINT_URL" || strings.HasPrefix(name, "AWS_ENDPOINT_URL_"):
			if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return settingf("%s %.200q: must be http:// or https:// and a host, such as https://proxy.example",
					name, names.WithoutSecrets(value))
			}
		}
	}
	return nil
}

// loadDefault is the SDK's, whose reader of shared files panics on some that are
// malformed, such as one with a value that is a single quotation mark.
func loadDefault(ctx context.Context, options []func(*config.LoadOptions) error) (cfg aws.Config, err error) {
	defer func() {
		if recover() != nil {
			err = settingf("the AWS configuration in %s or %s cannot be read: look there for a quotation mark without "+
				"its partner", cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename()),
				cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename()))
		}
	}()
	return config.LoadDefaultConfig(ctx, options...)
}

// waitForMachine is how long the region of the machine is waited for: where there
// is nobody to ask, requests may be lost.
const waitForMachine = time.Second

// regionOfMachine asks where the machine runs, as the AWS CLI does; empty: not on
// EC2, or nobody says.
func regionOfMachine(ctx context.Context, cfg aws.Config) string {
	ctx, cancel := context.WithTimeout(ctx, waitForMachine)
	defer cancel()
	out, err := imds.NewFromConfig(cfg).GetRegion(ctx, &imds.GetRegionInput{})
	if err != nil {
		return ""
	}
	return out.Region
}

// Prompt returns a function that asks for an MFA code on out, and reads it from
// in.
func Prompt(in io.Reader, out io.Writer) func() (string, error) {
	lines := bufio.NewReader(in)
	return func() (string, error) {
		fmt.Fprint(out, "MFA code: ")
		code, err := lines.ReadString('\n')
		if code = strings.TrimSpace(code); code != "" {
			return code, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			fmt.Fprintln(out)
			return "", ErrCode
		}
		return "", fmt.Errorf("reading the MFA code: %w", err)
	}
}

func another(flag string) string {
	if flag == "" {
		return "set AWS_PROFILE to another"
	}
	return "give another " + flag + " (or AWS_PROFILE)"
}

type settingError struct{ error }

func settingf(format string, v ...any) error { return settingError{fmt.Errorf(format, v...)} }

func (e settingError) Unwrap() error        { return e.error }
func (e settingError) Is(target error) bool { return target == ErrSetting }

// provider marks the errors of another provider, which have no type in common.
type provider struct {
	from        aws.CredentialsProvider
	profileFlag string
}

func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.from.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &CredentialsError{p.profileFlag, err}
	}
	return c, err
}

// CredentialsError says why there are no credentials, and how to give them.
// It is awserror.ErrCredentials.
type CredentialsError struct {
	profileFlag string
	err         error
}

func (e *CredentialsError) Error() string {
	why, instead := e.why()
	if !instead {
		return fmt.Sprintf("%v: %s", awserror.ErrCredentials, why)
	}
	return fmt.Sprintf("%v: %s: %sset AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in (for example: aws sso login)%s",
		awserror.ErrCredentials, why, give(e.profileFlag), missingFiles())
}

// why says what went wrong where the credentials come from, and whether others may
// be given instead, since nothing else helps.
func (e *CredentialsError) why() (text string, instead bool) {
	op, called := errors.AsType[*smithy.OperationError](e.err)
	process, ofProcess := errors.AsType[*processcreds.ProviderError](e.err)
	_, ofSession := errors.AsType[*ssocreds.InvalidTokenError](e.err)
	switch {
	case called && op.Service() == imds.ServiceID: // which the SDK tries last
		return "there are none in the environment, in the profile or from the machine's role", true
	case ofSession, !called && strings.Contains(e.err.Error(), "cached SSO token"), ofSSO(e.err):
		return "the session of the single sign-on has ended, or was not begun: sign in again with: aws sso login", false
	case ofProcess:
		return "the profile's credential_process failed: " + plainly(process.Err), true
	case called:
		return strings.TrimPrefix(awserror.Explain(e.err).Error(), "failed to refresh cached credentials, "), false
	}
	return e.err.Error(), true
}

// ofSSO reports whether the single sign-on does not take the session; what else it
// refuses is about a role.
func ofSSO(err error) bool {
	op, called := errors.AsType[*smithy.OperationError](err)
	answer, answered := errors.AsType[smithy.APIError](err)
	return called && answered && (op.Service() == "SSO OIDC" ||
		op.Service() == "SSO" && answer.ErrorCode() == "UnauthorizedException")
}

// plainly is the innermost error in plain words, without the output of a process,
// which may have secrets.
func plainly(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	switch err.(type) {
	case *json.SyntaxError, *json.UnmarshalTypeError:
		return "it does not write the JSON that it should"
	}
	return err.Error()
}

// give is the advice to use a flag, if there is one.
func give(flag string) string {
	if flag == "" {
		return ""
	}
	return "give " + flag + ", or "
}

func (e *CredentialsError) Unwrap() []error { return []error{awserror.ErrCredentials, e.err} }

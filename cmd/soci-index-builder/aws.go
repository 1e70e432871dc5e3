package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/permission"
	"soci-index-builder/internal/text/terminal"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// awsFlags are those of every command that speaks to an AWS account. What is
// not given is the SDK's to find: the environment (AWS_PROFILE, AWS_REGION,
// AWS_ENDPOINT_URL and the like), the shared configuration, a role.
type awsFlags struct{ profile, region string }

func (f *awsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.profile, "profile", "", settings.UsageProfile)
	cmd.Flags().StringVar(&f.region, "region", "", settings.UsageRegion)
}

// words are the flags as they are given, each with a space before it, for a
// command that is shown.
func (f *awsFlags) words() string {
	s := ""
	if f.region != "" {
		s += " --region " + f.region
	}
	if f.profile != "" {
		s += " --profile " + terminal.ShellWord(f.profile)
	}
	return s
}

// wordsFor are words for a command that names a repository of a host: that of ECR
// says the region, and of others these flags are not. An empty one is the account's
// own.
func (f *awsFlags) wordsFor(host string) string {
	if host == "" {
		return f.words()
	}
	if _, ofECR := ecrclient.ParseECRHost(host); !ofECR {
		return ""
	}
	return (&awsFlags{profile: f.profile}).words()
}

// check refuses a flag that is given and empty, as one of an unset variable is.
func (f *awsFlags) check(cmd *cobra.Command) error {
	for name, allowed := range map[string]string{"profile": "the name of a profile",
		"region": "a region such as us-east-1"} {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed && flag.Value.String() == "" {
			return usageErrorf("%s: invalid argument \"\" for \"--%s\" flag: must be %s", cmd.CommandPath(), name,
				allowed)
		}
	}
	return nil
}

// load returns the configuration, with a region and with credentials that could
// be had. Its errors say what to do.
func (f *awsFlags) load(cmd *cobra.Command) (aws.Config, error) {
	if err := f.check(cmd); err != nil {
		return aws.Config{}, err
	}
	return f.in(cmd, "")
}

// in is load for a region; if it is empty, for that of the flag, or else of the
// variable, before the SDK looks for one.
func (f *awsFlags) in(cmd *cobra.Command, region string) (aws.Config, error) {
	o := awsconfig.Options{Profile: f.profile, ProfileFlag: "--profile",
		Region: cmp.Or(region, f.region), RegionFlag: "--region"}
	if variable := os.Getenv(regionVariable); o.Region == "" && variable != "" {
		o.Region, o.RegionFlag = variable, regionVariable
	}
	return loadAWS(cmd, o)
}

func loadAWS(cmd *cobra.Command, o awsconfig.Options) (aws.Config, error) {
	log := logger(cmd)
	o.AppID = programName
	o.Debug = func(format string, v ...any) { log.Debug("AWS SDK", "message", fmt.Sprintf(format, v...)) }
	o.Code = awsconfig.Prompt(cmd.InOrStdin(), cmd.ErrOrStderr())
	cfg, err := awsconfig.Load(cmd.Context(), o)
	if errors.Is(err, awsconfig.ErrSetting) {
		return cfg, usageErrorf("%w", err)
	}
	return cfg, explain(err)
}

// explain makes one line of an error of AWS: which permission is missing, which
// credentials have expired, and what to do. Other errors stay as they are, and
// so does one that is explained already: exitCode explains what a command
// returns.
func explain(err error) error {
	if _, known := errors.AsType[*hostlessError](err); known {
		return err
	}
	if credentials, ok := errors.AsType[*awsconfig.CredentialsError](err); ok {
		return credentials
	}
	if _, known := errors.AsType[*memoryError](err); known {
		return err
	}
	if limit, ok := errors.AsType[*soci.MemoryError](err); ok && limit.Enough > 0 {
		return &memoryError{err, limit.Enough}
	}
	err = awserror.Explain(err)
	if _, ofAPI := errors.AsType[*awserror.Error](err); ofAPI {
		return err // it names the action
	}
	if _, hinted := errors.AsType[*hintError](err); hinted {
		return err
	}
	return explainTemporary(explainRights(explainMissing(explainUnresolved(err))))
}

// hintError says what may help, or what else an error means.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }
func (e *hintError) Error() string { return e.error.Error() + ": " + e.hint }

// explainUnresolved says what to check where the name of a registry's host has no
// address.
func explainUnresolved(err error) error {
	_, ofRegistry := errors.AsType[*ecrclient.Error](err)
	dns, unresolved := errors.AsType[*net.DNSError](err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return err // it names the variable
	}
	switch {
	case !ofRegistry || !unresolved:
		return err
	case dns.IsNotFound:
		return &hintError{err, "check its name, and HTTPS_PROXY where hosts are reached through a proxy"}
	}
	return &hintError{err, "check the network, and the DNS server of this machine"}
}

// explainTemporary adds to an answer of a registry that has too much to do, or a
// fault, that it may be another one later.
func explainTemporary(err error) error {
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok || !e.Temporary() || e.Status < http.StatusTooManyRequests {
		return err
	}
	if e.Status == http.StatusTooManyRequests {
		return &hintError{err, "the registry wants fewer requests, try again in a minute"}
	}
	return &hintError{err, "the registry has a fault, try again later"}
}

// explainMissing says what a registry does not have that answers no more than 404.
func explainMissing(err error) error {
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok || e.Status != http.StatusNotFound || e.Code != "" ||
		!strings.HasSuffix(err.Error(), http.StatusText(http.StatusNotFound)) {
		return err
	}
	switch {
	case e.Reference == "":
		return &hintError{err, "the registry has no such repository"}
	case names.IsTag(e.Reference):
		return &hintError{err, "the registry has no such repository or tag" + aFile(e)}
	}
	return &hintError{err, "the registry has no such content"}
}

// aFile says that there is a file or folder of the name that was looked up in a
// registry: skopeo's way to name it, docker-archive:FILE, is no path here.
func aFile(e *ecrclient.Error) string {
	_, name, _ := strings.Cut(e.Repository, "/")
	for _, path := range []string{name, e.Reference} {
		if _, err := os.Lstat(path); err == nil && path != "" {
			return "; the file or folder of that name is ./" + path
		}
	}
	return ""
}

// memoryError says which flag would help; only the verbs with --max-memory build.
type memoryError struct {
	error
	enough int64
}

func (e *memoryError) Unwrap() error { return e.error }

func (e *memoryError) Error() string {
	return fmt.Sprintf("%v: give --max-memory %s", e.error, &sizeFlag{bytes: e.enough})
}

// rightsError says which permissions are missing.
type rightsError struct {
	error
	actions []string
}

func (e *rightsError) Unwrap() error { return e.error }

func (e *rightsError) Error() string {
	return fmt.Sprintf("%v: the caller, and the repository's policy if it has one, must allow %s",
		e.error, permission.List(e.actions))
}

// explainRights adds to a refusal of ECR's registry which permissions are missing.
func explainRights(err error) error {
	_, known := errors.AsType[*rightsError](err)
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok || known {
		return err
	}
	actions := permission.OfRefusal(err)
	if _, ofECR := e.ECRHost(); !ofECR || len(actions) == 0 || e.Status == 0 {
		return err
	}
	return &rightsError{err, actions}
}

// stackFlag is --stack, the name or ARN of a deployed stack.
type stackFlag struct{ name string }

func (f *stackFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "stack", "name or ARN of the deployed stack")
}

func (f *stackFlag) String() string { return f.name }
func (f *stackFlag) Type() string   { return "name" }

func (f *stackFlag) Set(s string) error {
	if err := deployed.CheckName(s); err != nil {
		return err
	}
	f.name = s
	return nil
}

// find returns the stack, which must have been named, and the configuration by
// which it was found.
func (f *stackFlag) find(cmd *cobra.Command, from *awsFlags) (aws.Config, *deployed.Stack, error) {
	if f.name == "" {
		return aws.Config{}, nil,
			usageErrorf("%s: --stack is required, the name of the deployed stack", cmd.CommandPath())
	}
	if err := f.locate(cmd, from); err != nil {
		return aws.Config{}, nil, err
	}
	cfg, err := from.load(cmd)
	if err != nil {
		return cfg, nil, err
	}
	stack, err := deployed.Find(cmd.Context(), cfg, f.name)
	if err != nil {
		return cfg, nil, explain(withoutStack(err, from))
	}
	return cfg, stack, nil
}

// locate has a stack that is named by its ARN looked for in the region that the
// ARN says.
func (f *stackFlag) locate(cmd *cobra.Command, from *awsFlags) error {
	named, err := arn.Parse(f.name)
	if err != nil {
		return nil
	}
	if from.region == "" {
		from.region = named.Region
	}
	if from.region != named.Region {
		return usageErrorf("%s: --region %s contradicts --stack %s: leave it out", cmd.CommandPath(), from.region,
			f.name)
	}
	return nil
}

// withoutStack adds to an error of a stack that is not there what to look at.
func withoutStack(err error, from *awsFlags) error {
	if !errors.Is(err, deployed.ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: check --stack, --region and --profile, or see which stacks there are: "+
		"aws cloudformation describe-stacks --query 'Stacks[].StackName'%s", err, from.words())
}

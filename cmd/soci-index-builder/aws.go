package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/awserror"
	"soci-index-builder/internal/awshttp"
	"soci-index-builder/internal/deployed"
)

// region is how every region is called.
var region = regexp.MustCompile(`^[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)

// awsFlags are those of every command that speaks to an AWS account. What is
// not given is the SDK's to find: the environment (AWS_PROFILE, AWS_REGION,
// AWS_ENDPOINT_URL and the like), the shared configuration, a role.
type awsFlags struct{ profile, region string }

func (f *awsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.profile, "profile", "", "profile of the AWS configuration; the default is AWS_PROFILE")
	cmd.Flags().StringVar(&f.region, "region", "", "AWS region; the default is AWS_REGION, or that of the profile")
}

// load gives the configuration, with a region and with credentials that could
// be had. Its errors say what to do.
func (f *awsFlags) load(cmd *cobra.Command) (aws.Config, error) {
	log := logger(cmd)
	options := []func(*config.LoadOptions) error{
		config.WithAppID(programName),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("AWS SDK", "message", fmt.Sprintf(format, v...))
		})),
	}
	if f.profile != "" {
		options = append(options, config.WithSharedConfigProfile(f.profile))
	}
	if f.region != "" {
		options = append(options, config.WithRegion(f.region))
	}
	cfg, err := config.LoadDefaultConfig(cmd.Context(), options...)
	if err != nil {
		if unknown, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
			return cfg, usageErrorf("no AWS profile %q: give another --profile (or AWS_PROFILE), or make it with: aws configure --profile %s", unknown.Profile, unknown.Profile)
		}
		return cfg, usageErrorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, usageErrorf("no AWS region is set: give --region, or set AWS_REGION, or set a region in the profile")
	}
	if !region.MatchString(cfg.Region) {
		return cfg, usageErrorf("AWS region %q: must look like us-east-1", cfg.Region)
	}
	cfg.HTTPClient = awshttp.New(cfg.HTTPClient)
	cfg.Credentials = &credentialsProvider{cfg.Credentials}
	if _, err := cfg.Credentials.Retrieve(cmd.Context()); err != nil {
		return cfg, explain(err)
	}
	return cfg, nil
}

// credentialsProvider marks the errors of another provider, which have no
// type in common.
type credentialsProvider struct{ from aws.CredentialsProvider }

func (p *credentialsProvider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.from.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &credentialsError{err}
	}
	return c, err
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	why := e.err.Error()
	// The instance's role is what the SDK tries last.
	if last, ok := errors.AsType[*smithy.OperationError](e.err); ok && last.Service() == imds.ServiceID {
		why = "there are none in the environment, in the profile or from the machine's role"
	}
	return fmt.Sprintf("%v: %s: give --profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in (for example: aws sso login)", awserror.ErrCredentials, why)
}

func (e *credentialsError) Unwrap() []error { return []error{awserror.ErrCredentials, e.err} }

// explain makes one line of an error of AWS: which right is missing, which
// credentials have expired, and what to do. Other errors stay as they are.
func explain(err error) error {
	if credentials, ok := errors.AsType[*credentialsError](err); ok {
		return credentials
	}
	return awserror.Explain(err)
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

// find gives the stack, which must have been named, and the configuration by
// which it was found.
func (f *stackFlag) find(cmd *cobra.Command, from *awsFlags) (aws.Config, *deployed.Stack, error) {
	if f.name == "" {
		return aws.Config{}, nil, usageErrorf("%s: --stack is required, the name of the deployed stack", cmd.CommandPath())
	}
	cfg, err := from.load(cmd)
	if err != nil {
		return cfg, nil, err
	}
	stack, err := deployed.Find(cmd.Context(), cfg, f.name)
	if err != nil {
		return cfg, nil, explain(err)
	}
	return cfg, stack, nil
}

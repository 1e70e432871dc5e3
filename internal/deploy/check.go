package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/parameters"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
)

// capabilityIAM is what CloudFormation requires before it makes roles.
const capabilityIAM = string(types.CapabilityCapabilityIam)

func settingf(format string, v ...any) error {
	return fmt.Errorf("%w: %w", ErrSetting, fmt.Errorf(format, v...))
}

// check checks the settings by themselves, without AWS.
func (d *Deploy) check() error {
	s := &d.Settings
	var errs []error
	if !names.IsStack(s.Stack) {
		errs = append(errs, settingf("--stack %.200q: %w", s.Stack, deployed.ErrInvalidName))
	}
	errs = append(errs, d.checkPackage())
	if s.Filters != "" {
		if other, ok := s.Parameters[deployed.ParamFilters]; ok && other != s.Filters {
			errs = append(errs, settingf("--filters %.200q and --parameter %s=%.200s: give one of them", s.Filters,
				deployed.ParamFilters, other))
		}
	}
	errs = append(errs, d.checkTemplate(), d.checkTags(), d.checkConsent())
	if s.RoleARN != "" && !isARN(s.RoleARN, "iam", "role/") {
		errs = append(errs, settingf("--role-arn %.200q: must be the ARN of an IAM role", s.RoleARN))
	}
	for _, topic := range s.NotificationARNs {
		if !isARN(topic, "sns", "") {
			errs = append(errs, settingf("--notification-arn %.200q: must be the ARN of an SNS topic", topic))
		}
	}
	return errors.Join(errs...)
}

func isARN(value, service, resource string) bool {
	a, err := arn.Parse(value)
	return err == nil && a.Service == service && strings.HasPrefix(a.Resource, resource) &&
		len(a.Resource) > len(resource)
}

// checkPackage checks the settings about where the code is put.
func (d *Deploy) checkPackage() error {
	s := &d.Settings
	switch s.Package {
	case "", embedded.Zip:
		if len(s.Repositories) > 0 {
			return settingf("--repository is for --package image: zip files go into a bucket")
		}
		return nil
	case embedded.Image:
	default:
		return settingf("--package %.100q: must be zip or image", s.Package)
	}
	var errs []error
	if s.Bucket != "" {
		errs = append(errs, settingf("--bucket is for --package zip: images go into repositories"))
	}
	for _, f := range slices.Sorted(maps.Keys(s.Repositories)) {
		if !slices.ContainsFunc(companion.Functions, func(c companion.Function) bool { return c.LogicalID == f }) {
			errs = append(errs,
				settingf("--repository %.100q: must be of %s", f, strings.Join(settings.Functions(), ", ")))
			continue
		}
		// Only later, from AWS, is it known whether account and region are the stack's.
		uri := s.Repositories[f]
		var host ecrclient.ECRHost
		if image, err := names.ParseHosted(uri); err == nil {
			host, _ = ecrclient.ParseECRHost(image.Host)
		}
		if host.Account == "" {
			host.Account, host.Region = "<account>", "<region>"
		}
		if err := lambdaimage.CheckRepository(uri, host.Account, host.Region); err != nil {
			errs = append(errs, settingf("--repository %s: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

// checkTemplate checks what the user says of the template's parameters. The
// parameters are the same for both architectures.
func (d *Deploy) checkTemplate() error {
	arch := d.Settings.Architecture
	if arch == "" {
		arch = defaultArchitecture
	}
	body, err := embedded.Template(cmp.Or(d.Settings.Package, embedded.Zip), arch)
	if err != nil {
		return settingf("--arch %w", err)
	}
	t, err := parameters.Parse(body)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.named())) {
		value := d.named()[name]
		p, ok := t.Get(name)
		switch {
		case !ok:
			errs = append(errs, settingf("parameter %.200q: %w: it has %s", name, parameters.ErrUnknown,
				strings.Join(t.Names(), ", ")))
		case name == deployed.ParamFilters:
			// Its own parser says better what is wrong.
			if _, err := filters.Parse(value); err != nil {
				errs = append(errs, settingf("filters: %w", err))
				continue
			}
			fallthrough
		default:
			if err := p.Judge(value); err != nil {
				errs = append(errs, settingf("%w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// checkConsent finds out early that a question will come up that cannot be asked.
func (d *Deploy) checkConsent() error {
	for _, c := range d.Settings.Capabilities {
		if !slices.Contains(types.Capability("").Values(), types.Capability(c)) {
			return settingf("--capabilities %.100q: must be %s", c, capabilityIAM)
		}
	}
	if d.Mode.DryRun() || d.Mode.Interactive && !d.Mode.Yes {
		return nil
	}
	if !d.Mode.Yes {
		return fmt.Errorf("%w: give --yes to deploy without a question, or --dry-run to see what would be done",
			ErrConsent)
	}
	if !acknowledged(d.Settings.Capabilities) && !d.Mode.CodeOnly {
		return fmt.Errorf("%w: the stack has IAM roles, which must be acknowledged: give --capabilities %s", ErrConsent,
			capabilityIAM)
	}
	return nil
}

// acknowledged reports whether the user knows of the IAM roles. To allow roles
// with names is to allow those without.
func acknowledged(capabilities []string) bool {
	return slices.Contains(capabilities, capabilityIAM) ||
		slices.Contains(capabilities, string(types.CapabilityCapabilityNamedIam))
}

// tags are those of the stack: what the user wants, what the stack has, and
// the one by which it is known.
func (d *Deploy) tags() map[string]string {
	all := maps.Clone(d.Settings.Tags)
	if d.restored != nil {
		all = maps.Clone(d.restored.Tags)
	}
	if all == nil {
		all = map[string]string{}
	}
	all[ours.TagKey] = ours.TagValue
	return all
}

// maxTags is how many a stack can have:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
const maxTags = 50

func (d *Deploy) checkTags() error {
	var errs []error
	tags := d.Settings.Tags
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch value := tags[key]; {
		case key == "" || len(key) > 128 || strings.HasPrefix(strings.ToLower(key), "aws:"):
			errs = append(errs,
				settingf("--tag %.200q: a key must have 1 to 128 characters and not begin with aws:", key))
		case len(value) > 256:
			errs = append(errs, settingf("--tag %s: a value must have at most 256 characters", key))
		case key == ours.TagKey && value != ours.TagValue:
			errs = append(errs,
				settingf("--tag %s=%s: deploy itself sets this tag, to %s", key, value, ours.TagValue))
		}
	}
	if len(tags) >= maxTags {
		errs = append(errs, settingf("%d tags: must be fewer than %d", len(tags), maxTags))
	}
	return errors.Join(errs...)
}

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/names"
	"soci-index-builder/pkg/ecrclient"
)

// forECR refuses --profile and --region where they decide nothing, or contradict
// the names of all images: those whose names have no host are in the region, and
// so is the stack of --stack.
func (f *awsFlags) forECR(cmd *cobra.Command, refs []string) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	given := cmd.Flags().Changed
	if len(refs) == 0 || given("stack") || !given("profile") && !given("region") {
		return nil
	}
	elsewhere := ""
	for _, ref := range refs {
		if names.IsPath(ref) {
			continue
		}
		image, err := names.Parse(ref)
		if err != nil { // told when it is opened
			return nil
		}
		host, ofECR := ecrclient.ParseECRHost(image.Host)
		switch {
		case image.Host == "", ofECR && (!given("region") || host.Region == f.region):
			return nil
		case ofECR:
			elsewhere = image.Host
		}
	}
	if elsewhere != "" {
		return usageErrorf("%s: --region %s contradicts %s: leave it out, the image's name says it", cmd.CommandPath(),
			f.region, elsewhere)
	}
	name := "region"
	if given("profile") {
		name = "profile"
	}
	return usageErrorf("%s: --%s is for images in Amazon ECR, and %s is not there: leave it out", cmd.CommandPath(),
		name, refs[0])
}

// hostlessError says that a name without a host is one of ECR's, for which there
// are no AWS settings.
type hostlessError struct {
	error
	hint string
}

func (e *hostlessError) Unwrap() error { return e.error }
func (e *hostlessError) Error() string { return e.error.Error() + e.hint }

// hostless adds to an error of the AWS settings why they were read: the name has
// no host. It leaves other errors, and those of somebody who names a profile or
// region.
func hostless(cmd *cobra.Command, err error, ref string) error {
	given := cmd.Flags().Changed
	if !errors.Is(err, awsconfig.ErrSetting) && !errors.Is(err, awserror.ErrCredentials) ||
		given("profile") || given("region") || given("stack") {
		return err
	}
	image, wrong := names.Parse(ref)
	if wrong != nil || image.Host != "" {
		return err
	}
	if slices.Contains([]string{"docker-archive", "oci-archive", "oci", "dir", "docker-daemon", "containers-storage"},
		image.Repository) {
		path := image.Tag
		if _, missing := os.Stat(path); path == "" || missing != nil {
			path = "app.tar"
		}
		return &hostlessError{err, fmt.Sprintf("; %s names an image in the account's Amazon ECR registry; a file is "+
			"named by its path, such as ./%s", ref, path)}
	}
	return &hostlessError{err, fmt.Sprintf("; %s names no host, and so an image in the account's Amazon ECR "+
		"registry; on Docker Hub it is %s", ref, onDockerHub(ref))}
}

// onDockerHub is the name on Docker Hub of an image that is named without a host.
func onDockerHub(ref string) string {
	if !strings.Contains(ref, "/") {
		ref = "library/" + ref
	}
	return "docker.io/" + ref
}

// checkTagSuffix checks an argument of --tag-suffix.
func checkTagSuffix(suffix string) error {
	if names.IsTagSuffix(suffix) {
		return nil
	}
	return usageErrorf(`invalid argument %.200q for "--tag-suffix" flag: must be 1 to 127 letters, digits, "_", "." `+
		`and "-", such as %s`, suffix, names.DefaultTagSuffix)
}

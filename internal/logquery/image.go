package logquery

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Image names one image as the events of ECR do. With a digest, the tag does
// not matter.
type Image struct {
	Repository string
	Tag        string
	Digest     string // "sha256:..."
}

// Example stands in documented and saved queries for the image that is asked
// about.
var Example = Image{Repository: "team/app", Tag: "v1.2.3"}

// ErrInvalidImage: what is given is not the name of an image in ECR.
var ErrInvalidImage = errors.New("invalid image")

// What ECR allows. None of it needs an escape in a query.
var (
	registryHost   = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9.-]+$`)
	repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:[./]|__?|-+)[a-z0-9]+)*$`)
	tagName        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestName     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseImage reads REPOSITORY:TAG, REPOSITORY@DIGEST or both. The host of an
// ECR registry may stand in front. The error is ErrInvalidImage.
func ParseImage(s string) (Image, error) {
	rest := s
	if host, name, ok := strings.Cut(s, "/"); ok && registryHost.MatchString(host) {
		rest = name
	}
	name, digest, hasDigest := strings.Cut(rest, "@")
	repository, tag, hasTag := strings.Cut(name, ":")
	image := Image{Repository: repository, Tag: tag, Digest: digest}
	switch {
	case hasTag && tag == "", hasDigest && digest == "":
		return Image{}, fmt.Errorf("%w %q: nothing stands behind the : or @", ErrInvalidImage, s)
	case !hasTag && !hasDigest:
		return Image{}, fmt.Errorf("%w %q: allowed is REPOSITORY:TAG or REPOSITORY@DIGEST", ErrInvalidImage, s)
	}
	if err := image.check(); err != nil {
		return Image{}, err
	}
	return image, nil
}

// String gives what ParseImage reads.
func (i Image) String() string {
	s := i.Repository
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

func (i Image) check() error {
	switch {
	case !repositoryName.MatchString(i.Repository) || len(i.Repository) > 256:
		return fmt.Errorf("%w: repository %.300q: allowed are up to 256 of a-z, 0-9, and between them . _ __ - /", ErrInvalidImage, i.Repository)
	case i.Tag != "" && !tagName.MatchString(i.Tag):
		return fmt.Errorf("%w: tag %.200q: allowed are 1 to 128 of A-Z, a-z, 0-9, _, and, but not at its beginning, . and -", ErrInvalidImage, i.Tag)
	case i.Digest != "" && !digestName.MatchString(i.Digest):
		return fmt.Errorf("%w: digest %.200q: allowed are sha256: and 64 of 0-9 and a-f", ErrInvalidImage, i.Digest)
	case i.Tag == "" && i.Digest == "":
		return fmt.Errorf("%w: repository %s without a tag or a digest", ErrInvalidImage, i.Repository)
	}
	return nil
}

// stage is the filter that leaves the lines about the image. The events of a
// digest can have another tag, or none.
func (i Image) stage(metrics bool) string {
	repository, tag, digest := "repository", "tag", "digest"
	if metrics {
		repository, tag, digest = "Repository", "Tag", "Digest"
	}
	if i.Digest != "" {
		return "filter " + repository + " = " + quote(i.Repository) + " and " + digest + " = " + quote(i.Digest)
	}
	return "filter " + repository + " = " + quote(i.Repository) + " and " + tag + " = " + quote(i.Tag)
}

package logquery

import (
	"fmt"

	"soci-index-builder/internal/names"
)

// Example stands in documented and saved queries for the image that is asked
// about.
var Example = names.Image{Repository: "team/app", Tag: "v1.2.3"}

// ParseImage reads REPOSITORY:TAG, REPOSITORY@DIGEST or both, of an image in
// ECR. The host of an ECR registry may stand in front. With a digest, the tag
// does not matter to a query. The error is names.ErrInvalid.
func ParseImage(s string) (names.Image, error) {
	image, err := names.ParseECR(s)
	if err == nil && image.Tag == "" && image.Digest == "" {
		err = fmt.Errorf("%w %q: allowed is REPOSITORY:TAG or REPOSITORY@DIGEST", names.ErrInvalid, s)
	}
	if err != nil {
		return names.Image{}, err
	}
	image.Host = "" // events do not have it
	return image, nil
}

// check reports whether the image is one that ParseImage reads: none of its
// characters needs an escape in a query.
func check(image names.Image) error {
	again, err := ParseImage(image.String())
	if err == nil && again != image {
		err = fmt.Errorf("%w %q", names.ErrInvalid, image)
	}
	return err
}

// stage is the filter that leaves the lines about the image. The events of a
// digest can have another tag, or none.
func stage(i names.Image, metrics bool) string {
	repository, tag, digest := "repository", "tag", "digest"
	if metrics {
		repository, tag, digest = "Repository", "Tag", "Digest"
	}
	if i.Digest != "" {
		return "filter " + repository + " = " + quote(i.Repository) + " and " + digest + " = " + quote(i.Digest)
	}
	return "filter " + repository + " = " + quote(i.Repository) + " and " + tag + " = " + quote(i.Tag)
}

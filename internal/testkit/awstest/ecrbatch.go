package awstest

import (
	"slices"

	"github.com/opencontainers/go-digest"
)

// imageFailure is one image of a batch that could not be served.
type imageFailure struct {
	ImageID       imageID `json:"imageId"`
	FailureCode   string  `json:"failureCode"`
	FailureReason string  `json:"failureReason"`
}

// find returns the image that an id names, by digest, by tag or by both.
func find(all []*ecrImage, id imageID) (*ecrImage, *imageFailure) {
	fail := func(code, reason string) (*ecrImage, *imageFailure) {
		return nil, &imageFailure{id, code, reason}
	}
	switch {
	case id.ImageDigest == "" && id.ImageTag == "":
		return fail("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
	case id.ImageDigest != "" && id.ImageDigest.Validate() != nil:
		return fail("InvalidImageDigest",
			"Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	}
	var image *ecrImage
	for _, i := range all {
		if id.ImageDigest != "" && i.digest == id.ImageDigest || id.ImageDigest == "" &&
			slices.Contains(i.tags, id.ImageTag) {
			image = i
		}
	}
	switch {
	case image == nil:
		return fail("ImageNotFound", "Requested image not found")
	case id.ImageTag != "" && !slices.Contains(image.tags, id.ImageTag):
		return fail("ImageTagDoesNotMatchDigest", "The tag does not match the digest")
	}
	return image, nil
}

type batchInput struct {
	ofRegistry
	RepositoryName string    `json:"repositoryName"`
	ImageIDs       []imageID `json:"imageIds"`
}

func (e *ECR) batch(in batchInput) ([]*ecrImage, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	if n := len(in.ImageIDs); n == 0 || n > 100 {
		return nil, invalidParameter(
			"Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length between 1 and 100'")
	}
	return e.list(in.RepositoryName), nil
}

func (e *ECR) batchGetImage(in batchInput) (any, error) {
	all, err := e.batch(in)
	if err != nil {
		return nil, err
	}
	images, failures := []map[string]any{}, []imageFailure{}
	for _, id := range in.ImageIDs {
		image, failure := find(all, id)
		if failure == nil && image.raw == "" {
			failure = &imageFailure{id, "ImageNotFound", "Requested image not found"}
		}
		if failure != nil {
			failures = append(failures, *failure)
			continue
		}
		images = append(images, map[string]any{
			"registryId": Account, "repositoryName": in.RepositoryName,
			"imageId":       imageID{image.digest, id.ImageTag},
			"imageManifest": image.raw, "imageManifestMediaType": image.mediaType,
		})
	}
	return map[string]any{"images": images, "failures": failures}, nil
}

// batchDeleteImage deletes images by digest, with all their tags, and tags;
// an image goes with its last tag. What an image index lists is kept as long
// as that is there when the request arrives: whether one batch could take both
// ECR does not say.
func (e *ECR) batchDeleteImage(in batchInput) (any, error) {
	all, err := e.batch(in)
	if err != nil {
		return nil, err
	}
	listed := map[digest.Digest]bool{}
	for _, i := range all {
		if i.manifest != nil {
			for _, child := range i.manifest.Manifests {
				listed[child.Digest] = true
			}
		}
	}
	deleted, failures := []imageID{}, []imageFailure{}
	for _, id := range in.ImageIDs {
		image, failure := find(all, id)
		if failure != nil {
			failures = append(failures, *failure)
			continue
		}
		whole := id.ImageTag == "" || len(image.tags) == 1
		if f, ok := e.undeletable[ecrKey{in.RepositoryName, image.digest}]; ok {
			f.ImageID = id
			failures = append(failures, f)
			continue
		}
		if whole && listed[image.digest] {
			failures = append(failures,
				imageFailure{id, "ImageReferencedByManifestList", "Requested image referenced by manifest list"})
			continue
		}
		if !whole {
			e.untag(in.RepositoryName, image, id.ImageTag)
			image.tags = slices.DeleteFunc(slices.Clone(image.tags),
				func(tag string) bool { return tag == id.ImageTag })
			deleted = append(deleted, imageID{image.digest, id.ImageTag})
			continue
		}
		e.remove(in.RepositoryName, image)
		if len(image.tags) == 0 {
			deleted = append(deleted, imageID{ImageDigest: image.digest})
		}
		for _, tag := range image.tags {
			deleted = append(deleted, imageID{image.digest, tag})
		}
		all = e.list(in.RepositoryName)
	}
	return map[string]any{"imageIds": deleted, "failures": failures}, nil
}

func (e *ECR) untag(repository string, image *ecrImage, tag string) {
	if image.manifest != nil {
		e.content.delete(repository, tag)
		return
	}
	for _, i := range e.images[repository] {
		if i.Digest == image.digest {
			i.Tags = slices.DeleteFunc(slices.Clone(i.Tags), func(t string) bool { return t == tag })
		}
	}
}

func (e *ECR) remove(repository string, image *ecrImage) {
	if image.manifest != nil {
		e.content.delete(repository, image.digest.String())
	}
	e.images[repository] = slices.DeleteFunc(e.images[repository],
		func(i *Image) bool { return i.Digest == image.digest })
}

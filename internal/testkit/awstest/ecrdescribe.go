package awstest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// imageID is an image as requests and answers name it.
type imageID struct {
	ImageDigest digest.Digest `json:"imageDigest,omitempty"`
	ImageTag    string        `json:"imageTag,omitempty"`
}

type describeRepositoriesInput struct {
	ofRegistry
	RepositoryNames []string `json:"repositoryNames"`
	MaxResults      int      `json:"maxResults"`
	NextToken       string   `json:"nextToken"`
}

func (e *ECR) describeRepositories(in describeRepositoriesInput) (any, error) {
	names := in.RepositoryNames
	if len(names) == 0 {
		names = e.content.repositories()
		for name := range e.repositories {
			names = append(names, name)
		}
		for name := range e.images {
			names = append(names, name)
		}
		slices.Sort(names)
		names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return e.gone[name] })
	} else if in.MaxResults != 0 || in.NextToken != "" {
		return nil, invalidParameter("maxResults and nextToken cannot be used with repositoryNames")
	}
	names, next, err := page(names, "repositories", in.MaxResults, max(100, len(in.RepositoryNames)), 1000,
		in.NextToken)
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for _, name := range names {
		r, err := e.repository(name)
		if err != nil {
			return nil, err
		}
		list = append(list, describedRepository(e.Host(), name, r))
	}
	return withToken(map[string]any{"repositories": list}, next), nil
}

func describedRepository(host, name string, r *Repository) map[string]any {
	created, mutability := r.CreatedAt, r.Mutability
	if created.IsZero() {
		created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if mutability == "" {
		mutability = "MUTABLE"
	}
	out := map[string]any{
		"registryId": Account, "repositoryName": name, "createdAt": epoch(created),
		"repositoryArn":           fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", Region, Account, name),
		"repositoryUri":           host + "/" + name,
		"imageTagMutability":      mutability,
		"encryptionConfiguration": map[string]any{"encryptionType": "AES256"},
	}
	if r.KMSKey != "" {
		out["encryptionConfiguration"] = map[string]any{"encryptionType": "KMS", "kmsKey": r.KMSKey}
	}
	exclusions := []map[string]string{}
	for _, pattern := range r.Exclusions {
		exclusions = append(exclusions, map[string]string{"filterType": "WILDCARD", "filter": pattern})
	}
	if len(exclusions) > 0 {
		out["imageTagMutabilityExclusionFilters"] = exclusions
	}
	return out
}

type describeImagesInput struct {
	ofRegistry
	RepositoryName string    `json:"repositoryName"`
	ImageIDs       []imageID `json:"imageIds"`
	MaxResults     int       `json:"maxResults"`
	NextToken      string    `json:"nextToken"`
	Filter         struct {
		TagStatus   string `json:"tagStatus"`
		ImageStatus string `json:"imageStatus"`
	} `json:"filter"`
}

func (e *ECR) describeImages(in describeImagesInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	all := e.list(in.RepositoryName)
	var next string
	if len(in.ImageIDs) > 0 {
		switch {
		case in.MaxResults != 0 || in.NextToken != "":
			return nil, invalidParameter("maxResults and nextToken cannot be used with imageIds")
		case len(in.ImageIDs) > 100:
			return nil, invalidParameter(
				"Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length less than or " +
					"equal to 100'")
		}
		var chosen []*ecrImage
		for _, id := range in.ImageIDs {
			image, failure := find(all, id)
			if failure != nil {
				return nil, &Error{Status: 400, Code: "ImageNotFoundException", Message: fmt.Sprintf(
					"The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository "+
						"with name '%s' in the registry with id '%s'",
					orNull(string(id.ImageDigest)), orNull(id.ImageTag), in.RepositoryName, Account)}
			}
			if !slices.Contains(chosen, image) {
				chosen = append(chosen, image)
			}
		}
		all = chosen
	} else {
		all = slices.DeleteFunc(all, func(i *ecrImage) bool {
			switch status := in.Filter.ImageStatus; {
			case status == "ANY":
			case i.archived && status != cmp.Or(i.status, "ARCHIVED"), !i.archived && status != "" &&
				status != "ACTIVE":
				return true
			}
			return in.Filter.TagStatus == "TAGGED" && len(i.tags) == 0 || in.Filter.TagStatus == "UNTAGGED" &&
				len(i.tags) > 0
		})
		var err error
		if all, next, err = page(all, "images "+in.RepositoryName, in.MaxResults, 100, 1000, in.NextToken); err != nil {
			return nil, err
		}
	}
	details := []map[string]any{}
	for _, i := range all {
		details = append(details, i.described(in.RepositoryName))
	}
	return withToken(map[string]any{"imageDetails": details}, next), nil
}

func (i *ecrImage) described(repository string) map[string]any {
	d := map[string]any{
		"registryId": Account, "repositoryName": repository, "imageDigest": i.digest,
		"imageSizeInBytes": i.size, "imagePushedAt": epoch(i.pushedAt),
		"imageManifestMediaType": i.mediaType, "imageStatus": "ACTIVE",
	}
	if len(i.tags) > 0 {
		d["imageTags"] = i.tags
	}
	if i.artifactMediaType != "" {
		d["artifactMediaType"] = i.artifactMediaType
	}
	if i.subject != "" {
		d["subjectManifestDigest"] = i.subject
	}
	if !i.pulledAt.IsZero() {
		d["lastRecordedPullTime"] = epoch(i.pulledAt)
	}
	if i.archived {
		d["imageStatus"] = cmp.Or(i.status, "ARCHIVED")
	}
	return d
}

type listImagesInput = describeImagesInput

func (e *ECR) listImages(in listImagesInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	ids := []imageID{}
	for _, i := range e.list(in.RepositoryName) {
		if len(i.tags) == 0 && in.Filter.TagStatus != "TAGGED" {
			ids = append(ids, imageID{ImageDigest: i.digest})
		}
		for _, tag := range i.tags {
			if in.Filter.TagStatus != "UNTAGGED" {
				ids = append(ids, imageID{i.digest, tag})
			}
		}
	}
	ids, next, err := page(ids, "ids "+in.RepositoryName, in.MaxResults, 100, 1000, in.NextToken)
	if err != nil {
		return nil, err
	}
	return withToken(map[string]any{"imageIds": ids}, next), nil
}

type listImageReferrersInput struct {
	ofRegistry
	RepositoryName string `json:"repositoryName"`
	SubjectID      struct {
		ImageDigest digest.Digest `json:"imageDigest"`
	} `json:"subjectId"`
	MaxResults int    `json:"maxResults"`
	NextToken  string `json:"nextToken"`
	Filter     struct {
		ArtifactTypes []string `json:"artifactTypes"`
	} `json:"filter"`
}

func (e *ECR) listImageReferrers(in listImageReferrersInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	found := []map[string]any{}
	for _, i := range e.list(in.RepositoryName) {
		types := in.Filter.ArtifactTypes
		if i.subject != in.SubjectID.ImageDigest || len(types) > 0 && !slices.Contains(types, i.artifactMediaType) {
			continue
		}
		r := map[string]any{
			"digest": i.digest, "mediaType": i.mediaType, "size": len(i.raw),
			"artifactType": i.artifactMediaType, "artifactStatus": "ACTIVE",
		}
		if i.manifest != nil && len(i.manifest.Annotations) > 0 {
			r["annotations"] = i.manifest.Annotations
		}
		found = append(found, r)
	}
	found, next, err := page(found, "referrers "+in.RepositoryName+in.SubjectID.ImageDigest.String(), in.MaxResults, 20,
		50, in.NextToken)
	if err != nil {
		return nil, err
	}
	return withToken(map[string]any{"referrers": found}, next), nil
}

func withToken(out map[string]any, token string) map[string]any {
	if token != "" {
		out["nextToken"] = token
	}
	return out
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

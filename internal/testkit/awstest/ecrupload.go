package awstest

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
)

// uploadInput is of the operations that push by the API, which is seldom done: what
// is pushed goes to the registry.
type uploadInput struct {
	ofRegistry
	RepositoryName string          `json:"repositoryName"`
	UploadID       string          `json:"uploadId"`
	LayerDigests   []digest.Digest `json:"layerDigests"`
	ImageManifest  string          `json:"imageManifest"`
}

// batchCheckLayers knows no layer.
func (e *ECR) batchCheckLayers(in uploadInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	var failures []map[string]any
	for _, layer := range in.LayerDigests {
		failures = append(failures, map[string]any{"layerDigest": layer, "failureCode": "MissingLayerDigest",
			"failureReason": "no such layer"})
	}
	return map[string]any{"layers": []any{}, "failures": failures}, nil
}

// initiateUpload begins an upload in a repository that exists, which no test
// wants.
func (e *ECR) initiateUpload(in uploadInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	return nil, &Error{Status: 500, Code: "ServerException", Message: "an upload was begun in " + in.RepositoryName}
}

// noUpload is the answer for an upload that was not begun.
func (e *ECR) noUpload(in uploadInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	return nil, &Error{Status: 400, Code: "UploadNotFoundException",
		Message: "The upload with upload id '" + in.UploadID +
			"' does not exist in the repository with name '" + in.RepositoryName + "'"}
}

func (e *ECR) putImage(in uploadInput) (any, error) {
	if _, err := e.repository(in.RepositoryName); err != nil {
		return nil, err
	}
	if !json.Valid([]byte(in.ImageManifest)) {
		return nil, invalidParameter(
			"Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'")
	}
	return nil, &Error{Status: 500, Code: "ServerException", Message: "an image was put into " + in.RepositoryName}
}

package awstest

import (
	"maps"
	"slices"
	"strings"
)

type ofResource struct {
	ofRegistry
	ResourceARN string `json:"resourceArn"`
}

func (e *ECR) listTagsForResource(in ofResource) (any, error) {
	_, name, ok := strings.Cut(in.ResourceARN, ":repository/")
	if !ok {
		return nil, invalidParameter("Invalid parameter at 'resourceArn': %s", in.ResourceARN)
	}
	r, err := e.repository(name)
	if err != nil {
		return nil, err
	}
	tags := []map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		tags = append(tags, map[string]string{"Key": key, "Value": r.Tags[key]})
	}
	return map[string]any{"tags": tags}, nil
}

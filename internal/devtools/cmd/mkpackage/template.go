package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/devtools/dist"
)

// template is what must be known of the one that is deployed.
type template struct {
	size int    // bytes
	arch string // of the functions, as Go names it
}

// goArch is Lambda's name of an architecture to Go's.
var goArch = map[string]string{"arm64": "arm64", "x86_64": "amd64"}

// readTemplate reads a template and checks that code from a bucket can be
// deployed with it.
func readTemplate(file string) (*template, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	var parsed struct {
		Parameters map[string]json.RawMessage
		Resources  map[string]struct {
			Type       string
			Properties json.RawMessage
		}
	}
	if err := json.Unmarshal(content, &parsed); err != nil {
		return nil, fmt.Errorf("reading the template %s: %w", file, err)
	}
	if _, ok := parsed.Parameters[deployed.ParamFilterImage]; ok {
		return nil, fmt.Errorf("the template %s takes container images: code from a bucket goes with %s", file,
			defaultTemplate)
	}
	for _, name := range []string{deployed.ParamCodeBucket, deployed.ParamCodeKeyPrefix} {
		if _, ok := parsed.Parameters[name]; !ok {
			return nil, fmt.Errorf(
				"the template %s has no parameter %s: is it the plain one that make generate writes?", file,
				name)
		}
	}
	var found, code []string
	for _, r := range parsed.Resources {
		if r.Type != "AWS::Lambda::Function" {
			continue
		}
		var function struct {
			Architectures []string
			Code          struct {
				S3Key struct {
					Sub string `json:"Fn::Sub"`
				}
			}
		}
		if err := json.Unmarshal(r.Properties, &function); err != nil {
			return nil, fmt.Errorf("reading the template %s: %w", file, err)
		}
		if len(function.Architectures) != 1 || goArch[function.Architectures[0]] == "" {
			return nil, fmt.Errorf(
				"the template %s has a function for the architectures %q: must be one of arm64, x86_64", file,
				function.Architectures)
		}
		found = append(found, function.Architectures[0])
		code = append(code, strings.TrimPrefix(function.Code.S3Key.Sub, "${"+deployed.ParamCodeKeyPrefix+"}"))
	}
	slices.Sort(found)
	// Two functions may have the same code.
	slices.Sort(code)
	code = slices.Compact(code)
	var built []string
	for _, f := range dist.Functions {
		built = append(built, f+".zip")
	}
	if slices.Sort(built); !slices.Equal(code, built) {
		return nil, fmt.Errorf("the template %s needs the code %q, and there is %q", file, code, built)
	}
	if found = slices.Compact(found); len(found) != 1 {
		return nil, fmt.Errorf("the template %s has functions for %s: must be one architecture", file,
			strings.Join(found, " and "))
	}
	return &template{len(content), goArch[found[0]]}, nil
}

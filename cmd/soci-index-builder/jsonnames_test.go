package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"soci-index-builder/internal/testkit/registrytest"
)

// All verbs have the same names for the tag and the digest of a SOCI-enabled
// image, at the top of what they say of an image, and say them nowhere else.
func TestNamesOfTheEnabledImageInJSON(t *testing.T) {
	layers := storedLayers(t)
	server := registrytest.Start(t)
	image := registrytest.Image{Layers: []registrytest.Layer{{Content: layers["writer/go-6"]}}}
	server.PushImage(t, "team/app", "1", image)
	ref := server.Host() + "/team/app:1"
	const tag = "1-soci"
	output(t, "index", "-q", "--min-layer-size", "0", "--index-version", "V2", ref)
	var enabled string
	for _, tt := range []struct {
		verb string
		args []string
		list string // where the objects with the names are, if not at the top

		tagAlone  bool // it has no digest
		manifests bool // it shows manifests, each with its digest
	}{
		{verb: "index", args: []string{"--min-layer-size", "0", "--index-version", "V2", ref}},
		{verb: "status", args: []string{"--min-layer-size", "0", ref}},
		{verb: "inspect", args: []string{ref}, manifests: true},
		{verb: "verify", args: []string{"--index-version", "V2", ref}},
		{verb: "wait", args: []string{"--min-layer-size", "0", "--index-version", "V2", ref}},
		{verb: "estimate", args: []string{"--index-version", "V2", "--path", "/**", ref},
			list: "images", tagAlone: true},
	} {
		t.Run(tt.verb, func(t *testing.T) {
			out := output(t, append([]string{tt.verb, "-o", "json"}, tt.args...)...)
			var all map[string]any
			if err := json.NewDecoder(bytes.NewBufferString(out)).Decode(&all); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			object := all
			if tt.list != "" {
				object = all[tt.list].([]any)[0].(map[string]any)
			}
			digest, _ := object["sociDigest"].(string)
			if enabled == "" {
				enabled = digest // of index, which comes first
			}
			if object["sociTag"] != tag || !tt.tagAlone && (digest == "" || digest != enabled) {
				t.Errorf("sociTag is %v and sociDigest %q, want %s and %q", object["sociTag"], digest, tag, enabled)
			}
			for _, name := range fieldsWith(all, "", tag, enabled) {
				if own := regexp.MustCompile(`(^|\.)sociTag$|^sociDigest$`); own.MatchString(name) ||
					tt.manifests && regexp.MustCompile(`\.image\.digest$`).MatchString(name) {
					continue
				}
				t.Errorf("the field %s has the tag or the digest too", name)
			}
		})
	}
}

// fieldsWith returns the paths of the fields that have one of the values.
func fieldsWith(v any, path string, values ...string) []string {
	var found []string
	switch v := v.(type) {
	case string:
		for _, value := range values {
			if v == value {
				found = append(found, path)
			}
		}
	case []any:
		for _, one := range v {
			found = append(found, fieldsWith(one, path, values...)...)
		}
	case map[string]any:
		for name, one := range v {
			below := name
			if path != "" {
				below = fmt.Sprintf("%s.%s", path, name)
			}
			found = append(found, fieldsWith(one, below, values...)...)
		}
	}
	return found
}

// A page on JSON fields names the suffixed tag or the SOCI-enabled image only by
// these names.
func TestPagesNameTheEnabledImageAlike(t *testing.T) {
	about := regexp.MustCompile(`(?i)suffixed\s+tag|suffixedTag|SOCI-enabled\s+image\b`)
	var pages int
	for _, cmd := range visible(newRootCommand()) {
		_, fields := splitHelp(cmd.Long)
		if !about.MatchString(fields) {
			continue
		}
		pages++
		if !regexp.MustCompile(`\bsociTag\b`).MatchString(fields) && cmd.Name() != "cleanup" { // kinds of manifests alone
			t.Errorf("%s says of a SOCI-enabled image, and has no sociTag: %s", cmd.CommandPath(), fields)
		}
		if other := regexp.MustCompile(`\btag \(the\s+suffixed|suffixedTag[^.;]*: tag\b`).FindString(fields); other != "" {
			t.Errorf("%s has %q", cmd.CommandPath(), other)
		}
	}
	if pages < 4 {
		t.Errorf("%d pages say of it: do they use other words now?", pages)
	}
}

package soci

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// skipTexts say for people what a layer is that has no zTOC. Each follows
// "skipped: " or a number of layers.
var skipTexts = map[SkipReason]string{
	SkipTooSmall:     "smaller than the minimum layer size",
	SkipZstd:         "compressed with zstd",
	SkipCompression:  "in a compression that cannot be indexed",
	SkipEncrypted:    "encrypted",
	SkipNotALayer:    "of a media type that is not a tar layer's",
	SkipNotTar:       "not a tar archive",
	SkipForeign:      "of a kind that may not be distributed",
	SkipSparseFile:   "with a sparse file",
	SkipGlobalPAX:    "with a global PAX header",
	SkipEntryType:    "with a tar entry of a type that cannot be indexed",
	SkipEntrySize:    "with a tar entry whose size and content differ",
	SkipGzipHeader:   "with a gzip header that clients refuse",
	SkipZtocTooLarge: "for which the zTOC would be larger than the layer",
	SkipEmptySpan:    "beginning with an empty gzip block or member",
	SkipEmptyXattr:   "with an empty extended attribute, which clients lose",
	SkipModTime:      "with a modification time that clients lose",
	SkipParent:       "with an entry below a link or a file",
	SkipLinkTarget:   "with a hard link to something that the layer does not have",
	SkipRepeatedDir:  "with a directory that is there twice",
	SkipOwner:        "with an owner's number of more than 32 bits",
	SkipFileMode:     "with a file that has another type's mode",
	SkipEntryName:    "with an entry name that clients do not show",
}

// Text returns what the layer is, for people; the reason itself is for programs.
func (r SkipReason) Text() string {
	if text, ok := skipTexts[r]; ok {
		return text
	}
	return strings.ReplaceAll(string(r), "-", " ")
}

// Recipe is how a build tool makes layers of gzip.
type Recipe struct{ Tool, How string }

// GzipRecipes are those of the common build tools, for images with zstd layers.
var GzipRecipes = []Recipe{
	{"docker buildx", "docker buildx build --output type=image,push=true,compression=gzip,force-compression=true"},
	{"Buildah", "buildah push --compression-format gzip --force-compression"},
	{"Podman", "podman push --compression-format gzip --force-compression"},
	{"Kaniko", "--compression=gzip, and a base image with gzip layers"},
	{"Jib", "a base image with gzip layers (Jib's own are gzip)"},
	{"Bazel rules_oci", `pkg_tar(extension = "tar.gz") for the layers, and a base image with gzip layers`},
}

// Fix says in one line what the image's maker can do about the reason; empty if
// there is nothing to say beyond the Detail.
func (r SkipReason) Fix() string {
	if r != SkipZstd {
		return ""
	}
	recipes := make([]string, len(GzipRecipes))
	for i, x := range GzipRecipes {
		recipes[i] = x.How
		if !strings.Contains(x.How, strings.ToLower(x.Tool)) {
			recipes[i] = x.Tool + ": " + x.How
		}
	}
	return "build the image with gzip layers: " + strings.Join(recipes, "; ")
}

// SkippedText says how many layers are what, sorted by reason: "1 compressed
// with zstd, 2 smaller than the minimum layer size". Empty for none.
func SkippedText(counts map[SkipReason]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason.Text()))
	}
	return strings.Join(parts, ", ")
}

// outcomeTexts say for people what became of an image or of a part of it.
var outcomeTexts = map[Outcome]string{
	OutcomeIndexed:           "indexed",
	OutcomeNoLayer:           "no layer to index",
	OutcomePassedOver:        "not an image to index",
	OutcomeMissing:           "not in the repository",
	OutcomeUnreadable:        "cannot be read",
	OutcomeFailed:            "failed",
	OutcomeOwnArtifact:       "left alone, because it is a SOCI artifact",
	OutcomeOptedOut:          "left alone, because its label opts out",
	OutcomeTagged:            "tagged",
	OutcomeAlreadyTagged:     "already tagged",
	OutcomeUntagged:          "no SOCI-enabled image, because it has no suitable tag",
	OutcomeSuperseded:        "superseded, because its tag has moved to another image",
	OutcomePlatformNotChosen: "none of its platforms is among those that are chosen",
	OutcomeTagImmutable:      "the suffixed tag is immutable and names another image",
	OutcomeTagTaken:          "the suffixed tag names an image that is not SOCI-enabled",
}

// Text returns the outcome for people; the outcome itself is for programs.
func (o Outcome) Text() string {
	if text, ok := outcomeTexts[o]; ok {
		return text
	}
	return strings.ReplaceAll(string(o), "-", " ")
}

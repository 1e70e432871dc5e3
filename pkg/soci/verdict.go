package soci

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// AnnotationVerdict, on the image index that stands for an unindexed image, says
// what it rests on that the image has no layer to index. The value is
// "1,<minimum layer size>", and, if not all image manifests were asked for,
// ",<digest>" of each that was; the number is that of the rules,
// unindexableRules. Image indexes of earlier releases do not have it.
const AnnotationVerdict = "soci-index-builder.unindexed-verdict"

// verdict is what AnnotationVerdict says.
type verdict struct {
	minLayerSize int64 // compressed bytes

	// manifests are the image manifests that were asked for; nil: all of them.
	manifests []digest.Digest
}

func newVerdict(t *tree, minLayerSize int64) verdict {
	v := verdict{minLayerSize: minLayerSize}
	all := true
	for _, x := range t.targets {
		switch {
		case x.manifest == nil: // an image that could not be read may be there another time
			all = all && x.outcome != OutcomeMissing && (x.outcome != OutcomeUnreadable || x.kind != KindImage)
		case x.wanted:
			v.manifests = append(v.manifests, x.desc.Digest)
		default:
			all = false
		}
	}
	if all {
		v.manifests = nil
	}
	return v
}

// String is the annotation's value, "" for one that would be too long.
func (v verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s,%d", unindexableRules, v.minLayerSize)
	for _, d := range v.manifests {
		b.WriteString("," + d.String())
	}
	if b.Len() > maxUnindexable {
		return ""
	}
	return b.String()
}

// parseVerdict reads the annotation. It returns false for one that is not of
// these rules.
func parseVerdict(value string) (verdict, bool) {
	if len(value) > maxUnindexable {
		return verdict{}, false
	}
	part := strings.Split(value, ",")
	if len(part) < 2 || part[0] != unindexableRules {
		return verdict{}, false
	}
	size, err := strconv.ParseInt(part[1], 10, 64)
	if err != nil || size < 0 {
		return verdict{}, false
	}
	v := verdict{minLayerSize: size}
	for _, d := range part[2:] {
		v.manifests = append(v.manifests, digest.Digest(d))
	}
	return v, true
}

// covers reports whether v, of the same image, rests on as much as other.
func (v verdict) covers(other verdict) bool {
	if v.minLayerSize > other.minLayerSize {
		return false
	}
	if v.manifests == nil || other.manifests == nil {
		return v.manifests == nil
	}
	return !slices.ContainsFunc(other.manifests, func(d digest.Digest) bool { return !slices.Contains(v.manifests, d) })
}

// holds reports whether the verdict is about a layer of an image manifest.
func (v verdict) holds(manifest digest.Digest, layerSize int64) bool {
	return layerSize >= v.minLayerSize && (v.manifests == nil || slices.Contains(v.manifests, manifest))
}

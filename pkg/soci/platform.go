package soci

import (
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/names"
)

// platform is that of an image manifest, as it is listed or as its config has
// it. Early builders, and tools that make images of files, leave out its parts.
type platform struct {
	said ocispec.Platform
}

// platformOf is the platform that p says; nil says none.
func platformOf(p *ocispec.Platform) platform {
	if p == nil {
		return platform{}
	}
	return platform{*p}
}

// known reports whether clients can choose by it.
func (p platform) known() bool { return p.said.OS != "" && p.said.Architecture != "" }

// PlatformText returns the platform as results name it: "linux/arm64",
// normalized, or "unknown" if the architecture is not said, or p is nil.
func PlatformText(p *ocispec.Platform) string { return platformOf(p).String() }

// String is "linux/arm64", normalized, or "unknown". An operating system that is
// not said is that of the client, wherever this runs: Linux.
func (p platform) String() string {
	if p.said.Architecture == "" {
		return "unknown"
	}
	return platforms.Format(p.normalized())
}

func (p platform) normalized() ocispec.Platform {
	n := p.said
	if n.OS == "" {
		n.OS = "linux"
	}
	return platforms.Normalize(n)
}

// matches reports whether m chooses it.
func (p platform) matches(m platforms.Matcher) bool {
	return p.said.Architecture != "" && m.Match(p.normalized())
}

// parseChoice returns what one element of Options.Choice chooses.
func parseChoice(s string) (func(platform) bool, error) {
	if !names.IsPlatform(s) {
		return nil, invalidOption("platform %q; allowed are %s", cut(s, 100), names.PlatformAllowed)
	}
	if !strings.Contains(s, "/") {
		return func(p platform) bool { return p.normalized().OS == s }, nil
	}
	parsed, err := platforms.Parse(s)
	if err != nil {
		return nil, invalidOption("platform %q: %w", cut(s, 100), err)
	}
	m := platforms.OnlyStrict(parsed)
	return func(p platform) bool { return p.matches(m) }, nil
}

// listed returns the platform as an image index lists it; nil if unknown, since no
// client has an empty architecture, while clients look into the config of an entry
// without a platform.
func (p platform) listed() *ocispec.Platform {
	if !p.known() {
		return nil
	}
	said := p.said
	return &said
}

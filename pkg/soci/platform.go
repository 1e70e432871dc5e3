package soci

import (
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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

// listed is how an image index says it: nil where it is not known, since an
// empty architecture is no client's, while clients look into the config of an
// entry without a platform.
func (p platform) listed() *ocispec.Platform {
	if !p.known() {
		return nil
	}
	said := p.said
	return &said
}

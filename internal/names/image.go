package names

import (
	"errors"
	"fmt"
	"strings"
)

// Image is what the text says that names an image. What it does not say is
// empty.
type Image struct {
	Host       string // of the registry, with its port
	Repository string
	Tag        string
	Digest     string // "sha256:..."
}

// String returns the text: [HOST/]REPOSITORY[:TAG][@DIGEST].
func (i Image) String() string {
	s := i.Repository
	if i.Host != "" {
		s = i.Host + "/" + s
	}
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// ErrInvalid: a text is not the name of an image.
var ErrInvalid = errors.New("invalid image name")

// Error tells everything that is wrong with the name of an image. It matches
// ErrInvalid.
type Error struct {
	Text     string // as it was given
	Problems []Problem
}

// Problem is one part that cannot be.
type Problem struct {
	Part    string // "tag"
	Value   string
	Allowed string
}

func (e *Error) Error() string { return fmt.Sprintf("%v %.300q: %s", ErrInvalid, e.Text, e.Reason()) }

// Reason is the error without the text that was read.
func (e *Error) Reason() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = fmt.Sprintf("its %s %.100q must be %s", p.Part, p.Value, p.Allowed)
	}
	return strings.Join(parts, "; ")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Parse reads [HOST/]REPOSITORY[:TAG][@DIGEST] as docker and its kin do: what
// stands before the first slash is a host if it has a dot or a colon, or is
// localhost. Without a host the image is one of ECR, and must be named as ECR
// allows. The error is an *Error.
func Parse(text string) (Image, error) {
	return parse(text, hostByItsLook, false)
}

// ParseHosted reads HOST/REPOSITORY[:TAG][@DIGEST]: whatever stands before the
// first slash is a host. The error is an *Error.
func ParseHosted(text string) (Image, error) {
	if !strings.Contains(text, "/") {
		return Image{}, &Error{text, []Problem{{"host", "", hostAllowed}}}
	}
	return parse(text, func(string) bool { return true }, false)
}

// ParseECR reads [HOST/]REPOSITORY[:TAG][@DIGEST] of an image in ECR, where
// other hosts than ECR's can be the beginning of a repository's name: that of a
// pull-through cache is docker.io/library/nginx. The error is an *Error.
func ParseECR(text string) (Image, error) {
	return parse(text, likeECRHost.MatchString, true)
}

const (
	hostAllowed    = "a host, and maybe a port, before the first slash"
	ecrHostAllowed = "<account>.dkr.ecr.<region>.amazonaws.com, or as the region's partition has it"
)

func parse(text string, isHost func(first string) bool, onlyECR bool) (Image, error) {
	if scheme, _, ok := strings.Cut(text, "://"); ok {
		return Image{}, &Error{text, []Problem{{"beginning", scheme + "://", "the host or the repository, without a scheme"}}}
	}
	var (
		image    Image
		problems []Problem
	)
	check := func(ok bool, part, value, allowed string) {
		if !ok {
			problems = append(problems, Problem{part, value, allowed})
		}
	}
	// A registry that is named judges itself what can be in it, as long as it can
	// be asked.
	ofECR := true
	rest := text
	if first, after, ok := strings.Cut(text, "/"); ok && isHost(first) {
		image.Host, rest = first, after
		if ofECR = onlyECR; ofECR {
			_, ok := ParseECRHost(first)
			check(ok, "host", first, ecrHostAllowed)
		} else {
			check(IsHost(first), "host", first, hostAllowed)
		}
	}
	var hasTag, hasDigest bool
	rest, image.Digest, hasDigest = strings.Cut(rest, "@")
	image.Repository, image.Tag, hasTag = strings.Cut(rest, ":")
	if ofECR {
		check(IsECRRepository(image.Repository), "repository name", image.Repository, ECRRepositoryAllowed)
	} else {
		check(IsRepository(image.Repository), "repository name", image.Repository, RepositoryAllowed)
	}
	check(!hasTag || IsTag(image.Tag), "tag", image.Tag, TagAllowed)
	if ofECR {
		check(!hasDigest || IsECRDigest(image.Digest), "digest", image.Digest, ECRDigestAllowed)
	} else {
		check(!hasDigest || IsDigest(image.Digest), "digest", image.Digest, DigestAllowed)
	}
	if problems != nil {
		return Image{}, &Error{text, problems}
	}
	return image, nil
}

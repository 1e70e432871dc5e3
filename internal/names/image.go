package names

import (
	"errors"
	"fmt"
	"slices"
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

// Named returns REPOSITORY:TAG, or REPOSITORY@DIGEST for an image without a tag.
func Named(repository, tag, digest string) string {
	if tag != "" {
		digest = ""
	}
	return Image{Repository: repository, Tag: tag, Digest: digest}.String()
}

// ErrInvalid: a text is not the name of an image.
var ErrInvalid = errors.New("invalid image name")

// Error tells everything that is wrong with the name of an image. It matches
// ErrInvalid.
type Error struct {
	Text     string // as it was given, without a user and a query, which may be secret
	Problems []Problem
	Whole    string // what is wrong with the text as a whole; then there are no Problems
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
	if e.Whole != "" {
		return e.Whole
	}
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
		return Image{}, &Error{Text: text, Problems: []Problem{{"host", "", hostAllowed}}}
	}
	return parse(text, func(string) bool { return true }, false)
}

// ParseECR reads [HOST/]REPOSITORY[:TAG][@DIGEST] of an image in ECR, where
// other hosts than ECR's can be the beginning of a repository's name: that of a
// pull-through cache is docker.io/library/nginx. The error is an *Error.
func ParseECR(text string) (Image, error) {
	return parse(text, func(first string) bool {
		return likeECRHost.MatchString(first) || strings.Contains(first, ":") // a port; no repository has a colon
	}, true)
}

// IsPath reports whether a text that names an image, or a file or folder that
// holds one, is a path: by its beginning, or by an ending such as ".tar" where
// there is neither host, tag nor digest.
func IsPath(text string) bool {
	if hasPathPrefix(text) {
		return true
	}
	image, err := Parse(text)
	bare := err == nil && image.Host == "" && image.Tag == "" && image.Digest == "" ||
		err != nil && !strings.ContainsAny(text, ":@")
	return bare && slices.ContainsFunc([]string{".tar", ".tar.gz", ".tgz"}, func(end string) bool {
		return strings.HasSuffix(text, end)
	})
}

func hasPathPrefix(text string) bool {
	return text == "." || text == ".." || slices.ContainsFunc([]string{"/", "./", "../", "~/"},
		func(start string) bool { return strings.HasPrefix(text, start) })
}

// WithoutSecrets returns a URL that may be malformed without what may be secret in
// it: the user and the query.
func WithoutSecrets(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	}
	rest = withoutSecrets(rest)
	if at := strings.LastIndex(rest, "@"); at >= 0 { // elsewhere than in front of the host
		rest = rest[at+1:]
	}
	if ok {
		return scheme + "://" + rest
	}
	return rest
}

// withoutSecrets leaves out what may be secret in what follows the scheme of a
// URL: the user in front of the host, and the query.
func withoutSecrets(rest string) string {
	host, path, hasPath := strings.Cut(rest, "/")
	if at := strings.LastIndex(host, "@"); at >= 0 {
		host = host[at+1:]
	}
	if hasPath {
		host += "/" + path
	}
	host, _, _ = strings.Cut(host, "?")
	return host
}

const (
	hostAllowed    = "a host, and maybe a port, before the first slash"
	ecrHostAllowed = "<account>.dkr.ecr.<region>.amazonaws.com, or as the region's partition has it"
)

func parse(text string, isHost func(first string) bool, onlyECR bool) (Image, error) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		rest = withoutSecrets(rest)
		return Image{}, &Error{
			Text: scheme + "://" + rest, Whole: fmt.Sprintf("leave out %.20s://, as in %.200s", scheme, rest),
		}
	}
	if hasPathPrefix(text) {
		return Image{}, &Error{Text: text, Whole: "this is a path; an image is named [HOST/]REPOSITORY[:TAG|@DIGEST]"}
	}
	if strings.HasPrefix(text, "arn:") {
		return Image{}, &Error{Text: text, Whole: "this is an ARN; an image is named [HOST/]REPOSITORY[:TAG|@DIGEST]"}
	}
	bare, _, _ := strings.Cut(text, ":")
	if likeECRHost.MatchString(bare) && !strings.Contains(text, "/") || addressWithPort.MatchString(text) {
		return Image{}, &Error{Text: text, Whole: "this is a host; an image is named HOST/REPOSITORY[:TAG|@DIGEST]"}
	}
	if IsDigest(text) { // or it would be the repository sha256 with a tag
		return Image{}, &Error{Text: text, Whole: "this is a digest; an image is named [HOST/]REPOSITORY@" +
			ShortDigest(text) + "..."}
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
		ofECR = onlyECR
		switch _, ok := ParseECRHost(first); {
		case ofECR:
			check(ok, "host", first, ecrHostAllowed)
		case misspeltECRHost(first):
			check(false, "host", first, ecrHostAllowed)
		default:
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
		check(!hasDigest || IsECRDigest(image.Digest), "digest", image.Digest, ECRDigestAllowed+shortened(image.Digest))
	} else {
		check(!hasDigest || IsDigest(image.Digest), "digest", image.Digest, DigestAllowed+shortened(image.Digest))
	}
	if problems == nil && image.Host == "docker.io" && !strings.Contains(image.Repository, "/") {
		return Image{}, &Error{Text: text,
			Whole: "Docker Hub's own images are in library, as in docker.io/library/" + image.Repository}
	}
	if problems != nil {
		return Image{}, &Error{Text: text, Problems: problems}
	}
	return image, nil
}

// shortened says of a digest that is as long as tables show it how to see all of
// it; it is empty for any other.
func shortened(digest string) string {
	if !shortDigest.MatchString(digest) {
		return ""
	}
	return "; this one is cut: --no-trunc shows whole digests"
}

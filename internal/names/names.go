// Package names holds the grammars of the names of repositories, tags, digests,
// regions, accounts, stacks, buckets and registry hosts, and reads the text that
// names an image: [Parse]. It has the names of SOCI's artifact types too. Of this
// project it imports only lazyregexp, so that every package may use it.
package names

import (
	"strings"

	"soci-index-builder/internal/names/lazyregexp"
)

// The grammars, to be part of larger expressions. None is anchored, all are in
// what the expressions of Go and of CloudFormation have in common.
const (
	// Account of AWS.
	Account = `[0-9]{12}`

	// Region of AWS: eu-west-1, us-gov-west-1, us-isob-east-1, eusc-de-east-1.
	// It has room for regions that are not there yet.
	Region = `[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}`

	// Partition of AWS: aws, aws-cn, aws-us-gov, aws-iso-b.
	Partition = `aws(?:-[a-z]{1,12}){0,3}`

	// Stack of CloudFormation.
	Stack = `[A-Za-z][A-Za-z0-9-]{0,127}`

	// Repository of any registry, its length apart.
	Repository = `[` + RepositoryLetters + `]+(?:` + RepositorySeparator + `[` + RepositoryLetters + `]+)*`

	// Tag of an image.
	Tag = `[` + TagFirstLetters + `][` + TagLetters + `-]{0,127}`

	// TagSuffix is what may follow a tag. One character of the tag must have
	// room in front.
	TagSuffix = `[` + TagLetters + `-]{1,127}`

	// Digest of content in ECR.
	Digest = `sha256:[0-9a-f]{64}`

	// Bucket of S3. Two dots in a row, and names that are addresses, S3 refuses
	// besides.
	Bucket = `[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]`
)

// What repositories and tags consist of, for grammars of those that have more
// letters, such as filters. Those of letters stand between brackets.
const (
	RepositoryLetters   = `a-z0-9`
	RepositorySeparator = `(?:[./]|__?|-+)`
	TagFirstLetters     = `A-Za-z0-9_`
	TagLetters          = `A-Za-z0-9._` // and a hyphen
)

// Short forms of the grammars for templates, whose size is limited. Each
// matches whatever its grammar matches, and more; a value that only the short
// form takes, AWS refuses.
const (
	ShortRegion     = `[a-z0-9-]+`
	ShortPartition  = `aws[a-z-]*`
	ShortRepository = `[a-z0-9._/-]+`

	// ShortECRHost is of the hosts from which Lambda takes images: neither FIPS
	// nor dual-stack.
	ShortECRHost = Account + `\.dkr\.ecr\.` + ShortRegion + `\.[a-z0-9.-]+`
)

// Bounds, in characters.
const (
	MaxTag        = 128
	MaxRepository = 256 // of ECR; others allow fewer
)

// DefaultTagSuffix makes the tag of a SOCI-enabled image of the tag of the
// original.
const DefaultTagSuffix = "-soci"

// The grammars in words, for messages.
const (
	AccountAllowed       = "12 digits"
	RegionAllowed        = "the name of a region, such as eu-west-1"
	StackAllowed         = "1 to 128 of A-Z, a-z, 0-9 and -, a letter at the beginning"
	RepositoryAllowed    = "1 to 256 of a-z and 0-9, separated by one of / . _ __ or by hyphens"
	ECRRepositoryAllowed = "2 to 256 of a-z and 0-9, separated by one of / . _ __ or by hyphens"
	TagAllowed           = "1 to 128 of A-Z, a-z, 0-9, _, and, but not at its beginning, . and -"
	TagSuffixAllowed     = "1 to 127 of A-Z, a-z, 0-9, ., _ and -"
	DigestAllowed        = "sha256:, sha384: or sha512: and 64, 96 or 128 of 0-9 and a-f"
	BucketAllowed        = "3 to 63 of a-z, 0-9, . and -"
	ECRDigestAllowed     = "sha256: and 64 of 0-9 and a-f"
)

func whole(grammar string) *lazyregexp.Regexp { return lazyregexp.New(`^(?:` + grammar + `)$`) }

var (
	account    = whole(Account)
	region     = whole(Region)
	partition  = whole(Partition)
	stack      = whole(Stack)
	repository = whole(Repository)
	tag        = whole(Tag)
	tagSuffix  = whole(TagSuffix)
	bucket     = whole(Bucket)
	ecrDigest  = whole(Digest)
	digest     = whole(Digest + `|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}`)

	// shortDigest is what ShortDigest makes of a digest.
	shortDigest = whole(`sha(?:256|384|512):[0-9a-f]{12}`)
)

// IsAccount reports whether s can be an AWS account.
func IsAccount(s string) bool { return account.MatchString(s) }

// IsRegion reports whether s looks as the names of AWS regions do.
func IsRegion(s string) bool { return region.MatchString(s) }

// IsPartition reports whether s looks as the names of AWS partitions do.
func IsPartition(s string) bool { return partition.MatchString(s) }

// IsStack reports whether a stack of CloudFormation can be called s.
func IsStack(s string) bool { return stack.MatchString(s) }

// IsBucket reports whether a bucket of S3 can be called s.
func IsBucket(s string) bool { return bucket.MatchString(s) && !strings.Contains(s, "..") }

// IsRepository reports whether a repository of some registry can be called s.
func IsRepository(s string) bool { return len(s) <= MaxRepository && repository.MatchString(s) }

// IsECRRepository reports whether a repository of ECR can be called s.
func IsECRRepository(s string) bool { return len(s) >= 2 && IsRepository(s) }

// IsTag reports whether s can be the tag of an image.
func IsTag(s string) bool { return tag.MatchString(s) }

// IsTagSuffix reports whether there is a tag that can have s appended.
func IsTagSuffix(s string) bool { return tagSuffix.MatchString(s) }

// IsDigest reports whether s can be the digest of content in some registry.
func IsDigest(s string) bool { return digest.MatchString(s) }

// IsECRDigest reports whether s can be the digest of content in ECR.
func IsECRDigest(s string) bool { return ecrDigest.MatchString(s) }

// A platform is an operating system, or one of its architectures. Those that
// stand alone are listed, or amd64 would be taken for one that no image has.
const (
	Platform        = `(?:linux|windows|freebsd|[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?)`
	PlatformAllowed = "linux, windows, freebsd and OS/ARCHITECTURE[/VARIANT], such as linux/arm64"
)

var platform = lazyregexp.New("^" + Platform + "$")

// IsPlatform reports whether s has the form of a platform.
func IsPlatform(s string) bool { return platform.MatchString(s) }

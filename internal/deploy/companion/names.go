// Package companion makes the stack of the repositories that the functions'
// images are pushed to, beside the stack of the functions. Its names are those
// that SAM CLI's design has for companion stacks.
//
// Start with [Template]; [Repositories] reads one that is deployed, and
// [Managed] looks into the repositories.
package companion

import (
	"crypto/md5" // names things, protects nothing
	"errors"
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names/lazyregexp"
	"soci-index-builder/pkg/ecrclient"
)

// Function is one of the stack's.
type Function struct {
	LogicalID  string // in the stack's template
	Executable string // as package embedded names it
	Parameter  string // of the template, that takes the image's URI
}

// Functions are those that have images, in the order of their names.
var Functions = []Function{
	{deployed.FilterID, "filter", deployed.ParamFilterImage},
	{deployed.GeneratorID, "indexgen", deployed.ParamGeneratorImage},
	{deployed.RepositoryNameID, "reponame", deployed.ParamRepositoryNameImage},
}

// Lengths of what names are cut to.
const (
	maxStack   = 104 // of a companion stack's name, which has 128 characters at most
	maxLogical = 52  // of a logical id, which has 64 at most
)

// StackName is the name of the companion of a stack.
func StackName(stack string) string {
	return cut(stack, maxStack) + "-" + sum(stack) + "-CompanionStack"
}

// RepositoryName is the name of the repository for a function, by its logical
// id.
func RepositoryName(stack, function string) string {
	return lettersAndDigits(stack) + sum(stack) + "/" + lettersAndDigits(function) + sum(function) + "repo"
}

var repositoryName = lazyregexp.New(`^[a-z0-9]*[0-9a-f]{8}/([a-z0-9]+)$`)

// IsRepositoryName reports whether a repository has a name as that of one of
// [Functions] in the companion of any stack.
func IsRepositoryName(name string) bool {
	m := repositoryName.Compiled().FindStringSubmatch(name)
	return m != nil && slices.ContainsFunc(Functions, func(f Function) bool {
		return strings.HasSuffix(RepositoryName("", f.LogicalID), "/"+m[1])
	})
}

// RepositoryLogicalID is what the repository for a function is called in the
// companion's template.
func RepositoryLogicalID(function string) string {
	return cut(function, maxLogical) + sum(function) + "Repo"
}

// OutputLogicalID is the output with the repository's URI.
func OutputLogicalID(function string) string {
	return cut(function, maxLogical) + sum(function) + "Out"
}

// RepositoryURI is what the repository's URI will be, which no call is needed
// for. The error names an account or region that cannot be.
func RepositoryURI(account, region, stack, function string) (string, error) {
	// Not RegistryHost: Lambda takes images from plain hosts alone, whatever the
	// environment asks for.
	host := ecrclient.ECRHost{Account: account, Region: region}.String()
	if host == "" {
		return "", fmt.Errorf("there is no registry of account %.50q in %.50q", account, region)
	}
	return host + "/" + RepositoryName(stack, function), nil
}

// ErrOutput: the companion stack does not tell a repository's URI.
var ErrOutput = errors.New("has no output with the repository's URI")

// URIs returns the repositories by the functions' logical ids, from the
// companion's outputs. The error matches ErrOutput.
func URIs(outputs map[string]string, functions ...string) (map[string]string, error) {
	all := map[string]string{}
	for _, f := range functions {
		uri := outputs[OutputLogicalID(f)]
		if uri == "" {
			return nil, fmt.Errorf("the companion stack %w for %s: %s is missing", ErrOutput, f, OutputLogicalID(f))
		}
		all[f] = uri
	}
	return all, nil
}

// sum is the beginning of a name's MD5.
func sum(name string) string {
	return fmt.Sprintf("%x", md5.Sum([]byte(name)))[:8]
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// lettersAndDigits is what of a name can stand in that of a repository.
func lettersAndDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

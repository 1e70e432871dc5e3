// Package embedded holds what the program deploys: the stack's templates and, in
// a binary of make install or of a release, the functions for every
// architecture of Lambda's.
//
// The functions are put in by package dist, with the build tag embed_functions
// and an overlay: no file of them is in the source tree, so that a plain go
// build neither needs them nor takes stale ones.
//
// Start with [Template] and [Function].
package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"soci-index-builder/templates"
)

// Errors about what is asked for.
var (
	// ErrNoFunctions: the binary was built without the functions.
	ErrNoFunctions = errors.New(
		"this binary was built without the functions: build it with make install, or take a release")

	// ErrArchitecture: Lambda has no such architecture.
	ErrArchitecture = errors.New("is not an architecture of Lambda's: allowed are arm64 and amd64")

	// ErrNoTemplate: a template has no functions for arm64.
	ErrNoTemplate = errors.New("no template of functions for arm64")

	// ErrUnknown: there is no such function.
	ErrUnknown = errors.New("no such function")
)

// Package is how the functions' code comes to Lambda.
type Package string

// The packages.
const (
	Zip   Package = "zip"   // zip files in a bucket
	Image Package = "image" // container images
)

// The architectures as a template names them. The committed templates are for
// arm64.
var named = map[string]string{"arm64": "arm64", "amd64": "x86_64"}

const architectures = `"Architectures":["%s"]`

// Template returns the template of a package for functions of an architecture, as
// Go names it, byte for byte as it is deployed. The error matches
// ErrArchitecture.
func Template(p Package, architecture string) ([]byte, error) {
	if p == Image {
		return For(templates.Image, architecture)
	}
	return For(templates.Zip, architecture)
}

// For returns a template, which is for arm64 as all committed ones are, for
// functions of an architecture, as Go names it. The errors match ErrArchitecture
// and ErrNoTemplate.
func For(template []byte, architecture string) ([]byte, error) {
	name, ok := named[architecture]
	if !ok {
		return nil, fmt.Errorf("%.100q %w", architecture, ErrArchitecture)
	}
	committed := fmt.Appendf(nil, architectures, "arm64")
	if !bytes.Contains(template, committed) {
		return nil, ErrNoTemplate
	}
	return bytes.ReplaceAll(template, committed, fmt.Appendf(nil, architectures, name)), nil
}

// Architectures are those that the binary has functions for, as Go names them,
// sorted; none when it was built without.
func Architectures() []string {
	if functions == nil {
		return nil
	}
	folders, err := fs.ReadDir(functions, "functions")
	if err != nil {
		panic("internal error: " + err.Error()) // the pattern of the embedded files has the folder
	}
	var all []string
	for _, f := range folders {
		all = append(all, f.Name())
	}
	return all
}

// Function returns the zip file of a function for an architecture, as Go names
// it: what Lambda takes, with the static executable bootstrap in it. The error
// matches ErrNoFunctions, ErrArchitecture or ErrUnknown.
func Function(architecture, function string) ([]byte, error) {
	if _, ok := named[architecture]; !ok {
		return nil, fmt.Errorf("%.100q %w", architecture, ErrArchitecture)
	}
	if functions == nil {
		return nil, ErrNoFunctions
	}
	content, err := fs.ReadFile(functions, "functions/"+architecture+"/"+function+".zip")
	if err != nil {
		return nil, fmt.Errorf("%w: %.100q for %s", ErrUnknown, function, architecture)
	}
	return content, nil
}

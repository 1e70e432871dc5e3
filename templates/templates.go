// Package templates has the stack's templates as infra generates them.
package templates

import _ "embed"

// Zip is the template whose functions are zip files in a bucket.
//
//go:embed soci-index-builder.template.json
var Zip []byte

// Image is the template whose functions are container images.
//
//go:embed soci-index-builder-image.template.json
var Image []byte

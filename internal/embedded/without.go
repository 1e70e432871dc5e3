//go:build !embed_functions

package embedded

import "io/fs"

var functions fs.FS

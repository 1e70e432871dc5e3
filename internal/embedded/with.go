//go:build embed_functions

package embedded

import (
	"embed"
	"io/fs"
)

//go:embed functions/*/*.zip
var files embed.FS

var functions fs.FS = files

package codebucket

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// PackContent is Pack of files in memory, by their names.
func PackContent(prefix, version string, files map[string][]byte) *Package {
	p := &Package{}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		o := Object{name, files[name], sha256.Sum256(files[name])}
		fmt.Fprintf(all, "%x  %s\n", o.sum, o.Key)
		p.Objects = append(p.Objects, o)
	}
	p.Prefix = fmt.Sprintf("%s%s-%x/", prefix, version, all.Sum(nil)[:8])
	for i := range p.Objects {
		p.Objects[i].Key = p.Prefix + p.Objects[i].Key
	}
	return p
}

package filters

import (
	"fmt"
	"slices"
	"strings"

	"soci-index-builder/internal/names"
)

// OwnRepositories reads a list of repositories, comma-separated: those that the
// functions' own images are in. They come by name, or as URIs of images, of which
// it returns the names, sorted, each once; none for an empty list. The error is a
// *names.Error.
func OwnRepositories(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		image, err := names.ParseECR(one)
		if err != nil {
			return nil, fmt.Errorf("repository of a function's image: %w", err)
		}
		all = append(all, image.Repository)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

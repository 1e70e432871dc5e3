package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// prefetchFlags say what clients may fetch before a container starts.
type prefetchFlags struct {
	files     []string
	filesJSON string
	label     bool
}

func (p *prefetchFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&p.files, "prefetch-file", nil,
		"path of a file, or pattern with * and **, that clients may fetch before a container starts; may be repeated")
	f.StringVar(&p.filesJSON, "prefetch-files-json", "", "file with such paths, as a JSON array of strings")
	f.BoolVar(&p.label, "prefetch-label", false,
		"also those that the label "+soci.LabelPrefetch+" of the image's config names, separated by commas")
}

// paths returns what the flags name. Blanks around a path do not count, as for
// upstream's tool.
func (p *prefetchFlags) paths() ([]string, error) {
	paths := p.files
	if p.filesJSON != "" {
		more, err := readPaths(p.filesJSON)
		if err != nil {
			return nil, usageErrorf("invalid argument %q for \"--prefetch-files-json\" flag: %w", p.filesJSON, err)
		}
		paths = append(paths[:len(paths):len(paths)], more...)
	}
	var all []string
	seen := map[string]bool{"": true}
	for _, path := range paths {
		if path = strings.TrimSpace(path); !seen[path] {
			seen[path] = true
			all = append(all, path)
		}
	}
	if p.filesJSON != "" && len(paths) > 0 && len(all) == 0 {
		return nil, usageErrorf(
			"invalid argument %q for \"--prefetch-files-json\" flag: it has no path that is not empty",
			p.filesJSON)
	}
	if len(p.files) > 0 && len(all) == 0 {
		return nil, usageErrorf(
			"invalid argument %q for \"--prefetch-file\" flag: must be the path of a file, or a pattern",
			p.files[0])
	}
	if err := soci.CheckPrefetch(all); err != nil {
		return nil, usageErrorf("invalid argument for \"--prefetch-file\" or \"--prefetch-files-json\" flag: %w", err)
	}
	return all, nil
}

// maxPathsFile is the most bytes that a file of paths has: as many paths as
// there may be, of the usual length, several times over.
const maxPathsFile = 8 << 20

func readPaths(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPathsFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPathsFile {
		return nil, fmt.Errorf("it has more than %s", bytesize.Format(maxPathsFile))
	}
	var found []*string
	if err := json.Unmarshal(b, &found); err != nil {
		return nil, fmt.Errorf("it must be a JSON array of strings%s", whyNot(err))
	}
	paths := make([]string, 0, len(found))
	for i, path := range found {
		if path == nil {
			return nil, fmt.Errorf("it must be a JSON array of strings, and its entry %d is null", i+1)
		}
		paths = append(paths, *path)
	}
	return paths, nil
}

// whyNot says in plain words why a text is no JSON array of strings.
func whyNot(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf(", and is no JSON: see byte %d", syntax.Offset)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf(", and has the %s at byte %d", wrong.Value, wrong.Offset)
	}
	return ""
}

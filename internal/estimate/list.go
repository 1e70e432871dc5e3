package estimate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"soci-index-builder/pkg/soci"
)

// MaxListed is how many different paths a list has.
const MaxListed = 100_000

// ErrInvalidList is the class of ReadList's errors about what the list says.
var ErrInvalidList = errors.New("invalid list of files")

// ReadList reads a list of absolute paths, one on each line, as strace, fatrace
// or find print it after a little cutting. Empty lines do not count, nor does a
// path that was there before; a line may end with CR LF. The paths are in the
// order in which they first appear. The error is ErrInvalidList, with the number
// of the line, or the reader's.
func ReadList(r io.Reader) ([]string, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), soci.MaxPrefetchPattern+3) // a slash, and the line's end
	var all []string
	seen := make(map[string]bool)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		switch {
		case strings.TrimSpace(line) == "", seen[line]:
			continue
		case strings.ContainsRune(line, 0):
			return nil, fmt.Errorf("%w: line %d has a NUL byte: a list is text, with an absolute path on each line",
				ErrInvalidList, n)
		case line[0] != '/':
			return nil, fmt.Errorf("%w: line %d is %.60q; a line is an absolute path, and nothing else", ErrInvalidList,
				n, line)
		case len(line) > soci.MaxPrefetchPattern:
			return nil, tooLong(n)
		case len(all) == MaxListed:
			return nil, fmt.Errorf("%w: it has more than %d different paths", ErrInvalidList, MaxListed)
		}
		seen[line] = true
		all = append(all, line)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, tooLong(n + 1)
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, fmt.Errorf("%w: it names no file", ErrInvalidList)
	}
	return all, nil
}

func tooLong(line int) error {
	return fmt.Errorf("%w: line %d has more than %d bytes, which no path has", ErrInvalidList, line,
		soci.MaxPrefetchPattern)
}

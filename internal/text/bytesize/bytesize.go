// Package bytesize parses and formats sizes in bytes for people: Parse and
// Format.
package bytesize

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrInvalid is the class of Parse's errors.
var ErrInvalid = errors.New("invalid size")

// units are powers of 1024, as their names say.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"B", 1},
}

// Parse reads a number of bytes, such as 4194304 or 4MiB. A fraction must come
// out at whole bytes (1.5KiB). Units of 1000 (MB) are refused: they are written
// for both meanings.
func Parse(s string) (int64, error) {
	invalid := func(why string) (int64, error) {
		return 0, fmt.Errorf(
			"%w %q: %s; a size is a number of bytes, or a number with KiB, MiB, GiB or TiB, such as 10MiB",
			ErrInvalid, s, why)
	}
	number, unit := s, int64(1)
	for _, u := range units {
		if rest, ok := cutSuffixFold(s, u.name); ok {
			number, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	if strings.HasPrefix(number, "-") {
		return invalid("negative")
	}
	// ParseFloat also takes signs, exponents, underscores and Inf.
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return invalid("not a number with one of the units")
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/unit {
			return invalid("too large")
		}
		return n * unit, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return invalid("not a number with one of the units")
	}
	// Beyond 2^53 a float64 no longer tells whole bytes apart.
	f *= float64(unit)
	if f >= 1<<53 {
		return invalid("too large")
	}
	if f != math.Trunc(f) {
		return invalid("not a whole number of bytes")
	}
	return int64(f), nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// Format returns n with one digit after the point and the largest unit that
// leaves at least 1 before it: "512 B", "57.3 MiB".
func Format(n int64) string {
	for _, u := range units {
		if n >= u.bytes && u.bytes > 1 {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

package soci_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/pkg/soci"
)

// Globs are compared with regular expressions that mean the same.
func TestPrefetchGlobs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(parts []string, n int) string {
		var list []string
		for range 1 + random.IntN(n) {
			list = append(list, parts[random.IntN(len(parts))])
		}
		return strings.Join(list, "/")
	}
	globs := []string{"**", "**", "*", "a*", "*b", "a*b*a", "a", "ab", "b", "***", "a**b"}
	names := []string{"a", "b", "ab", "ba", "aba", "abba", "aabab"}
	matched, other := 0, 0
	for range 20_000 {
		glob, name := text(globs, 5), text(names, 5)
		if !strings.Contains(glob, "*") {
			continue
		}
		pattern := "^"
		parts := strings.Split(glob, "/")
		for i, p := range parts {
			last := i == len(parts)-1
			switch {
			case p == "**" && last:
				pattern += ".*"
			case p == "**":
				pattern += "(.*/)?"
			default:
				pattern += strings.ReplaceAll(p, "*", "[^/]*")
				if !last {
					pattern += "/"
				}
			}
		}
		want := regexp.MustCompile(pattern + "$").MatchString(name)
		if got := soci.MatchGlob(glob, name); got != want {
			t.Errorf("%q matches %q: %v, want %v (%s)", glob, name, got, want, pattern)
		}
		if want {
			matched++
		} else {
			other++
		}
	}
	if matched < 1000 || other < 1000 {
		t.Errorf("%d matched, %d did not", matched, other)
	}
}

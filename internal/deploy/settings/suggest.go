package settings

import (
	"fmt"
	"strings"
)

// didYouMean returns a question about the known name that is nearest to the
// given one, or nothing when none is near.
func didYouMean(name string, known []string) string {
	best, nearest := "", 1+min(3, len(name)/3) // typing errors, and room for an s at the end
	lower := strings.ToLower(name)
	for _, k := range known {
		if d := distance(lower, strings.ToLower(k)); d < nearest {
			best, nearest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is the number of bytes to add, drop or change to make b of a.
func distance(a, b string) int {
	const longest = 200 // beyond it nobody made a typing error
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

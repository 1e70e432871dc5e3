package main

import "soci-index-builder/internal/text/plural"

// count returns "1 message", "2 messages".
func count(n int, what string) string { return plural.Count(n, what) }

// counted is count for what has a plural of its own.
func counted(n int, one, many string) string { return plural.Count(n, one, many) }

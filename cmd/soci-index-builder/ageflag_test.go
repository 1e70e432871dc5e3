package main

import (
	"testing"
	"time"
)

func TestAgeFlag(t *testing.T) {
	tests := []struct {
		in, text string
		want     time.Duration // 0: refused
	}{
		{"90m", "1h30m", 90 * time.Minute},
		{"24h", "1d", 24 * time.Hour},
		{"7d", "7d", 7 * 24 * time.Hour},
		{"36h", "36h", 36 * time.Hour},
		{"10m", "10m", 10 * time.Minute},
		{"100s", "1m40s", 100 * time.Second},
		{"106751d", "106751d", 106751 * 24 * time.Hour},
		{"106752d", "", 0},
		{"99999999999999999999d", "", 0},
		{"0", "", 0}, {"0d", "", 0}, {"-1h", "", 0}, {"-1d", "", 0}, {"1.5d", "", 0}, {"d", "", 0}, {"7", "", 0},
		{"yesterday", "", 0}, {"", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			var f ageFlag
			err := f.Set(tt.in)
			if time.Duration(f) != tt.want || (err == nil) != (tt.want > 0) || f.String() != tt.text {
				t.Errorf("%q is read as %v (%q), %v, want %v", tt.in, time.Duration(f), f.String(), err, tt.want)
			}
		})
	}
}

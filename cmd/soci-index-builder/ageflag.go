package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ageFlag is how long ago something was: a duration of Go's, or a number of
// days such as 7d.
type ageFlag time.Duration

const day = 24 * time.Hour

func (f *ageFlag) String() string {
	d := time.Duration(*f)
	switch {
	case d == 0:
		return ""
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	}
	return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
}

func (f *ageFlag) Type() string { return "duration" }

func (f *ageFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if number, ok := strings.CutSuffix(s, "d"); ok {
		var days uint64
		if days, err = strconv.ParseUint(number, 10, 64); err == nil && days > math.MaxInt64/uint64(day) {
			err = strconv.ErrRange
		}
		d = time.Duration(days) * day
	}
	if weeks, ok := strings.CutSuffix(s, "w"); ok && weeks != "" && strings.Trim(weeks, "0123456789") == "" {
		return errors.New("must be in days, such as 7d for a week")
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("must be a time such as 90m, 24h or 7d, more than 0 and at most %dd",
			math.MaxInt64/int64(day))
	}
	*f = ageFlag(d)
	return nil
}

package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/pflag"
)

// countFlag is a whole number from 0, with a bound.
type countFlag struct {
	n    *int
	most int
}

// addLimit adds a flag of how many of something there are at most, 0 being all.
func addLimit(f *pflag.FlagSet, n *int, byDefault, most int, usage string) {
	*n = byDefault
	f.Var(&countFlag{n, most}, "limit", usage)
}

func (f *countFlag) String() string {
	if f.n == nil { // pflag asks one of its own what an empty value is
		return "0"
	}
	return strconv.Itoa(*f.n)
}

func (f *countFlag) Type() string { return "int" }

func (f *countFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > f.most {
		return fmt.Errorf("must be a whole number from 0 to %d", f.most)
	}
	*f.n = n
	return nil
}

// mostImages is the largest --limit of what has no bound of its own: beyond it all
// are meant anyway.
const mostImages = math.MaxInt32

// rateFlag is how many things are done in a second, 0 being as many as can be.
type rateFlag struct{ perSecond *float64 }

func addRate(f *pflag.FlagSet, perSecond *float64, byDefault float64, usage string) {
	*perSecond = byDefault
	f.Var(&rateFlag{perSecond}, "rate", usage)
}

func (f *rateFlag) String() string {
	if f.perSecond == nil {
		return "0"
	}
	return strconv.FormatFloat(*f.perSecond, 'g', -1, 64)
}

func (f *rateFlag) Type() string { return "float64" }

// mostRate is the largest rate, far beyond what ECR takes.
const mostRate = 1000

func (f *rateFlag) Set(s string) error {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !(rate >= 0 && rate <= mostRate) { // NaN neither
		return fmt.Errorf("must be a number from 0 to %d, such as 0.5", mostRate)
	}
	*f.perSecond = rate
	return nil
}

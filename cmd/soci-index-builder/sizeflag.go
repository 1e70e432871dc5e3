package main

import (
	"fmt"

	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/pkg/soci"
)

// sizeFlag is a flag in bytes: 4194304, 4MiB.
type sizeFlag struct {
	bytes int64
	least int64 // the smallest value that is allowed
}

func (f *sizeFlag) String() string {
	if f.bytes >= 1<<10 && f.bytes%(1<<10) == 0 {
		for _, unit := range []struct {
			name  string
			bytes int64
		}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if f.bytes%unit.bytes == 0 {
				return fmt.Sprintf("%d%s", f.bytes/unit.bytes, unit.name)
			}
		}
	}
	return fmt.Sprint(f.bytes)
}

func (f *sizeFlag) Type() string { return "size" }

func (f *sizeFlag) Set(s string) error {
	n, err := bytesize.Parse(s)
	if err != nil {
		return err
	}
	if n < f.least {
		return fmt.Errorf("must be at least %s, such as 1GiB", bytesize.Format(f.least))
	}
	f.bytes = n
	return nil
}

// spanFlag is --span-size: what the functions accept, so that both build the
// same.
type spanFlag struct{ sizeFlag }

func newSpanFlag() spanFlag { return spanFlag{sizeFlag{bytes: soci.DefaultSpanSize}} }

func (f *spanFlag) Set(s string) error {
	n, err := bytesize.Parse(s)
	if err != nil {
		return err
	}
	if n < soci.MinSpanSize || n > soci.MaxSpanSize || n%soci.MinSpanSize != 0 {
		return fmt.Errorf("must be a whole number of MiB from %s to %s, such as 4MiB",
			&sizeFlag{bytes: soci.MinSpanSize}, &sizeFlag{bytes: soci.MaxSpanSize})
	}
	f.bytes = n
	return nil
}

package lazyregexp_test

import (
	"sync"
	"testing"

	"soci-index-builder/internal/names/lazyregexp"
)

func TestRegexp(t *testing.T) {
	r := lazyregexp.New(`^a+$`)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if !r.MatchString("aa") || r.MatchString("ab") {
				t.Error("^a+$ does not match what it should")
			}
		})
	}
	group.Wait()
	if first := r.Compiled(); first != r.Compiled() {
		t.Error("it is compiled twice")
	}
}

// A malformed expression is not compiled before it is used.
func TestRegexpMalformed(t *testing.T) {
	r := lazyregexp.New(`(`)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	r.MatchString("a")
}

package generator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/pkg/soci"
)

func TestWithParameter(t *testing.T) {
	const enough = 2 << 30
	short := fmt.Errorf("layer: %w", &soci.MemoryError{Max: 1 << 30, Enough: enough})
	err := withParameter(short, "GeneratorMemorySize")
	var size int64
	_, text, _ := strings.Cut(err.Error(), ": set GeneratorMemorySize to ")
	if _, scan := fmt.Sscanf(text, "%d or more", &size); scan != nil {
		t.Fatalf("%v: %v", err, scan)
	}
	if fanout.Budget(size) < enough || fanout.Budget(size-1) >= enough && size > 0 && fanout.Budget(size-2) >= enough {
		t.Errorf("%d MB are for %d bytes, and %d are needed", size, fanout.Budget(size), int64(enough))
	}
	if !errors.Is(err, soci.ErrLimit) || !strings.HasPrefix(err.Error(), short.Error()) {
		t.Errorf("%v lost its cause", err)
	}
	large := &soci.MemoryError{Max: 1 << 30, Enough: 20 << 30}
	if err := withParameter(large, "X"); !strings.Contains(err.Error(),
		"set X to 10240, the most; if that is too little, "+
			"index the image with the command line") {
		t.Errorf("%v", err)
	}
	large.Max = fanout.Budget(mostMemory)
	if err := withParameter(large, "X"); !strings.Contains(err.Error(), "no function has so much") ||
		strings.Contains(err.Error(), "set X") {
		t.Errorf("%v", err)
	}
	for _, other := range []error{nil, errors.New("other"), &soci.MemoryError{Max: 1}} {
		if got := withParameter(other, "GeneratorMemorySize"); got != other {
			t.Errorf("%v became %v", other, got)
		}
	}
}
